"""Many connections with a line a second each (steady.py), to a server that syncs: its CPU and memory, and the acks."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.data import read_stored
from benchmarks.ends import running_server, start_script, store_of
from benchmarks.measure import BenchmarkError
from benchmarks.server_alone import need_descriptors_for, two_cores

CONNECTIONS_HEADER: Final = (
    *("connections, each a line a second", "seconds", "lines/s acked", "ack p50 ms", "ack p99 ms", "ack max ms"),
    *("server CPU %", "server peak MB"),
)

_CONNECT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Connections:
    """The result: `server_percent` is of a core, `server_peak_bytes` the largest resident memory."""

    connections: int
    seconds: float
    lines_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    server_percent: float
    server_peak_bytes: int


def measure_connections(connections: int, folder: Path, *, seconds: float) -> Connections:
    """Keep the connections busy for `seconds`. Raises BenchmarkError, also if not every line is stored, once."""
    server_core, load_core = two_cores()
    need_descriptors_for(connections)
    flags = ("--max-connections", str(connections + 1))
    with running_server(folder, *flags, core=server_core) as (server, port):
        words = (str(port), str(server.pid), str(connections), str(seconds))
        with start_script("steady", *words, folder=folder, core=load_core) as load:
            load.wait(limit_s=_CONNECT_S + 3 * seconds)
            printed = load.wait_for_output(r"(\{.*\})\n", limit_s=1.0)
        found = json.loads(printed[1])
        peak = server.peak_bytes()
        server.stop()
        if (stored := read_stored(store_of(folder)).lines) != found.pop("lines"):
            raise BenchmarkError(f"{stored} lines are stored, but not as many were sent")
    return Connections(connections, seconds, **found, server_peak_bytes=peak)
