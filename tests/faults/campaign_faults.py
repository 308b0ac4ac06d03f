"""What happens to both ends, to the network between them, to the store and to the logs during a campaign."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

from tests.faults.campaign_count import Result, content_of, segments
from tests.faults.campaign_ends import Ends
from tests.faults.campaign_files import Doomed
from tests.faults.campaign_secrets import Secrets
from tests.faults.chaos_proxy import DOWN, UP, ChaosProxy

_NOTICED_S: Final = 15.0  # both ends look at their files every three seconds, twice before they report a failure
_BACK_AGAIN_S: Final = 12.0  # a client is at another server meanwhile, and comes back two seconds after the first probe
_HANDSHAKE_BYTES: Final = 4000

_PROXY_HEADER: Final = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 9000\r\n"


class Faults:
    """Each public method is one fault; it returns when the fault is over or armed, and counts it in the result."""

    def __init__(
        self,
        ends: Ends,
        doomed: Doomed,
        chance: random.Random,
        result: Result,
        *,
        asks_for_looks: float,
    ) -> None:
        """`asks_for_looks`: how often SIGHUP follows a change of a file; else the change is noticed later."""
        self._asks_for_looks = asks_for_looks
        self._ends = ends
        self._at = ends.servers[0]  # the server that the present fault meets
        self._doomed = doomed
        self._random = chance
        self._result = result

    @property
    def _proxy(self) -> ChaosProxy:
        return self._at.proxy

    def by_name(self) -> Mapping[str, Callable[[], None]]:
        """Return all faults. Each meets one of the servers, mostly the first, which the client prefers."""

        def somewhere(fault: Callable[[], None]) -> Callable[[], None]:
            def run() -> None:
                self._at = self._random.choice([self._ends.servers[0], *self._ends.servers])
                fault()

            return run

        return {name: somewhere(fault) for name, fault in self._by_name().items()}

    def _by_name(self) -> Mapping[str, Callable[[], None]]:
        return {
            "kill client": self.kill_client,
            "kill server": self.kill_server,
            "crash server": self.crash_server,
            "freeze": self.freeze,
            "reset": lambda: self._proxy.reset(),
            "stall": self.stall,
            "lose ack": self.lose_ack,
            "cut": self.cut,
            "break off": self.break_off,
            "half open": self.half_open,
            "speak first": self.speak_first,
            "set back": self.set_back,
            "damage": self.damage,
            "fill disk": self.fill_disk,
            "lose lines": self.lose_lines,
            **({"outage": self.outage} if len(self._ends.servers) > 1 else {}),
            **(self._of_secrets(self._ends.secrets) if self._ends.secrets else {}),
        }

    def _of_secrets(self, secrets: Secrets) -> Mapping[str, Callable[[], None]]:
        """Return what happens only where both ends speak TLS."""
        return {
            "replace certificates": lambda: self.replace_certificates(secrets),
            "replace token": lambda: self.replace_token(secrets),
            "break file": lambda: self.break_file(secrets),
            "lock out": lambda: self.lock_out(secrets),
            "flip on the wire": self.flip_on_the_wire,
        }

    def kill_client(self) -> None:
        """Kill the client, and start it again a little later."""
        self._ends.client.kill()
        self._count("kill client")
        self._pause(0, 0.5)
        self._ends.start_client()

    def kill_server(self) -> None:
        """Kill the server, and start it again a little later."""
        self._at.process.kill()
        self._count("kill server")
        self._pause(0, 0.5)
        self._at.start()

    def crash_server(self) -> None:
        """Let a server die in the middle of a durable step, which a kill from outside hits only now and then."""
        self._at.process.kill()
        crashing = self._at.start_crashing(str(self._random.random()))
        self._wait_until(lambda: crashing.is_over, limit_s=5 if len(self._ends.servers) == 1 else _BACK_AGAIN_S)
        self._count("crash server" if crashing.is_over else "kill server")
        crashing.kill()
        self._at.start()

    def outage(self) -> None:
        """Kill a server, and have it back when the client has been at another one."""
        self._at.process.kill()
        self._count("outage")
        self._pause(1, 4)
        self._at.start()

    def freeze(self) -> None:
        """Stop one end for a moment."""
        victim = self._random.choice([self._ends.client, self._at.process])
        victim.send(signal.SIGSTOP)
        self._count("freeze")
        self._pause(0.1, 1.5)
        victim.send(signal.SIGCONT)

    def stall(self) -> None:
        """Let no bytes pass in one direction for a moment."""
        direction = self._random.choice([UP, DOWN])
        self._proxy.stall(direction)
        self._count("stall")
        self._pause(0.1, 1.0)
        self._proxy.flow(direction)

    def lose_ack(self) -> None:
        """Lose an answer: not that to a hello or an open, but to lines that flow."""
        self._let_answers_flow()
        self._proxy.lose_next_ack()
        self._count("lose ack")

    def cut(self) -> None:
        """Close all connections in good order, in the middle of whatever they carry: over TLS without its goodbye."""
        self._proxy.cut()
        self._count("cut")

    def break_off(self) -> None:
        """Reset a connection after any byte: in the middle of a line, a record of TLS, a handshake."""
        self._proxy.reset_after(self._random.randrange(20_000), self._random.choice([UP, DOWN]))
        self._count("break off")

    def half_open(self) -> None:
        """Lose the server's ends of all connections."""
        self._proxy.half_open()
        self._count("half open")

    def speak_first(self) -> None:
        """Send the server a proxy's header, which it does not expect, before what the client sends."""
        self._proxy.speak_first(_PROXY_HEADER)
        self._proxy.reset()
        self._pause(0.5, 1.5)
        self._proxy.speak_first(b"")
        self._proxy.reset()
        self._count("speak first")

    def set_back(self) -> None:
        """Set the store back to the last copy of its data folder, or make that copy."""
        self._at.process.kill()
        if self._at.copy.exists():
            shutil.rmtree(self._at.data_dir)
            shutil.copytree(self._at.copy, self._at.data_dir)
            shutil.rmtree(self._at.copy)
            self._count("set back")
        else:
            shutil.copytree(self._at.data_dir, self._at.copy)
        self._at.start()

    def damage(self) -> None:
        """Flip a byte of a segment whose lines a file still has, delete or cut the segment, while the server runs."""
        healable = [path for path in segments(self._at.data_dir) if self._doomed.name not in str(path)]
        sizes = {path: path.stat().st_size for path in healable}
        path = self._random.choice([path for path, size in sizes.items() if size] or [None])
        if not path:
            return
        position = self._random.randrange(sizes[path])
        how = self._random.choice(["flip", "delete", "cut"])
        if how == "delete":
            path.unlink()
        elif how == "cut":
            os.truncate(path, position)
        else:
            with path.open("r+b") as file:
                file.seek(position)
                byte = file.read(1)[0]
                file.seek(position)
                file.write(bytes([byte ^ 1]))
        self._count("damage")
        self._result.damaged += 1

    def fill_disk(self) -> None:
        """Fill the store's disk for a moment."""
        ballast = self._ends.disk / "ballast"
        free = os.statvfs(self._ends.disk)
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
        self._count("fill disk")
        self._pause(0.2, 1.5)
        ballast.unlink()

    def lose_lines(self) -> None:
        """Let lines vanish while no client looks: nobody can deliver them, but the client can report it."""
        if not self._wait_until(self._doomed_is_stored, limit_s=20):
            return
        self._ends.client.kill()
        self._doomed.lose_lines()
        self._count("lose lines")
        self._result.windows_happened += 1
        self._ends.start_client()

    def replace_certificates(self, secrets: Secrets) -> None:
        """Replace the certificates of both ends; sometimes ask for a look at them, else they are noticed later."""
        for end in secrets.ends:
            secrets.replace_certificate(end)
            self._ask_for_a_look(secrets, end)
        self._count("replace certificates")

    def replace_token(self, secrets: Secrets) -> None:
        """Replace the client's token."""
        secrets.replace_token()
        self._count("replace token")

    def break_file(self, secrets: Secrets) -> None:
        """Put something else in the place of a file: the old one stays in force, and the failure is counted."""
        end, name, counter = self._random.choice(secrets.breakable())
        if not self._all_have_loaded(secrets):
            return
        before = secrets.number(end, counter)
        secrets.break_file(name)
        self._ask_for_a_look(secrets, end)
        self._result.broken += 1
        if self._wait_until(lambda: secrets.number(end, counter) != before, limit_s=_NOTICED_S):
            self._result.broken_counted += 1
        secrets.mend(name)
        self._ask_for_a_look(secrets, end)
        self._count("break file")

    def lock_out(self, secrets: Secrets) -> None:
        """Remove the client from the file of clients for a moment, or its token."""
        if not self._all_have_loaded(secrets):
            return
        name = self._random.choice(["clients.toml", "token"])
        if name == "token":
            secrets.break_file(name)
        else:
            secrets.lock_out()
        self._count("lock out")
        self._pause(0.5, 5)
        secrets.mend(name)

    def flip_on_the_wire(self) -> None:
        """Flip a bit on the way, which nobody but TLS notices."""
        self._proxy.flip_next(self._random.choice([UP, DOWN]))
        self._count("flip on the wire")

    def _all_have_loaded(self, secrets: Secrets) -> bool:
        """Wait until every end has started with whole files: with a broken one it would not start."""
        return self._wait_until(lambda: all(map(secrets.has_loaded, secrets.ends)), limit_s=_NOTICED_S)

    def _ask_for_a_look(self, secrets: Secrets, end: str) -> None:
        """Send SIGHUP, but not to a process that is only about to start and would die of it."""
        running = {server.name: server.process for server in self._ends.servers}.get(end, self._ends.client)
        has_started = secrets.number(end, "tls_certificate_expiry_time_seconds") is not None
        if has_started and self._random.random() < self._asks_for_looks:
            running.send(signal.SIGHUP)

    def _let_answers_flow(self) -> None:
        """Wait for answers on a connection that has been there for a while, and has its handshakes behind it."""
        seen = (-1, 0)

        def flow() -> bool:
            nonlocal seen
            happened = self._proxy.happened
            if happened.connections != seen[0]:
                seen = (happened.connections, happened.bytes_down + (_HANDSHAKE_BYTES if self._ends.secrets else 0))
            return happened.bytes_down >= seen[1] + 1000

        self._wait_until(flow, limit_s=3)

    def _doomed_is_stored(self) -> bool:
        last = b"log=doomed n=%d file=%d " % (self._doomed.written - 1, self._doomed.files)
        paths = [path for server in self._ends.servers for path in segments(server.data_dir) if "doomed" in str(path)]
        return any(last in content_of(path) for path in paths)

    def _count(self, fault: str) -> None:
        self._result.faults[fault] += 1

    def _pause(self, least_s: float, most_s: float) -> None:
        time.sleep(self._random.uniform(least_s, most_s))  # how long a fault lasts, not a synchronisation

    def _wait_until(self, condition: Callable[[], bool], *, limit_s: float) -> bool:
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True
