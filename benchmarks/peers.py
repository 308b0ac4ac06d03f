"""Other people's programs, shipping the same file to a receiver that throws everything away."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cases import Run, limit_s
from benchmarks.data import LogFile
from benchmarks.measure import Process, Usage

_START_LIMIT_S: Final = 20.0

# Daemons are not always on the path of a user.
_SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The same JSON as ours, done in the fastest way that rsyslog was seen to do it: fields and columns where they suffice,
# one regular expression for the rest of the line (three of them took twice the time). Everything else is its default.
_RSYSLOG_CONFIGURATION: Final = r"""
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imfile")
template(name="json" type="list") {{
    constant(value="{{\"level\": \"")
    property(name="msg" field.delimiter="32" field.number="3" caseconversion="upper")
    constant(value="\", \"message\": \"")
    property(name="msg" regex.type="ERE" regex.expression="^[^ ]+ [^ ]+ [^ ]+ (.*)" regex.submatch="1"
             regex.nomatchmode="FIELD" format="json")
    constant(value="\", \"timestamp\": \"")
    property(name="msg" position.from="1" position.to="19")
    constant(value="\"}}\n")
}}
ruleset(name="ship") {{
    action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" template="json")
}}
input(type="imfile" File="{log}" Tag="benchmark" ruleset="ship")
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program to compare with; `run` ships a log once, using a folder for its files."""

    name: str
    run: Callable[[LogFile, Path], Run]


def find_peers() -> tuple[list[Peer], list[str]]:
    """Return those that this machine has, and why each other one is skipped."""
    peers: list[Peer] = []
    skipped: list[str] = []
    if shutil.which("rsyslogd", path=_SEARCH_PATH):
        peers.append(Peer("rsyslog", run_rsyslog))
    else:
        skipped.append("rsyslog: no rsyslogd on this machine (Debian: apt install rsyslog)")
    if _netcat():
        peers.append(Peer("cat-nc", run_cat_netcat))
    else:
        skipped.append("cat-nc: no OpenBSD netcat on this machine (Debian: apt install netcat-openbsd)")
    return peers, skipped


def run_cat_netcat(log: LogFile, folder: Path) -> Run:
    """`cat FILE | nc`: what moving the bytes costs when nobody looks at them."""
    script = f'cat "$1" | {_netcat()} -N 127.0.0.1 "$2"'
    with (
        _sink(folder, unit="bytes", count=log.bytes) as (sink, port),
        Process(["sh", "-c", script, "sh", str(log.path), str(port)], log=folder / "cat-nc.log") as pipeline,
    ):
        seconds = _arrival(sink, log) - pipeline.started_at
        usage = pipeline.wait(limit_s=limit_s(log))
    return Run(seconds, Usage(usage.cpu_s, 0))  # the peak would be the shell's


def run_rsyslog(log: LogFile, folder: Path) -> Run:
    """Rsyslog's imfile to omfwd, from its start until all lines have arrived."""
    home = folder / "rsyslog"
    home.mkdir()  # it keeps how far it has read here, so each run gets a fresh one
    try:
        with _sink(folder, unit="lines", count=log.lines) as (sink, port):
            configuration = home / "rsyslog.conf"
            configuration.write_text(_RSYSLOG_CONFIGURATION.format(folder=home, log=log.path, port=port))
            program = str(shutil.which("rsyslogd", path=_SEARCH_PATH))
            words = [program, "-n", "-f", str(configuration), "-i", str(home / "pid")]
            with Process(words, log=folder / "rsyslog.log") as daemon:
                seconds = _arrival(sink, log) - daemon.started_at
                return Run(seconds, daemon.usage())
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _netcat() -> str | None:
    """Return the netcat that can end a connection when its input ends (-N)."""
    for name in ("nc.openbsd", "nc"):
        program = shutil.which(name)
        if program and re.search(r"^\s+-N\s", _help_of(program), re.MULTILINE):
            return program
    return None


def _help_of(program: str) -> str:
    done = subprocess.run([program, "-h"], capture_output=True, text=True, timeout=_START_LIMIT_S, check=False)
    return done.stdout + done.stderr


@contextmanager
def _sink(folder: Path, *, unit: str, count: int) -> Iterator[tuple[Process, int]]:
    script = Path(__file__).resolve().parent / "sink.py"
    with Process([sys.executable, str(script), unit, str(count)], log=folder / "sink.log") as sink:
        yield sink, int(sink.wait_for_words(r"listening on port (\d+)\n", limit_s=_START_LIMIT_S)[1])


def _arrival(sink: Process, log: LogFile) -> float:
    """Wait until everything has arrived; return when that was, on the monotonic clock."""
    sink.wait(limit_s=limit_s(log))
    return float(sink.wait_for_words(r"done at ([\d.]+)\n", limit_s=_START_LIMIT_S)[1])
