"""The server alone, on one core, fed with prepared batches over few or many connections (load.py)."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cases import Run
from benchmarks.data import LogFile, rendered_chunks
from benchmarks.ends import check_conservation, limit_s, running_server, start_script
from benchmarks.measure import CannotMeasureError, Usage

CONNECTIONS: Final = (1, 16, 1000, 10_000)

# Besides its connections the server needs descriptors for its files; the load generator needs a few of its own.
_SPARE_DESCRIPTORS: Final = 1000


@dataclass(frozen=True, slots=True)
class ServerCase:
    """A server with this many clients at the same time."""

    connections: int

    @property
    def name(self) -> str:
        """The name in the table."""
        return f"server-alone-{self.connections}"


SERVER_CASES: Final = tuple(ServerCase(connections) for connections in CONNECTIONS)


def render_load(log: LogFile, path: Path) -> None:
    """Write the records that clients would send of a log."""
    with log.path.open("rb") as source, path.open("wb") as load:
        for _, rendered in rendered_chunks(source):
            load.write(rendered.payload)


def run_server_case(case: ServerCase, log: LogFile, load: Path, folder: Path) -> Run:
    """Send the rendered `log` to a server. Raises BenchmarkError, also if the stored lines differ."""
    server_core, load_core = two_cores()
    _need_lines(case.connections, log)
    need_descriptors_for(case.connections)
    flags = ("--max-connections", str(case.connections + 1))
    with running_server(folder, *flags, core=server_core) as (server, port):
        words = (str(port), str(server.pid), str(case.connections), str(load))
        with start_script("load", *words, folder=folder, core=load_core) as generator:
            generator.wait(limit_s=limit_s(log))
            printed = generator.wait_for_output(r"in ([\d.]+) s for ([\d.]+) s of CPU", limit_s=1.0)
        usage = Usage(float(printed[2]), server.peak_bytes())
        server.stop()
        check_conservation(log, folder)
    return Run(float(printed[1]), receiver=usage)


def two_cores() -> tuple[int, int]:
    """Return a core for the server and one for its load; both are the same on a machine with one core."""
    first, *others = sorted(os.sched_getaffinity(0))
    return first, others[0] if others else first


def _need_lines(connections: int, log: LogFile) -> None:
    if log.lines < connections:
        raise CannotMeasureError(
            f"{connections} connections need at least one line each, but the log has {log.lines} lines"
        )


def need_descriptors_for(connections: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < connections + _SPARE_DESCRIPTORS:
        raise CannotMeasureError(f"{connections} connections need more descriptors than {most} (ulimit -Hn)")
