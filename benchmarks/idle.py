"""The cost of following files that nothing writes to."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.data import LogFile
from benchmarks.ends import check_conservation, running_server, start_client, wait_until_stored

# A client starts with work that it does only once: opening, connecting, shipping existing lines, a checkpoint.
_SETTLE_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Idle:
    """CPU (ms) and memory (bytes) of each end: resident during the measurement, and the peak since the start."""

    files: int
    seconds: float
    client_ms: float
    server_ms: float
    client_bytes: int
    server_bytes: int
    client_peak_bytes: int
    server_peak_bytes: int


def measure_idle(log: LogFile, folder: Path, *, files: int, seconds: float) -> Idle:
    """Follow quiet files for `seconds`, after shipping their lines."""
    with (
        running_server(folder) as (server, port),
        start_client(log, folder, port, "--mode", "continuous") as client,
    ):
        wait_until_stored(client, log, folder, every_s=_LOOK_EVERY_S)
        time.sleep(_SETTLE_S)
        before, began = (client.cpu_s(), server.cpu_s()), time.monotonic()
        time.sleep(seconds)
        after, lasted = (client.cpu_s(), server.cpu_s()), time.monotonic() - began
        client_ms, server_ms = (1000 * (now - then) for now, then in zip(after, before, strict=True))
        memory = (client.resident_bytes(), server.resident_bytes(), client.peak_bytes(), server.peak_bytes())
        client.stop()
        server.stop()
        check_conservation(log, folder)
    return Idle(files, lasted, client_ms, server_ms, *memory)
