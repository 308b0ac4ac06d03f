"""The time from the start of a client to its first byte on the wire, the hello."""

import socket
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import LogFile
from benchmarks.ends import START_LIMIT_S, nothing_kept, start_client
from benchmarks.measure import BenchmarkError


@dataclass(frozen=True, slots=True)
class Startup:
    """Milliseconds until the first byte: the median and the extremes of several starts."""

    starts: int
    ms: float
    ms_min: float
    ms_max: float


def measure_startup(log: LogFile, folder: Path, *, starts: int) -> Startup:
    """Start a client `starts` times."""
    times_ms = sorted(_first_byte_ms(log, folder) for _ in range(starts))
    return Startup(starts, statistics.median(times_ms), times_ms[0], times_ms[-1])


def _first_byte_ms(log: LogFile, folder: Path) -> float:
    with nothing_kept(folder), socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(START_LIMIT_S)
        with start_client(log, folder, listener.getsockname()[1]) as client:
            try:
                sock, _ = listener.accept()
                with sock:
                    sock.settimeout(START_LIMIT_S)
                    sock.recv(1)
                    return (time.monotonic() - client.started_at) * 1000
            except TimeoutError as error:
                raise BenchmarkError(f"a client sent nothing within {START_LIMIT_S:g} s") from error
