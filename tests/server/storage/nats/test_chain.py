"""What is read back of a source: messages that a replica lacks, that all lack, and that retention has deleted."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from logferry.protocol.messages.reports import Extent, ReportPage
from logferry.protocol.messages.requests import Repair
from logferry.server.storage.nats import chain, reading
from logferry.server.storage.nats.connection import connect
from logferry.server.storage.nats.nats_store import NatsStore
from tests.support.nats_servers import NatsCluster
from tests.support.nats_stores import NatsPlace, run
from tests.support.running import DEADLINE_S
from tests.support.store_client import StoreClient, batch
from tests.support.stores import LINES

SIZE = len(LINES[0])


@pytest.fixture
def place(nats_node: NatsCluster, monkeypatch: pytest.MonkeyPatch) -> NatsPlace:
    monkeypatch.setattr(chain, "_PAUSE_S", 0)
    monkeypatch.setattr(reading, "_PAUSE_S", 0)
    return NatsPlace(nats_node)


@contextmanager
def with_batches(place: NatsPlace, count: int = 6) -> Iterator[NatsStore]:
    """Give a store with batches of a line each; every second one is an extent with the one before."""
    store = place.new()
    store.open(lambda: None)
    try:
        client = StoreClient(store)
        client.open()
        for number in range(count):
            client.ask(batch(LINES[number], start=number * SIZE, split=number % 2 == 0))
        yield store
    finally:
        store.close(DEADLINE_S)


def lose(place: NatsPlace, *numbers: int) -> None:
    """Let a replica miss messages."""
    messages = place.messages()
    place.faults.missing = {messages[0].subject: {messages[number].sequence for number in numbers}}


def states(page: ReportPage) -> list[tuple[int, int, int, str]]:
    """Return which lines the extents of a report have, and their states."""
    return [(each.start // SIZE, each.end // SIZE, each.lines, each.state) for each in page.extents]


def test_messages_that_one_replica_lacks_are_read_from_another(place: NatsPlace) -> None:
    with with_batches(place) as store:
        lose(place, 0, 2, 3, 5)
        assert states(store.report("s1", 0)) == [(0, 2, 2, "ok"), (2, 4, 2, "ok"), (4, 6, 2, "ok")]
        assert store.health().damaged_extents == 0


def test_messages_that_all_lack_are_damage_that_the_lines_repair(place: NatsPlace) -> None:
    notified: list[object] = []
    with with_batches(place) as store:
        store._now_open.damage._on_damage = notified.append
        lose(place, 2, 3)
        place.faults.has_lost_them_all = True
        page = store.report("s1", 0)
        assert states(page) == [(0, 2, 2, "ok"), (2, 4, 2, "missing"), (4, 6, 2, "ok")]
        assert notified == [{"client-1": ["s1"]}]
        assert store.health().damaged_extents == 1
        missing = page.extents[1]
        assert not store.repair(repair_of(missing, LINES[2] + LINES[4])).is_whole
        assert store.repair(repair_of(missing, LINES[2] + LINES[3])).is_whole
        assert states(store.report("s1", 0)) == [(0, 2, 2, "ok"), (2, 4, 2, "ok"), (4, 6, 2, "ok")]
        assert (store.health().damaged_extents, store.health().counters.extents_repaired) == (0, 1)
        assert place.lines() == LINES[:6]


def repair_of(extent: Extent, payload: bytes) -> Repair:
    return Repair("s1", extent.start, extent.end, extent.lines, extent.crc32, payload)


def test_a_tail_that_all_lack_is_missing(place: NatsPlace) -> None:
    """The last message is what says how far the source goes, so only those before it can be missing at the end."""
    with with_batches(place) as store:
        lose(place, 3, 4)
        place.faults.has_lost_them_all = True
        assert states(store.report("s1", 0)) == [
            (0, 2, 2, "ok"),
            (2, 3, 1, "ok"),
            (3, 5, 2, "missing"),
            (5, 6, 1, "ok"),
        ]


def test_what_retention_has_deleted_is_expired(place: NatsPlace) -> None:
    with with_batches(place) as store:
        messages = place.messages()

        async def purge() -> None:
            wire = await connect(place.settings)
            await wire.api(f"STREAM.PURGE.{place.names.stream('s1')}", {"seq": messages[3].sequence})
            await wire.close()

        run(purge())
        assert states(store.report("s1", 0)) == [(0, 3, 3, "expired"), (3, 4, 1, "ok"), (4, 6, 2, "ok")]
        assert store.health().damaged_extents == 0


def test_a_report_goes_on_where_its_last_page_ended_with_any_gateway(place: NatsPlace) -> None:
    with with_batches(place) as store:
        other = place.new()
        other.open(lambda: None)
        whole = store.report("s1", 0).extents
        for number, extent in enumerate(whole):
            assert store.report("s1", extent.start).extents == whole[number:]
            assert other.report("s1", extent.start).extents == whole[number:]
        assert other.report("s1", 6 * SIZE).extents == ()
        other.close(DEADLINE_S)
