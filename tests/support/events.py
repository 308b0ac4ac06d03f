"""Events of several lines and records of many formats: what a log has, what a server keeps, and the proof of it."""

import base64
import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof.verdict import Verdict
from logferry.client.proof.verify import verify_all
from logferry.client.state.checkpoint import Checkpoint
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import FileSettings, ShipSettings
from logferry.protocol.messages.reports import Extent
from logferry.server.storage.disk.integrity.source_report import report
from tests.support.running import stored_lines
from tests.support.shipping import input_settings, ship_settings

JAVA: Final = b"""\
2024-01-15 08:23:45 ERROR Request 4711 failed
java.lang.IllegalStateException: cannot pay
\tat com.example.shop.Payment.charge(Payment.java:118)
\tat com.example.shop.Order.submit(Order.java:64)
Caused by: java.net.SocketTimeoutException: Read timed out
\tat java.base/java.net.SocketInputStream.read(SocketInputStream.java:280)
\t... 2 common frames omitted
"""
PYTHON: Final = b"""\
2024-01-15 08:23:46 ERROR task failed
Traceback (most recent call last):
  File "/srv/app/worker.py", line 31, in run
    return self.task()
           ^^^^^^^^^^^
KeyError: 'user'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/app/worker.py", line 33, in run
    raise TaskFailed("no user") from None
worker.TaskFailed: no user
"""


def event(number: int, lines: int = 3, *, newline: bytes = b"\n") -> bytes:
    """Return an event whose lines are unlike those of any other."""
    rest = (b"\tat line %d of event %d" % (line, number) for line in range(1, lines))
    return b"".join(line + newline for line in (b"2024-01-15 08:23:45 ERROR event %d" % number, *rest))


def lines_of(*logs: bytes | Path) -> list[bytes]:
    """Return the lines of logs that must be stored: all that are not blank, without their endings."""
    data = b"".join(log if isinstance(log, bytes) else log.read_bytes() for log in logs)
    return [line.removesuffix(b"\r") for line in data.split(b"\n") if line.strip()]


def lines_in(records: Iterable[bytes]) -> list[bytes]:
    """Return the lines that records of the plain format were made of, in order: their events taken apart again."""
    return [line for record in records for line in lines_of(_text_of(json.loads(record)))]


def _text_of(record: Mapping[str, Any]) -> bytes:
    if "raw" in record:
        return base64.b64decode(record["raw"])
    message = str(record["message"])
    return (message if record["timestamp"] is None else f"{record['timestamp']} {record['level']} {message}").encode()


def prove(port: int, state_dir: Path, *names: Path | str) -> list[Verdict]:
    """Let `verify` look at files; each must be all there, once. Return its verdicts."""
    verdicts = judge(port, state_dir, *names)
    assert all(verdict.is_proven for verdict in verdicts), verdicts
    return verdicts


def judge(port: int, state_dir: Path, *names: Path | str) -> list[Verdict]:
    """Let `verify` look at files, or at those that patterns mean."""
    checkpoints = Checkpoints(state_dir, read_only=True)
    reports = ReportClient(
        Endpoint("127.0.0.1", port),
        client_id=checkpoints.client_id,
        client_host="test",
        connect_timeout_s=5,
        answer_timeout_s=5,
    )
    try:
        wanted = FileSettings(log_file=tuple(map(str, names)), exclude=())
        return verify_all([wanted], checkpoints, reports)
    finally:
        reports.close()


def assert_all_there(tmp_path: Path, port: int, *logs: Path) -> None:
    """Every line of these logs is stored in one event, and nothing else is; those of each log are in order.

    `verify` must say so too. The folders are those of `running_server` and `once`.
    """
    stored = stored_lines(tmp_path / "data")
    assert sorted(lines_in(stored)) == sorted(lines_of(*logs))
    for log in logs:
        assert _in(lines_in(stored), lines_of(log))
    verdicts = prove(port, tmp_path / "state", *logs)
    assert sum(verdict.stored for verdict in verdicts) == len(stored)


def _in(lines: Iterable[bytes], wanted: Iterable[bytes]) -> bool:
    """Whether the wanted lines are among the others, in this order."""
    others = iter(lines)
    return all(line in others for line in wanted)


def stored_of(data_dir: Path, name: str) -> list[bytes]:
    """Return the records that a server keeps of files that were called so."""
    segments = sorted(data_dir.glob(f"segments/**/{name}/*.ndjson"), key=lambda path: (len(path.name), path.name))
    return b"".join(path.read_bytes() for path in segments).splitlines(keepends=True)


def extents(data_dir: Path) -> list[Extent]:
    """Return the extents of all sources that a server has."""
    with closing(sqlite3.connect(data_dir / "ledger.sqlite3")) as ledger:
        ids = [row[0] for row in ledger.execute("SELECT id FROM sources ORDER BY opened_at")]
    return [extent for source in ids for extent in report(data_dir, source, after=0).extents]


def checkpoint_of(state_dir: Path, log: Path) -> Checkpoint:
    """Return the only checkpoint that a state folder has of a name."""
    (checkpoint,) = Checkpoints(state_dir, read_only=True).of_path(str(log))
    return checkpoint


def with_inputs(port: int, inputs: Mapping[Path | str, Mapping[str, Any]], **changes: Any) -> ShipSettings:
    """Return settings of a client with several inputs: for each name or pattern what is not as by default."""
    settings = ship_settings([str(name) for name in inputs], port, **changes)
    return dataclasses.replace(
        settings, inputs=tuple(input_settings(name, **dict(own)) for name, own in inputs.items())
    )
