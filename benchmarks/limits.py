"""Upper bounds for any shipper: piping the bytes unchanged, letting the kernel send them, compressing them."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.cases import Run
from benchmarks.data import LogFile
from benchmarks.ends import START_LIMIT_S, limit_s, start_script
from benchmarks.measure import CannotMeasureError, Process, Usage
from benchmarks.receiving import arrival, running_receiver


def run_cat_netcat(log: LogFile, folder: Path) -> Run:
    """`cat FILE | nc`: the cost of moving bytes without looking at them."""
    script = f'cat "$1" | {_find_netcat()} -N 127.0.0.1 "$2"'
    with (
        running_receiver(folder, "sink", "bytes", str(log.bytes)) as (sink, port),
        Process(["sh", "-c", script, "sh", str(log.path), str(port)], log=folder / "cat-nc.log") as pipeline,
    ):
        seconds = arrival(sink, log) - pipeline.started_at
        usage = pipeline.wait(limit_s=limit_s(log))
    return Run(seconds, Usage(usage.cpu_s, 0))  # the peak would be that of the shell


def run_sendfile(log: LogFile, folder: Path) -> Run:
    """Let the kernel send the file."""
    with (
        running_receiver(folder, "sink", "bytes", str(log.bytes)) as (sink, port),
        start_script("mover", "sendfile", str(log.path), str(port), folder=folder) as sender,
    ):
        seconds = arrival(sink, log) - sender.started_at
        return Run(seconds, sender.wait(limit_s=limit_s(log)))


def run_zlib(log: LogFile, folder: Path) -> Run:
    """Compress the file at level 1 in one thread, and nothing else."""
    with start_script("mover", "zlib", str(log.path), folder=folder) as compressor:
        usage = compressor.wait(limit_s=limit_s(log))
        return Run(time.monotonic() - compressor.started_at, usage)


LIMITS: Final[Mapping[str, Callable[[LogFile, Path], Run]]] = {
    "cat-nc": run_cat_netcat,
    "sendfile": run_sendfile,
    "zlib": run_zlib,
}


def _find_netcat() -> str:
    """Return a netcat that can close the connection at the end of its input (-N). Raises CannotMeasureError."""
    for name in ("nc.openbsd", "nc"):
        program = shutil.which(name)
        if program and re.search(r"^\s+-N\s", _help_of(program), re.MULTILINE):
            return program
    raise CannotMeasureError("no OpenBSD netcat on this machine (Debian: apt install netcat-openbsd)")


def _help_of(program: str) -> str:
    done = subprocess.run([program, "-h"], capture_output=True, text=True, timeout=START_LIMIT_S, check=False)
    return done.stdout + done.stderr
