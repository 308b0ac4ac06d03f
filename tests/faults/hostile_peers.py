"""Hostile peers: what each attack costs a real server in memory, and an honest client in waiting.

    python3 tests/faults/hostile_peers.py --seconds 10 [--attacks notes unread-answers ...]

Each attack (hostile_attacks.py, fairness_attacks.py) gets a server of its own whose data segment is limited to 300 MB,
as its image limits the arenas of malloc. Meanwhile an honest client sends a line at a time and waits for its ack.
Printed is, for each attack, the server's largest resident memory and the honest client's longest wait for one ack, or
that of a newcomer that the attack itself tries. The suite runs a few short attacks (test_hostile_peers.py).
"""

import argparse
import os
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[2] / "src")]

from tests.faults import hostile_attacks
from tests.faults.fairness_attacks import FAIRNESS_ATTACKS, FEW_CONNECTIONS
from tests.faults.hostile_attacks import MIB, Arena
from tests.support.certificates import files_of, issued
from tests.support.processes import ROOT, Program, free_port
from tests.support.running import numbered_line, wait_until

# What the issue of every attack is held to: see docs/security.md.
MAX_RESIDENT_BYTES: Final = 200 * MIB
MAX_WAIT_S: Final = 2.0

ATTACKS: Final = {**hostile_attacks.ATTACKS, **FAIRNESS_ATTACKS}

# Attacks that are repeated while the honest client sends lines of 1 MiB.
LARGE_LINES: Final = (
    *("unfinished-messages", "unfinished-batches", "slow-turns", "turn-hogs", "turn-stalls", "fresh-turns"),
    *("unread-pings", "waiting-questions"),
)

_DATA_BYTES: Final = 300 * MIB
_CONNECTIONS: Final = 2000
_START_S: Final = 30.0
_FULL_DISK_BYTES: Final = MIB


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack did. An honest client of a server that cannot store waits for ever, so there is no `wait_s`."""

    attack: str
    resident_bytes: int
    wait_s: float | None
    acked: int
    has_survived: bool
    logged_bytes: int

    @property
    def is_good(self) -> bool:
        """Whether the attack did no harm."""
        is_acked = self.wait_s is None or self.wait_s <= MAX_WAIT_S
        return self.has_survived and self.resident_bytes < MAX_RESIDENT_BYTES and is_acked

    def __str__(self) -> str:
        wait = "  (full)" if self.wait_s is None else f"{self.wait_s:6.2f} s"
        state = "" if self.has_survived else "  THE SERVER DIED"
        memory = f"{self.resident_bytes / MIB:7.1f} MiB"
        return f"{self.attack:24} {memory}  {wait}  {self.acked:6} acked  {self.logged_bytes:8} B logged{state}"


class HonestClient:
    """Sends one line at a time by the plain protocol, `size` bytes long, and remembers its longest wait for an ack."""

    def __init__(self, port: int, *, size: int = 0) -> None:
        self._port = port
        self._padding = b"x" * size
        self._is_over = threading.Event()
        self._asked_at: float | None = None
        self._longest_s = 0.0
        self.acked = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def longest_s(self) -> float:
        """The longest wait so far, including the present one."""
        asked_at = self._asked_at
        return max(self._longest_s, time.monotonic() - asked_at if asked_at else 0.0)

    def stop(self) -> None:
        """Stop sending."""
        self._is_over.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        if connection := self._send_lines():
            connection.close()

    def _send_lines(self) -> socket.socket | None:
        """Send lines until `stop`; return the last connection."""
        connection: socket.socket | None = None
        while not self._is_over.wait(0.01):
            self._asked_at = self._asked_at or time.monotonic()
            try:
                connection = connection or socket.create_connection(("127.0.0.1", self._port), 1.0)
                connection.settimeout(1.0)
                connection.sendall(numbered_line(self.acked).replace(b"line", b"line" + self._padding))
                self._wait_for_ack(connection)
            except OSError:
                if connection:
                    connection.close()
                connection = None
                continue
            self._longest_s = max(self._longest_s, time.monotonic() - self._asked_at)
            self._asked_at = None
            self.acked += 1
        return connection

    def _wait_for_ack(self, connection: socket.socket) -> None:
        answer = b""
        while not answer.endswith(b"\n") and not self._is_over.is_set():
            try:
                data = connection.recv(4096)
            except TimeoutError:
                continue
            if not data:
                raise ConnectionError("the server closed")
            answer += data


class Target:
    """The server under attack."""

    def __init__(self, folder: Path, *, connections: int = _CONNECTIONS, is_full: bool = False) -> None:
        self.port, self.tls_port = free_port(), free_port()
        files = files_of(issued("localhost"), folder)

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_DATA, (_DATA_BYTES, _DATA_BYTES))
            if is_full:
                resource.setrlimit(resource.RLIMIT_FSIZE, (_FULL_DISK_BYTES, _FULL_DISK_BYTES))

        listen = f"tcp://127.0.0.1:{self.port}", f"tls://127.0.0.1:{self.tls_port}"
        words = (sys.executable, ROOT / "server_main.py", "--listen", listen[0], "--listen", listen[1])
        tls = ("--tls-cert", files.certificate, "--tls-key", files.key)
        options = (*tls, "--data-dir", folder / "data", "--max-connections", connections)
        env = {"MALLOC_ARENA_MAX": "2", "LOGFERRY_SPEEDUPS": os.environ.get("LOGFERRY_SPEEDUPS", "1")}
        self._program = Program([*map(str, (*words, *options))], folder, env=env, limits=limit)
        wait_until(lambda: self._program.is_over or self._listens(), "the server listens", deadline_s=_START_S)

    @property
    def has_survived(self) -> bool:
        """Whether the server still runs."""
        return not self._program.is_over

    @property
    def logged(self) -> str:
        """What the server has logged."""
        return self._program.stderr + self._program.stdout

    def resident_bytes(self) -> int:
        """Return the largest resident memory so far; 0 if the server is gone."""
        try:
            status = Path(f"/proc/{self._program.process.pid}/status").read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)

    def stop(self) -> None:
        """End the server, however busy it is."""
        self._program.process.kill()
        self._program.process.wait()

    def _listens(self) -> bool:
        return "listening on" in self.logged


def run(attack: str, folder: Path, *, seconds: float, is_full: bool = False, honest_size: int = 0) -> Outcome:
    """Run one attack against a server of its own."""
    connections = FEW_CONNECTIONS if attack in ("connection-flood", "kept-places") else _CONNECTIONS
    target = Target(folder, connections=connections, is_full=is_full)
    honest = HonestClient(target.port, size=honest_size)
    wait_until(lambda: is_full or honest.acked, "the honest client is acked", deadline_s=_START_S)
    arena = Arena(target.port, time.monotonic() + seconds, tls_port=target.tls_port)
    if is_full:
        arena.fill(2 * _FULL_DISK_BYTES)
    try:
        ATTACKS[attack](arena)
        wait_s = None if is_full else max(honest.longest_s, *arena.waits, 0.0)
        resident, survived = target.resident_bytes(), target.has_survived
    finally:
        honest.stop()
        arena.close()
        target.stop()
    return Outcome(attack + " (full)" * is_full, resident, wait_s, honest.acked, survived, len(target.logged.encode()))


def main() -> int:
    """Run the attacks that were asked for; return 0 if all did no harm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each attack lasts")
    parser.add_argument("--attacks", nargs="+", choices=[*ATTACKS], default=[*ATTACKS], metavar="NAME")
    parser.add_argument("--log", action="store_true", help="print the end of what each server logged")
    words = parser.parse_args()
    outcomes = [_run_in_a_folder(attack, words.seconds, show_log=words.log) for attack in words.attacks]
    if "unread-answers" in words.attacks:
        outcomes.append(_run_in_a_folder("unread-answers", words.seconds, is_full=True, show_log=words.log))
    outcomes += [
        _run_in_a_folder(attack, words.seconds, honest_size=MIB, show_log=words.log)
        for attack in LARGE_LINES
        if attack in words.attacks
    ]
    return 0 if all(outcome.is_good for outcome in outcomes) else 3


def _run_in_a_folder(
    attack: str, seconds: float, *, is_full: bool = False, honest_size: int = 0, show_log: bool = False
) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        outcome = run(attack, Path(folder), seconds=seconds, is_full=is_full, honest_size=honest_size)
        print(outcome, "" if outcome.is_good else "  HARM", flush=True)
        if show_log:
            print("\n".join(_log_lines(Path(folder))), flush=True)
    return outcome


def _log_lines(folder: Path) -> Sequence[str]:
    return [
        line for path in sorted(folder.glob("*.std*")) for line in path.read_text(errors="replace").splitlines()[-8:]
    ]


if __name__ == "__main__":
    sys.exit(main())
