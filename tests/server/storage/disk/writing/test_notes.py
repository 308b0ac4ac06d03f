"""Notes of thousands of sources cost the writer little: others wait behind the group that records them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.protocol.messages.requests import Note, Open, Window
from logferry.server.storage import loss_limits
from logferry.server.storage.deliveries import Delivery, SourceRequest
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.log_names import NO_LOG
from logferry.server.storage.owners import of_client
from tests.server.storage.disk.integrity.test_repair import ship
from tests.support.running import wait_until
from tests.support.stores import Stored, in_one_group, opened

SOURCES = 200


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the ledger was asked, and how many transactions it had."""
    counts: Counter[str] = Counter()
    query, transaction = Ledger._query, Ledger.transaction

    def counting(self: Ledger, *words: Any) -> list[Any]:
        counts["queries"] += 1
        return query(self, *words)

    @contextmanager
    def counted(self: Ledger) -> Iterator[None]:
        counts["transactions"] += 1
        with transaction(self):
            yield

    monkeypatch.setattr(Ledger, "_query", counting)
    monkeypatch.setattr(Ledger, "transaction", counted)
    return counts


def send(store: DiskStore, messages: list[Open | Note | Window]) -> None:
    stored = Stored()
    with in_one_group(store):
        for message in messages:
            request = SourceRequest(message, 1, of_client("client-1"), "web-1")
            store.submit(Delivery(NO_LOG, [], 0, 0, source_request=request), stored)
    wait_until(lambda: len(stored.deliveries) == len(messages), "the store answers")


def test_notes_of_many_sources_are_few_questions_to_the_ledger(tmp_path: Path, asked: Counter[str]) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 12)
        send(store, [Open(f"s{n}", "/var/log/app.log") for n in range(SOURCES)])
        send(store, [Note(f"s{n}", 0, 5, "gone") for n in range(SOURCES)])  # each source is counted once
        asked.clear()
        send(store, [Note(f"s{n}", 0, 6, "gone") for n in range(SOURCES)])
        assert asked["queries"] <= 3
        assert asked["transactions"] <= 2
        send(store, [Window(f"s{n}", 0, 1, 2, "unseen") for n in range(SOURCES)])
        asked.clear()
        send(store, [Window(f"s{n}", 0, 1, 3, "unseen") for n in range(SOURCES)])
        assert asked["queries"] <= 3


def test_how_many_losses_a_source_has_is_counted_again_once_it_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_limits, "MAX_COUNTS", 1)
    monkeypatch.setattr(loss_limits, "MAX_LOSSES", 3)
    with opened(tmp_path) as store:
        send(store, [Open(source, "/var/log/app.log") for source in ("s1", "s2")])
        for end in range(5, 10):
            send(store, [Note(source, 0, end, "gone") for source in ("s1", "s2")])
    ledger = Ledger(tmp_path, durable=False, read_only=True)
    found = {source: ledger.losses(source, limit=10) for source in ("s1", "s2")}
    ledger.close()
    for source in ("s1", "s2"):
        assert sorted((loss.end, loss.reason != loss_limits.REASON) for loss in found[source]) == [
            *((5, True), (6, True), (7, True), (9, False)),
        ]


def test_what_was_not_recorded_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_limits, "MAX_LOSSES", 2)
    with opened(tmp_path) as store:
        send(store, [Open("s1", "/var/log/app.log"), Note("s1", 0, 5, "gone")])
        failures = [OSError(28, "No space left on device")]
        add_loss = Ledger.add_loss

        def failing(self: Ledger, loss: Any) -> bool:
            is_new = add_loss(self, loss)
            if failures:
                raise failures.pop()
            return is_new

        monkeypatch.setattr(Ledger, "add_loss", failing)
        send(store, [Note("s1", 0, 6, "gone")])
    ledger = Ledger(tmp_path, durable=False, read_only=True)
    assert [(loss.end, loss.reason) for loss in ledger.losses("s1", limit=10)] == [(5, "gone"), (6, "gone")]
    ledger.close()
