"""Sources that never got a line do not stay in the ledger for ever; all others do."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logferry.protocol.messages.requests import Open
from logferry.server.storage.deliveries import Delivery, ReleaseSources, SourceRequest
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.retention.unused_sources import PAGE_ROWS, PAUSE_S, UNUSED_S, UnusedSources
from logferry.server.storage.owners import of_client
from logferry.server.storage.records import ExtentRow, LossRow, SourceRow, WindowRow
from tests.support.running import wait_until
from tests.support.stores import LOG, Stored, opened

EXTENT = ExtentRow(0, 100, 3, 77, segment=1, position=0, bytes=210)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger."""
    with closing(Ledger(tmp_path, durable=False)) as opened_ledger:
        yield opened_ledger


class Walk:
    """A walk through a ledger with clocks that a test holds in its hands."""

    def __init__(self, ledger: Ledger, *, is_open: frozenset[str] = frozenset()) -> None:
        self.now = 0.0
        self.passed_s = UNUSED_S + 1
        self._unused = UnusedSources(
            ledger,
            is_open=is_open.__contains__,
            monotonic=lambda: self.now,
            clock=lambda: time.time() + self.passed_s,
        )

    def pages(self, count: int) -> None:
        """Look at pages, with the pauses between them."""
        for _ in range(count):
            self._unused.forget_some()
            self._unused.forget_some()  # too early: does nothing
            self.now += PAUSE_S


def add(ledger: Ledger, *sources: SourceRow) -> None:
    with ledger.transaction():
        ledger.add_sources(sources)


def source(name: str, committed: int = 0) -> SourceRow:
    return SourceRow(name, "web-1", "/var/log/app.log", committed=committed, owner="c1")


def test_only_what_is_unused_and_not_open_is_forgotten(ledger: Ledger) -> None:
    kept = ["moved", "open", "with extent", "with loss", "with window"]
    add(ledger, source("moved", 7), source("unused"), *map(source, kept[1:]))
    with ledger.transaction():
        ledger.set_extents([("with extent", EXTENT)])
        ledger.add_loss(LossRow("with loss", 0, 9, "cut"))
        ledger.add_window(WindowRow("with window", 0, 1, 2, "truncated"))
    walk = Walk(ledger, is_open=frozenset({"open"}))
    walk.passed_s = UNUSED_S - 60
    walk.pages(2)
    assert ledger.source("unused")
    walk.passed_s = UNUSED_S + 60
    walk.pages(1)
    assert ledger.source("unused") is None
    assert all(ledger.source(name) for name in kept)


def test_a_walk_goes_through_everything_in_pages_and_begins_again(ledger: Ledger) -> None:
    add(ledger, *(source(f"{number:05d}", number % 2) for number in range(3 * PAGE_ROWS)))
    walk = Walk(ledger)
    left = []
    for _ in range(4):
        walk.pages(1)
        left.append(sum(len(ledger.positions([f"{n:05d}"])) for n in range(3 * PAGE_ROWS)))
    assert left == [2500, 2000, 1500, 1500]
    add(ledger, source("00000"))
    walk.pages(1)
    assert ledger.source("00000") is None


def test_a_client_that_opens_a_forgotten_source_again_begins_at_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.server.storage.disk.retention.unused_sources.PAUSE_S", 0.0)
    monkeypatch.setattr("logferry.server.storage.disk.retention.unused_sources.UNUSED_S", -60.0)
    stored = Stored()
    with opened(tmp_path) as store:

        def ask(message: Open | ReleaseSources) -> SourceRequest:
            request = SourceRequest(message, 1, of_client("c1"), "web-1")
            count = len(stored.deliveries)
            store.submit(Delivery(LOG, [], 0, 0, source_request=request), stored)
            wait_until(lambda: len(stored.deliveries) > count, "the request is judged")
            return request

        opening = Open("s1", "/var/log/app.log", 0)
        first = ask(opening).outcome
        assert ask(Open("s2", "/var/log/app.log", 0)).outcome  # a group after which "s1" is open
        assert store.owners_of(["s1"]) == {"s1": "c1"}
        ask(ReleaseSources(("s1",)))
        wait_until(lambda: store.owners_of(["s1"]) == {}, "the source is forgotten")
        assert ask(opening).outcome == first
        assert store.owners_of(["s1"]) == {"s1": "c1"}
        assert store.owners_of(["s2"]) == {"s2": "c1"}
