"""Real processes: the client and the server through their command lines, and other people's programs."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.running import DEADLINE_S, wait_until

ROOT: Final = Path(__file__).resolve().parents[2]

# Starting a Python takes a while on a busy machine; a run that hangs must still end within the limit of a test.
PROCESS_S: Final = 30.0

# Towards receivers that know nothing but lines and acks.
PLAIN: Final = ("--ack", "line")

# For clients that are to fail soon, or to notice soon.
QUICK: Final = ("--ack-timeout", "0.3", "--connect-timeout", "1", "--poll-interval", "0.02", "--health-interval", "0.1")

# More than the tests of one worker ask for.
_PORTS_OF_A_WORKER: Final = 3000


class Program:
    """A running process whose output goes to files, so that it never waits for a reader."""

    def __init__(
        self,
        words: list[str],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        limits: Callable[[], None] | None = None,
    ) -> None:
        number = len(list(folder.glob("*.stderr")))
        self._out = folder / f"{number}.stdout"
        self._err = folder / f"{number}.stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                words,
                cwd=folder,
                stdin=stdin,
                stdout=out,
                stderr=err,
                env={"PATH": os.environ["PATH"], **(env or {})},
                preexec_fn=limits,
            )

    @property
    def stdout(self) -> str:
        """What it has said so far."""
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        """What it has complained about so far."""
        return self._err.read_text(encoding="utf-8", errors="replace")

    def summed_up(self, what: str) -> int:
        """Return a number of the summary, the last line on stderr: lines "acked", "rejected" or "retried"."""
        found = re.search(rf"(\d+) (?:lines )?{what}", self.stderr.splitlines()[-1])
        assert found, self.stderr
        return int(found[1])

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        try:
            return self.process.wait(PROCESS_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.process.args!r} has not ended; it said: {self.stderr}") from None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def terminate(self) -> int:
        """Ask it to stop (SIGTERM); return the exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kill it at once (SIGKILL)."""
        self.process.kill()
        self.process.wait()

    def wait_for_stderr(self, text: str) -> None:
        """Wait until it has said `text`; fail when it ends before that."""
        wait_until(lambda: text in self.stderr or self.is_over, f"stderr has {text!r}", deadline_s=PROCESS_S)
        assert text in self.stderr, self.stderr

    def wait_for_listening(self, port: int) -> None:
        """Wait until it listens on a loopback port, without connecting: some programs take one connection only."""
        is_listening = re.compile(rf"^ *\d+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A ", re.MULTILINE)
        wait_until(
            lambda: self.is_over or is_listening.search(Path("/proc/net/tcp").read_text()), f"port {port} is open"
        )
        assert not self.is_over, self.stderr


@contextmanager
def program(
    *words: str | Path,
    folder: Path,
    env: Mapping[str, str] | None = None,
    stdin: int | None = subprocess.DEVNULL,
    limits: Callable[[], None] | None = None,
) -> Iterator[Program]:
    """Run a program for the length of a `with`; whatever still runs then is killed."""
    running = Program([str(word) for word in words], folder, env=env, stdin=stdin, limits=limits)
    try:
        yield running
    finally:
        if not running.is_over:
            running.send(signal.SIGCONT)
            running.kill()
        if running.process.stdin is not None:
            with contextlib.suppress(OSError):  # the pipe of a program that has ended
                running.process.stdin.close()


@contextmanager
def client(
    log_file: Path | None,
    port: int | None,
    *words: str,
    folder: Path,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> Iterator[Program]:
    """Run `main.py` for a log file towards a loopback port (either may come from `env` or `words` instead)."""
    target = ["--server-host", "127.0.0.1", "--server-port", str(port)] if port else []
    source = ["--log-file", str(log_file)] if log_file else []
    env = {"LOGFERRY_STATE_DIR": str(folder / "state"), **(env or {})}
    command = [sys.executable, str(ROOT / "main.py"), *source, *target, *words]
    with program(*command, folder=folder, env=env, stdin=stdin) as running:
        yield running


def ship(log_file: Path, port: int, *words: str, folder: Path, env: Mapping[str, str] | None = None) -> Program:
    """Run the client to its end."""
    with client(log_file, port, *words, folder=folder, env=env) as running:
        running.wait()
        return running


class ServerProgram:
    """`server_main.py`, started and listening."""

    def __init__(self, running: Program) -> None:
        self.program = running
        running.wait_for_stderr("listening on")
        found = re.search(r"listening on \S+ port (\d+)", running.stderr)
        assert found
        self.port = int(found[1])


@contextmanager
def server(
    data_dir: Path, *words: str, folder: Path, port: int = 0, limits: Callable[[], None] | None = None
) -> Iterator[ServerProgram]:
    """Run `server_main.py` on a loopback port, a free one unless told otherwise."""
    where = ["--server-host", "127.0.0.1", "--server-port", str(port), "--data-dir", str(data_dir)]
    with program(sys.executable, ROOT / "server_main.py", *where, *words, folder=folder, limits=limits) as running:
        yield ServerProgram(running)


def _ports() -> Iterator[int]:
    """Yield ports that no outgoing connection takes by itself, and no other worker of this run of the tests.

    Where they begin is left to chance: the tests may run twice at a time on one machine.
    """
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = first_ephemeral - 1 - worker * _PORTS_OF_A_WORKER - random.randrange(_PORTS_OF_A_WORKER * 3 // 4)
    yield from range(first, 1024, -1)


_unused_ports: Final = _ports()


def free_port() -> int:
    """Return a port that is free, and not given to anybody else: also while nobody listens there it stays so."""
    for port in _unused_ports:
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def wait_for_port(port: int) -> None:
    """Wait until somebody listens on a loopback port."""

    def answers() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, f"port {port} is open", deadline_s=DEADLINE_S)


def peak_memory(pid: int) -> int:
    """Return the most memory that a living process has held so far, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
