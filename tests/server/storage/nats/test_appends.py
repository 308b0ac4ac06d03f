"""Appends under conditions: lost acks, gateways that race for a source, and a gateway that ends halfway."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from logferry.protocol.messages.answers import BatchRefused, Position
from logferry.protocol.messages.reports import RecordedLoss
from logferry.protocol.messages.requests import Open, Skip
from logferry.server.storage.nats.nats_store import NatsStore
from logferry.server.storage.nats.sources import link_of
from logferry.server.storage.nats.wire import NoAnswer, Refused
from logferry.server.storage.owners import of_identity
from logferry.server.storage.store import StoreState
from tests.support.nats_servers import NatsCluster
from tests.support.nats_stores import NatsPlace
from tests.support.running import DEADLINE_S, numbered_line, wait_until
from tests.support.store_client import StoreClient, batch, position
from tests.support.stores import LINES, Stored, delivery

SIZE = len(LINES[0])


@pytest.fixture
def place(nats_node: NatsCluster) -> NatsPlace:
    return NatsPlace(nats_node)


@contextmanager
def opened(place: NatsPlace) -> Iterator[NatsStore]:
    store = place.new()
    store.open(lambda: None)
    try:
        yield store
    finally:
        place.faults.error = None
        store.close(DEADLINE_S)


def test_what_was_appended_although_nobody_answered_is_not_appended_again(place: NatsPlace) -> None:
    with opened(place) as store:
        client = StoreClient(store)
        client.open()
        for number in range(0, 10, 2):
            place.faults.lost_acks = [NoAnswer("no answer")]
            expected = position(*LINES[: number + 2])
            assert client.send(*LINES[number : number + 2], start=number * SIZE) == expected
            assert client.stored.deliveries[-1].is_stored
        assert store.health().counters.lines_stored == 10
    assert place.lines() == LINES[:10]
    assert len(place.messages()) == 5


def test_plain_lines_that_were_appended_although_nobody_answered_are_not_appended_again(place: NatsPlace) -> None:
    stored = Stored()
    with opened(place) as store:
        for number in range(5):
            place.faults.lost_acks = [NoAnswer("no answer")]
            store.submit(delivery(LINES[number]), stored)
            wait_until(lambda number=number: len(stored.deliveries) == number + 1, "it is stored")  # type: ignore[misc]
    assert place.lines() == LINES[:5]


def test_a_refusal_that_was_none_is_judged_again(place: NatsPlace) -> None:
    with opened(place) as store:
        client = StoreClient(store)
        client.open()
        place.faults.lost_acks = [Refused(10164, "wrong last sequence"), Refused(10071, "wrong last sequence: 7")]
        assert client.send(LINES[0], start=0) == position(LINES[0])
    assert place.lines() == LINES[:1]


def test_of_two_gateways_one_appends_and_the_other_answers_with_the_position(place: NatsPlace) -> None:
    with opened(place) as one, opened(place) as other:
        first, second = StoreClient(one), StoreClient(other, 2)
        first.open()
        second.open()
        assert first.send(LINES[0], start=0) == position(LINES[0])
        assert second.send(LINES[0], start=0) == position(LINES[0])  # the same: a repeat
        assert not second.stored.deliveries[-1].is_stored
        assert second.send(LINES[1], start=SIZE) == position(*LINES[:2])
        refused = first.send(LINES[2], LINES[3], start=SIZE)
        assert isinstance(refused, BatchRefused)
        assert (refused.committed, refused.is_final) == (2 * SIZE, False)
    assert place.lines() == LINES[:2]


def test_gateways_that_race_store_every_line_once(place: NatsPlace) -> None:
    """Each client sends the same lines in batches of its own size; whatever is refused, it sends from the position."""
    lines = [numbered_line(1000 + number) for number in range(60)]
    size = len(lines[0])

    def send_all(store: NatsStore, number: int, step: int) -> None:
        client = StoreClient(store, number)
        client.open()
        at = 0
        while at < len(lines):
            outcome = client.send(*lines[at : at + step], start=at * size)
            assert isinstance(outcome, Position | BatchRefused)
            at = outcome.committed // size

    with ExitStack() as stack:
        stores = [stack.enter_context(opened(place)) for _ in range(3)]
        threads = [
            threading.Thread(target=send_all, args=(store, number, 1 + 2 * number))
            for number, store in enumerate(stores)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
    assert place.lines() == lines


def test_batches_that_wait_are_joined_except_where_an_event_is_split(place: NatsPlace) -> None:
    with opened(place) as store:
        client = StoreClient(store)
        client.open()
        place.faults.error = NoAnswer("no quorum")
        client.submit(batch(LINES[0], start=0))
        wait_until(lambda: store.health().state is StoreState.STALLED, "the store is stalled")
        for number in range(1, 10):
            last = client.submit(batch(LINES[number], start=number * SIZE, split=number == 6))
        place.faults.error = None
        assert client.outcome(last) == position(*LINES[:10])
    links = [link_of(message) for message in place.messages()]
    assert [(link.start // SIZE, link.end // SIZE, link.lines, link.split) for link in links] == [
        (0, 1, 1, False),
        (1, 6, 5, False),
        (6, 10, 4, True),
    ]


def test_the_loss_of_a_skip_is_recorded_by_the_next_gateway_if_its_own_ended_in_between(place: NatsPlace) -> None:
    with opened(place) as store:
        client = StoreClient(store)
        client.open()
        client.send(LINES[0], start=0)
        place.faults.errors_of_losses = NoAnswer("the gateway ends")
        client.submit(Skip("s1", SIZE, SIZE + 10, "cut"))
        wait_until(lambda: store.health().state is StoreState.STALLED, "the loss is not recorded")
        store.close(0)
    place.faults.errors_of_losses = None
    with opened(place) as store:
        client = StoreClient(store, 2)
        opened_at = client.open(known=SIZE)
        assert isinstance(opened_at, Position)
        assert opened_at.committed == SIZE + 10
        for _ in range(2):
            assert store.report("s1", 0).losses == (RecordedLoss(SIZE, SIZE + 10, "cut"),)
            client.send(LINES[1], start=SIZE + 10)


def test_a_stall_names_the_stream_and_ends(place: NatsPlace, caplog: pytest.LogCaptureFixture) -> None:
    with opened(place) as store, caplog.at_level("INFO"):
        client = StoreClient(store)
        client.open()
        place.faults.error = Refused(10077, "maximum bytes exceeded")
        submitted = client.submit(batch(*LINES[:3], start=0))
        wait_until(lambda: store.health().state is StoreState.STALLED, "the store is stalled")
        stream = place.names.stream("s1")
        assert store.health().reason == f"{stream}: maximum bytes exceeded"
        place.faults.error = None
        assert client.outcome(submitted) == position(*LINES[:3])
        wait_until(lambda: store.health().state is StoreState.STORING, "the store stores again")
    assert (
        f"cannot store in {stream}: maximum bytes exceeded: holding back acks and trying again; 3 lines" in caplog.text
    )
    assert f"storing in {stream} again" in caplog.text


def test_a_source_that_waits_keeps_no_other_sender_waiting(place: NatsPlace) -> None:
    with opened(place) as store:
        one, other = StoreClient(store), StoreClient(store, 2, source="s2")
        one.open()
        other.open()
        place.faults.errors_of = {place.names.lines("s1"): NoAnswer("no quorum")}
        waiting = one.submit(batch(LINES[0], start=0))
        for number in range(3):
            payload = LINES[number]
            assert other.send(payload, start=number * SIZE) == position(*LINES[: number + 1], source="s2")
        assert waiting not in one.stored.deliveries
        place.faults.errors_of = {}
        assert one.outcome(waiting) == position(LINES[0])


def test_a_stream_that_is_stalled_is_tried_by_a_few_and_goes_on_with_all(place: NatsPlace) -> None:
    with opened(place) as store:
        sources = [source for source in map(str, range(100)) if place.names.shard(source) == 0]
        client = StoreClient(store)
        for source in sources:
            client.submit(Open(source, "/var/log/app.log", 0))
        wait_until(lambda: len(client.stored.deliveries) == len(sources), "all are open")
        place.faults.error = NoAnswer("no quorum")
        for source in sources:
            client.submit(batch(LINES[0], start=0, source=source))
        wait_until(lambda: store.health().state is StoreState.STALLED, "the stream is stalled")
        stalls = store._now_open.appends._stalls
        stream = place.names.streams[0]
        wait_until(lambda: len(stalls._waiting.get(stream, ())) >= len(sources) - 4, "most wait")
        place.faults.error = None
        wait_until(lambda: len(client.stored.deliveries) == 2 * len(sources), "all are stored")
        assert store.health().state is StoreState.STORING
    assert len(place.lines()) == len(sources)


def test_identities_have_sources_of_their_own_even_with_the_same_id(place: NatsPlace) -> None:
    """Rule E37."""
    owners = [of_identity(name, "client-1") for name in ("web", "db.eu/1 *>")]
    for _ in range(2):
        with opened(place) as store:
            clients = [StoreClient(store, number, owner=owner) for number, owner in enumerate(owners)]
            for client in clients:
                client.open()
            for number, client in enumerate(clients):
                assert client.send(LINES[number], start=0) == position(LINES[number])
            recorded = {"s1": "@web", "@db.eu/1 *>/s1": "@db.eu/1 *>"}
            assert store.owners_of(list(recorded)) == recorded
    assert sorted(place.lines()) == sorted(LINES[:2])


def test_a_hostile_last_message_stops_its_source_and_no_other(place: NatsPlace) -> None:
    with opened(place) as store:
        client, other = StoreClient(store), StoreClient(store, 2, source="s2")
        client.open()
        client.send(LINES[0], start=0)
        place.publish(place.names.lines("s1"), b"x\n", {"Lf-V": "1", "Lf-Kind": "batch"}, after=1)
        waiting = StoreClient(store, 3)
        waiting.submit(batch(LINES[1], start=SIZE))
        client.submit(batch(LINES[1], start=SIZE))
        wait_until(lambda: store.health().state is StoreState.STALLED, "the store is stalled")
        assert "Lf-Start" in store.health().reason
        other.open()
        assert other.send(LINES[5], start=0) == position(LINES[5], source="s2")
        store.close(0)
