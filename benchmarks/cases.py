"""Our own client and server: real processes on loopback, one pair per run, and a check that nothing went missing."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.data import LogFile, read_stored, stored_bytes
from benchmarks.measure import BenchmarkError, Process, Usage

ROOT: Final = Path(__file__).resolve().parent.parent

_START_LIMIT_S: Final = 20.0
_SLOWEST_LINES_PER_S: Final = 10_000

# Following begins with what a client does once: opening, connecting, shipping what is there.
_SETTLE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Case:
    """One way to use the program. `flags` are the client's; the rest says what is expected of it."""

    name: str
    flags: tuple[str, ...]
    durability: str = "fsync"
    is_following: bool = False
    is_verifying: bool = False  # what is measured is `verify`, after the file was shipped
    min_lines_per_s: int | None = None
    no_slower_than: str | None = None
    slack: float = 0.0  # how much slower than that is still as fast


CASES: Final = (
    Case("batch", ("--batch-size", "5000"), min_lines_per_s=400_000, no_slower_than="plain", slack=0.1),
    Case("plain", ("--ack", "line", "--batch-size", "5000")),
    Case("verify", ("--batch-size", "5000"), is_verifying=True, no_slower_than="batch"),
    Case("batch-auto", ("--batch-size", "auto")),
    Case("resilient", ("--resilient", "--batch-size", "5000"), no_slower_than="batch"),
    Case("gzip", ("--compress", "--batch-size", "5000"), min_lines_per_s=250_000),
    Case("default", (), min_lines_per_s=100_000),
    Case("resilient-default", ("--resilient",), no_slower_than="default"),
    Case("durability-os", ("--batch-size", "5000"), durability="os"),
    Case("backlog", ("--mode", "continuous", "--batch-size", "5000"), is_following=True),
)
BIG: Final = Case("big", ("--batch-size", "5000"))


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement. `receiver` is missing where the receiver only throws away."""

    seconds: float
    sender: Usage
    receiver: Usage | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """What following a quiet file costs each end, in percent of one core, and the memory held meanwhile, in bytes."""

    seconds: float
    client_percent: float
    server_percent: float
    client_bytes: int
    server_bytes: int


def run_case(case: Case, log: LogFile, folder: Path) -> Run:
    """Ship `log` to a fresh server. Raises BenchmarkError, also when anything else was stored than the log's lines."""
    with running_server(folder, case.durability) as (server, port), _client(case, log, folder, port) as client:
        before = server.cpu_s()
        if case.is_following:
            wait_until_stored(client, log, folder)
            seconds = time.monotonic() - client.started_at
            sender = client.stop()
        elif case.is_verifying:
            client.wait(limit_s=limit_s(log))
            before = server.cpu_s()
            seconds, sender = _verify(log, folder, port)
        else:
            sender = client.wait(limit_s=limit_s(log))
            seconds = time.monotonic() - client.started_at
        receiver = Usage(server.cpu_s() - before, server.peak_bytes())
        server.stop()
        check_conservation(log, folder)
    return Run(seconds, sender, receiver)


def run_idle(log: LogFile, folder: Path, *, seconds: float) -> Idle:
    """Follow a file that nobody writes to for `seconds`, after its lines were shipped."""
    case = Case("idle", ("--mode", "continuous"))
    with running_server(folder, case.durability) as (server, port), _client(case, log, folder, port) as client:
        wait_until_stored(client, log, folder)
        time.sleep(_SETTLE_S)
        before, began = (client.cpu_s(), server.cpu_s()), time.monotonic()
        time.sleep(seconds)
        after, lasted = (client.cpu_s(), server.cpu_s()), time.monotonic() - began
        client_percent, server_percent = (100 * (now - then) / lasted for now, then in zip(after, before, strict=True))
        idle = Idle(lasted, client_percent, server_percent, client.resident_bytes(), server.resident_bytes())
        client.stop()
        server.stop()
        check_conservation(log, folder)
    return idle


def limit_s(log: LogFile) -> float:
    """Return how long shipping may take until it counts as hung."""
    return 60 + log.lines / _SLOWEST_LINES_PER_S


@contextmanager
def running_server(folder: Path, durability: str) -> Iterator[tuple[Process, int]]:
    """Run a server with an empty store; give it and its port. What both ends have kept is removed at the end."""
    flags = {
        "--server-host": "127.0.0.1",
        "--server-port": "0",
        "--data-dir": str(store_of(folder)),
        "--durability": durability,
    }
    try:
        with Process([*_program("server_main.py"), *_words(flags)], log=folder / "server.log") as server:
            match = server.wait_for_words(r"listening on \S+ port (\d+)\n", limit_s=_START_LIMIT_S)
            yield server, int(match[1])
    finally:
        for kept in (store_of(folder), client_state_of(folder)):
            shutil.rmtree(kept, ignore_errors=True)


def _client(case: Case, log: LogFile, folder: Path, port: int) -> Process:
    return Process([*_program("main.py"), *_where(log, folder, port), *case.flags], log=folder / "client.log")


def _verify(log: LogFile, folder: Path, port: int) -> tuple[float, Usage]:
    """Run `verify`, which exits with an error unless all is there, once; return its seconds and usage."""
    words = [*_program("main.py"), "verify", *_where(log, folder, port)]
    with Process(words, log=folder / "verify.log") as verifier:
        usage = verifier.wait(limit_s=limit_s(log))
        return time.monotonic() - verifier.started_at, usage


def _where(log: LogFile, folder: Path, port: int) -> list[str]:
    """Return what the client and `verify` need to know of each other."""
    flags = {
        "--log-file": str(log.path),
        "--server-host": "127.0.0.1",
        "--server-port": str(port),
        "--state-dir": str(client_state_of(folder)),
    }
    return _words(flags)


def _program(name: str) -> list[str]:
    return [sys.executable, str(ROOT / name)]


def _words(flags: dict[str, str]) -> list[str]:
    return [word for flag in flags.items() for word in flag]


def store_of(folder: Path) -> Path:
    """Return where the server keeps what it stores."""
    return folder / "store"


def client_state_of(folder: Path) -> Path:
    """Return where the client keeps its checkpoints."""
    return folder / "client-state"


def wait_until_stored(client: Process, log: LogFile, folder: Path) -> None:
    """Wait until a client has delivered all that a log file has."""
    client.wait_until(
        lambda: stored_bytes(store_of(folder)) >= log.stored.bytes, limit_s=limit_s(log), what="done with the backlog"
    )


def check_conservation(log: LogFile, folder: Path) -> None:
    """Raise BenchmarkError unless what is stored is what the log file has, once and in order."""
    stored = read_stored(store_of(folder))
    if stored.lines != log.lines:
        raise BenchmarkError(f"{log.lines} lines were shipped, but {stored.lines} are stored")
    if stored != log.stored:
        raise BenchmarkError(f"the stored lines are not those of the file: {stored} instead of {log.stored}")
