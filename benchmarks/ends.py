"""Our own client and server, as real processes on loopback with their own folders; and the check for missing lines.

Both run with the Python that runs the benchmark, or with the base Python of its virtual environment, so that the
measured programs have no packages installed.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.data import LogFile, read_stored, stored_bytes
from benchmarks.measure import BenchmarkError, Process

ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON: Final = str(Path(sys.executable).resolve())

START_LIMIT_S: Final = 20.0
_SLOWEST_LINES_PER_S: Final = 10_000

Environment = Mapping[str, str]
"""Environment variables for one end."""


@contextmanager
def running_server(
    folder: Path,
    *flags: str,
    durability: str = "fsync",
    environment: Environment | None = None,
    core: int | None = None,
) -> Iterator[tuple[Process, int]]:
    """Run a server with an empty store; yield it and its port. Removes the data of both ends afterwards."""
    settings = {
        "--server-host": "127.0.0.1",
        "--server-port": "0",
        "--data-dir": str(store_of(folder)),
        "--durability": durability,
    }
    words = [PYTHON, str(ROOT / "server_main.py"), *_words(settings), *flags]
    with (
        nothing_kept(folder),
        Process(words, log=folder / "server.log", environment=environment, core=core) as server,
    ):
        match = server.wait_for_output(r"listening on \S+ port (\d+)(?: \(TLS\))?\n", limit_s=START_LIMIT_S)
        yield server, int(match[1])


@contextmanager
def nothing_kept(folder: Path) -> Iterator[None]:
    """Remove the data of both ends afterwards, so that the next run starts from scratch."""
    try:
        yield
    finally:
        for kept in (store_of(folder), client_state_of(folder)):
            shutil.rmtree(kept, ignore_errors=True)


def start_client(log: LogFile, folder: Path, port: int, *flags: str, environment: Environment | None = None) -> Process:
    """Start a client that ships a log."""
    words = [PYTHON, str(ROOT / "main.py"), *_where(log, folder, port), *flags]
    return Process(words, log=folder / "client.log", environment=environment)


def start_verifier(log: LogFile, folder: Path, port: int, *, environment: Environment | None = None) -> Process:
    """Start `verify`, which fails unless every line is stored, once."""
    words = [PYTHON, str(ROOT / "main.py"), "verify", *_where(log, folder, port)]
    return Process(words, log=folder / "verify.log", environment=environment)


def start_script(
    name: str, *words: str, folder: Path, environment: Environment | None = None, core: int | None = None
) -> Process:
    """Start one of the scripts in this folder."""
    script = ROOT / "benchmarks" / f"{name}.py"
    return Process([PYTHON, str(script), *words], log=folder / f"{name}.log", environment=environment, core=core)


def store_of(folder: Path) -> Path:
    """Return the server's data folder."""
    return folder / "store"


def client_state_of(folder: Path) -> Path:
    """Return the client's state folder."""
    return folder / "client-state"


def limit_s(log: LogFile) -> float:
    """Return after how long shipping counts as hung."""
    return 60 + log.lines / _SLOWEST_LINES_PER_S


def wait_until_stored(client: Process, log: LogFile, folder: Path, *, every_s: float = 0.01) -> None:
    """Wait until a client has delivered a whole log file, checking every `every_s` seconds."""
    client.wait_until(
        lambda: stored_bytes(store_of(folder)) >= log.stored.bytes,
        limit_s=limit_s(log),
        what="done with the log file",
        every_s=every_s,
    )


def check_conservation(log: LogFile, folder: Path) -> None:
    """Raise BenchmarkError unless every line of the log file is stored, once and in order."""
    stored = read_stored(store_of(folder))
    if stored.lines != log.stored.lines:
        raise BenchmarkError(f"{log.stored.lines} lines were shipped, but {stored.lines} are stored")
    if stored != log.stored:
        raise BenchmarkError(f"the stored lines differ from those of the file: {stored} instead of {log.stored}")


def _where(log: LogFile, folder: Path, port: int) -> list[str]:
    """Return the flags that the client and `verify` share."""
    settings = {
        "--log-file": str(log.path),
        "--server-host": "127.0.0.1",
        "--server-port": str(port),
        "--state-dir": str(client_state_of(folder)),
    }
    return _words(settings)


def _words(flags: Mapping[str, str]) -> list[str]:
    return [word for flag in flags.items() for word in flag]
