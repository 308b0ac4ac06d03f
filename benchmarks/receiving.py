"""Receivers that discard everything, for programs that do not need our server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.data import LogFile
from benchmarks.ends import START_LIMIT_S, limit_s, start_script
from benchmarks.measure import Process


@contextmanager
def running_receiver(folder: Path, script: str, *words: str) -> Iterator[tuple[Process, int]]:
    """Run a receiver; yield it and its port."""
    with start_script(script, *words, folder=folder) as receiver:
        yield receiver, int(receiver.wait_for_output(r"listening on port (\d+)\n", limit_s=START_LIMIT_S)[1])


def arrival(receiver: Process, log: LogFile) -> float:
    """Wait until everything has arrived; return the time of arrival on the monotonic clock."""
    receiver.wait(limit_s=limit_s(log))
    return float(receiver.wait_for_output(r"done at ([\d.]+)\n", limit_s=START_LIMIT_S)[1])
