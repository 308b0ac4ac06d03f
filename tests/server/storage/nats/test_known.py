"""An open that finds less than its client knows: other replicas are asked, and it is answered only if none has more."""

import asyncio
from typing import Any

import pytest

from logferry.server.storage.nats import known
from logferry.server.storage.nats.headers import Totals, written
from logferry.server.storage.nats.known import BehindItsClient, check_known
from logferry.server.storage.nats.names import Names
from logferry.server.storage.nats.sources import Head
from logferry.server.storage.nats.wire import Message
from logferry.server.storage.records import SourceRow
from tests.server.storage.nats.test_headers import PAYLOAD, batch

NAMES = Names("lf", 8)


class Replicas:
    """A stream whose replicas answer in turn, each with a last message or none."""

    def __init__(self, *ends: int, absent: int = 0) -> None:
        self._ends = ends
        self._absent = absent
        self.asked = 0

    async def last_of_any(self, stream: str, subject: str) -> Message | None:
        self.asked += 1
        end = self._ends[self.asked % len(self._ends)]
        totals = Totals(100, 7, 300, 12345).extended(end, 1, len(PAYLOAD), batch().crc32)
        return Message(9, subject, written(batch(totals=totals)), PAYLOAD) if end else None

    async def api(self, operation: str, body: Any = None) -> dict[str, Any]:
        assert operation == f"STREAM.INFO.{NAMES.stream('s1')}"
        replicas = [{"name": "n2", "current": not self._absent}, {"name": "n3", "current": True}]
        return {"cluster": {"leader": "n1", "replicas": replicas}}


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_PAUSE_S", 0)


def check(replicas: Replicas, committed: int, client_knows: int, count: int = 3) -> None:
    head = Head(SourceRow("s1", "web-1", "/x", committed), Totals(committed), 9, 1) if committed else None
    asyncio.run(check_known(replicas, NAMES, "s1", head, client_knows, replicas=count))  # type: ignore[arg-type]


def test_a_client_that_knows_no_more_than_is_stored_asks_nobody() -> None:
    replicas = Replicas(140)
    for client_knows in (0, 139, 140, 2**63 - 1):
        check(replicas, 140, client_knows)
    assert not replicas.asked


def test_a_replica_that_has_more_keeps_the_open_from_being_answered() -> None:
    with pytest.raises(BehindItsClient, match=r"LF_\d is damaged and leads it: .* at 120 there, and at 140 elsewhere"):
        check(Replicas(0, 120, 140), 120, 140)


def test_a_replica_that_is_absent_keeps_the_open_from_being_answered() -> None:
    with pytest.raises(BehindItsClient, match=r"1 of the replicas of LF_. are not there to say"):
        check(Replicas(120, absent=1), 120, 140)


def test_what_all_replicas_say_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    check(Replicas(120), 120, 140)
    assert "ends at 120 there, its client knows of 140; lines have been lost" in caplog.text


def test_a_source_that_the_store_never_had_is_new(caplog: pytest.LogCaptureFixture) -> None:
    """A client of several servers brings it."""
    check(Replicas(0), 0, 140)
    assert not caplog.records


def test_nobody_else_is_asked_where_there_is_one_copy() -> None:
    replicas = Replicas(120)
    check(replicas, 120, 140, count=1)
    assert not replicas.asked
