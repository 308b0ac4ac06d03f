"""What every store promises to its callers; each implementation runs all of these tests."""

import errno
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from logferry.protocol.messages.answers import BatchRefused, Position, WindowRecorded
from logferry.protocol.messages.features import read_store_id
from logferry.protocol.messages.repairs import DamagedExtent, RepairOutcome, StoredContent
from logferry.protocol.messages.reports import (
    Extent,
    LossPage,
    RecordedLoss,
    RecordedWindow,
    RecordPlace,
    losses_line,
    report_line,
)
from logferry.protocol.messages.requests import BatchRequest, Content, Losses, Note, Open, Repair, Skip, Window
from logferry.protocol.messages.writing import MAX_ANSWER_BYTES, MAX_OFFSET
from logferry.server.storage import loss_limits
from logferry.server.storage.deliveries import Delivery, ReleaseSources, SourceRequest
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.opening import DiskStoreSettings
from logferry.server.storage.log_names import NO_LOG
from logferry.server.storage.memory_store import MemoryRecords, MemoryStore
from logferry.server.storage.nats.wire import NoAnswer
from logferry.server.storage.owners import of_client
from logferry.server.storage.store import RecoveryReport, Store, StoreState
from tests.support.nats_stores import NatsPlace
from tests.support.running import DEADLINE_S, numbered_line, stored_lines, wait_until
from tests.support.stores import LINES, Stored, delivery, segments_of

REASON = "No space left on device"


class StoreUnderTest(Protocol):
    """One implementation: new stores in the same place, and what can happen to them."""

    def new(self) -> Store:
        """Return a store that is not open, with what the previous store kept."""

    def stall(self) -> None:
        """Make the store stall because of REASON."""

    def resume(self) -> None:
        """Let the store continue."""

    def fail(self) -> None:
        """Make the store fail for good, immediately or at the next delivery."""

    def lines(self) -> list[bytes]:
        """Return all stored lines, those of each log in order."""

    def damage(self) -> None:
        """Change a byte of the first line that is stored."""


class FaultyFileSystem(FileSystem):
    """Raises `error`, if set, instead of writing."""

    error: Exception | None = None

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
        if self.error:
            raise self.error
        return super().write(descriptor, pieces)


class OnDisk:
    """A disk store."""

    def __init__(self, data_dir: Path, durability: str) -> None:
        self._settings = DiskStoreSettings(
            data_dir=data_dir, durability=durability, segment_bytes=300, first_retry_s=0.001
        )
        self._files = FaultyFileSystem()

    def new(self) -> Store:
        return DiskStore(self._settings, file_system=self._files)

    def stall(self) -> None:
        self._files.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def resume(self) -> None:
        self._files.error = None

    def fail(self) -> None:
        self._files.error = RuntimeError("a bug")

    def lines(self) -> list[bytes]:
        return stored_lines(self._settings.data_dir)

    def damage(self) -> None:
        path = segments_of(self._settings.data_dir)[0]
        content = bytearray(path.read_bytes())
        content[12] ^= 1
        path.write_bytes(content)


class InMemory:
    """A store in memory."""

    def __init__(self) -> None:
        self._records = MemoryRecords()
        self._store = MemoryStore(records=self._records)

    def new(self) -> Store:
        self._store = MemoryStore(records=self._records)
        return self._store

    def stall(self) -> None:
        self._store.stall(REASON)

    def resume(self) -> None:
        self._store.resume()

    def fail(self) -> None:
        self._store.fail("a bug")

    def lines(self) -> list[bytes]:
        return b"".join(self._records.lines.values()).splitlines(keepends=True)

    def damage(self) -> None:
        next(iter(self._records.lines.values()))[12] ^= 1


class OnNats(NatsPlace):
    """A store on NATS JetStream, with one node."""

    def stall(self) -> None:
        self.faults.error = NoAnswer(REASON)

    def resume(self) -> None:
        self.faults.error = None

    def fail(self) -> None:
        self.faults.error = RuntimeError("a bug")

    def damage(self) -> None:
        first = self.messages()[0]
        self.faults.flipped.add((first.subject, first.sequence))


@pytest.fixture(params=["disk, fsync", "disk, os", "memory", "nats"])
def tested(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    kind, _, durability = request.param.partition(", ")
    if kind == "nats":
        return OnNats(request.getfixturevalue("nats_node"))
    return OnDisk(tmp_path / "data", durability) if kind == "disk" else InMemory()


@contextmanager
def opened(tested: StoreUnderTest, on_failure: Callable[[], None] = lambda: None) -> Iterator[Store]:
    store = tested.new()
    store.open(on_failure)
    try:
        yield store
    finally:
        tested.resume()
        store.close(DEADLINE_S)


Outcome = Position | BatchRefused | WindowRecorded


class Connection:
    """Submits the requests of one connection, and waits for each outcome."""

    def __init__(self, store: Store, number: int = 1, *, source: str = "s1", owner: str = "client-1") -> None:
        self.stored = Stored()
        self._store = store
        self._number = number
        self._source = source
        self._owner = owner

    def ask(self, message: Open | BatchRequest | Skip | Note | Window | ReleaseSources) -> Outcome | None:
        """Submit a request; return its outcome."""
        submitted = self.submit(message)
        wait_until(lambda: submitted in self.stored.deliveries, "the request has an outcome")
        assert submitted.source_request
        return submitted.source_request.outcome

    def submit(self, message: Open | BatchRequest | Skip | Note | Window | ReleaseSources) -> Delivery:
        """Submit a request, and do not wait for its outcome."""
        request = SourceRequest(message, self._number, of_client(self._owner), "web-1")
        lines, payload = (message.lines, message.payload) if isinstance(message, BatchRequest) else (0, b"")
        pieces = [payload] if payload else []
        submitted = Delivery(NO_LOG, pieces, lines, len(payload), source_request=request)
        self._store.submit(submitted, self.stored)
        return submitted

    def open(self, *, known: int = 0) -> Outcome | None:
        """Open the source."""
        return self.ask(Open(self._source, "/var/log/app.log", known))

    def send(self, *lines: bytes, start: int, refusal: str | None = None) -> Outcome | None:
        """Send a batch whose bytes in the source are its NDJSON."""
        return self.ask(batch(*lines, start=start, source=self._source, refusal=refusal))


def batch(*lines: bytes, start: int, source: str = "s1", refusal: str | None = None) -> BatchRequest:
    payload = b"".join(lines)
    end = start + len(payload)
    return BatchRequest(source, start, end, len(lines), zlib.crc32(payload), payload, refusal=refusal)


def position(*lines: bytes, is_answer_to_open: bool = False) -> Position:
    payload = b"".join(lines)
    return Position("s1", len(payload), len(lines), zlib.crc32(payload), is_answer_to_open)


SIZE = len(LINES[0])


def test_a_store_keeps_its_id_and_another_store_has_another(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        store_id = store.id
    with opened(tested) as store:
        assert store.id == store_id == read_store_id(store_id)
    assert MemoryStore().id != store_id


# --- what is stored, and in which order


def test_plain_lines_are_kept_and_reported_in_the_order_of_submitting(tested: StoreUnderTest) -> None:
    stored = Stored()
    with opened(tested) as store:
        submitted = [delivery(line) for line in LINES]
        for each in submitted:
            store.submit(each, stored)
        wait_until(lambda: len(stored.deliveries) == len(LINES), "all are stored")
        counters = store.health().counters
    assert stored.deliveries == submitted
    assert all(each.is_stored for each in submitted)
    assert tested.lines() == LINES
    assert (counters.lines_stored, counters.bytes_stored) == (len(LINES), sum(map(len, LINES)))


def test_what_was_submitted_before_the_close_is_stored(tested: StoreUnderTest) -> None:
    stored = Stored()
    store = tested.new()
    store.open(lambda: None)
    for line in LINES:
        store.submit(delivery(line), stored)
    assert store.close(DEADLINE_S) == 0
    assert stored.lines == tested.lines() == LINES
    assert store.health().state is StoreState.CLOSED


def test_an_empty_delivery_keeps_its_place_and_is_not_stored(tested: StoreUnderTest) -> None:
    stored = Stored()
    empty = delivery()
    with opened(tested) as store:
        for each in (delivery(LINES[0]), empty, delivery(LINES[1])):
            store.submit(each, stored)
        wait_until(lambda: len(stored.deliveries) == 3, "all have come back")
    assert stored.deliveries[1] is empty
    assert not empty.is_stored
    assert tested.lines() == LINES[:2]


def test_each_submitter_gets_the_reports_of_its_own_deliveries(tested: StoreUnderTest) -> None:
    one, other = Stored(), Stored()
    with opened(tested) as store:
        for first, second in zip(LINES[:50], LINES[50:], strict=True):
            store.submit(delivery(first), one)
            store.submit(delivery(second), other)
        wait_until(lambda: len(one.deliveries) + len(other.deliveries) == 100, "all are stored")
    assert (one.lines, other.lines) == (LINES[:50], LINES[50:])


def test_a_callback_may_submit_another_delivery(tested: StoreUnderTest) -> None:
    stored = Stored()
    with opened(tested) as store:
        store.submit(delivery(LINES[0]), lambda _: store.submit(delivery(LINES[1]), stored))
        wait_until(lambda: stored.deliveries, "the second one is stored")
    assert tested.lines() == LINES[:2]


# --- sources


def test_a_source_begins_at_nothing_and_moves_with_its_batches(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        assert store.positions(["s1"]) == []
        assert client.open() == position(is_answer_to_open=True)
        assert client.send(*LINES[:3], start=0) == position(*LINES[:3])
        assert client.send(*LINES[3:5], start=3 * SIZE) == position(*LINES[:5])
        assert store.positions(["s1"]) == [position(*LINES[:5])]
        assert store.positions(["s2"]) == []
        assert store.positions(["s2", "s1", "s3"]) == [position(*LINES[:5])]
    assert tested.lines() == LINES[:5]


def test_a_repeat_is_answered_with_the_position_and_not_stored_again(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.send(*LINES[:3], start=0)
        assert client.send(*LINES[:2], start=0) == position(*LINES[:3])
        assert not client.stored.deliveries[-1].is_stored
        assert store.health().counters.repeats == 1
    assert tested.lines() == LINES[:3]


def test_a_batch_that_does_not_begin_where_its_source_ends_is_refused_with_the_position(
    tested: StoreUnderTest,
) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.send(LINES[0], start=0)
        outcome = client.send(LINES[2], start=2 * SIZE)
        assert isinstance(outcome, BatchRefused)
        assert (outcome.committed, outcome.is_final) == (SIZE, False)
    assert tested.lines() == LINES[:1]


def test_a_batch_with_an_unacceptable_line_is_refused_for_good(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        assert client.send(LINES[0], start=0, refusal="too long") == BatchRefused("s1", 0, "too long", is_final=True)
    assert tested.lines() == []


def test_the_connection_that_opened_a_source_last_owns_it(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        first, second = Connection(store, 1), Connection(store, 2)
        first.open()
        first.send(LINES[0], start=0)
        assert second.open(known=SIZE) == position(LINES[0], is_answer_to_open=True)
        assert isinstance(first.send(LINES[1], start=SIZE), BatchRefused)
        assert second.send(LINES[2], start=SIZE) == position(LINES[0], LINES[2])
    assert tested.lines() == [LINES[0], LINES[2]]


def test_a_connection_that_released_a_source_cannot_send_batches_of_it(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.ask(ReleaseSources(("s1",)))
        assert isinstance(client.send(LINES[0], start=0), BatchRefused)
    assert tested.lines() == []


def test_a_skip_moves_the_source_and_losses_are_reported_once(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        assert client.ask(Skip("s1", 0, 10, "cut")) == Position("s1", 10, 0, 0, False)
        for _ in range(2):
            client.ask(Note("s1", 2, 4, "truncated"))
        assert store.report("s1", 0).losses == (RecordedLoss(0, 10, "cut"), RecordedLoss(2, 4, "truncated"))


def test_a_note_ahead_of_a_batch_that_is_refused_is_no_loss(tested: StoreUnderTest) -> None:
    """Rules E10 and E13: the batch comes again, with its note."""
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.ask(Note("s1", SIZE, 2 * SIZE, "cut"))
        assert isinstance(client.send(LINES[1], start=SIZE), BatchRefused)
        assert store.report("s1", 0).losses == ()
        client.send(LINES[0], start=0)
        client.ask(Note("s1", SIZE, 2 * SIZE, "cut"))
        client.send(LINES[1], start=SIZE)
        assert store.report("s1", 0).losses == (RecordedLoss(SIZE, 2 * SIZE, "cut"),)


@pytest.mark.parametrize("end", [10**15, 2**63 - 1])
def test_a_source_that_was_moved_as_far_as_it_goes_is_told_as_lost_and_moves_no_more(
    tested: StoreUnderTest, end: int
) -> None:
    """Rule E12: only its owner can do that."""
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        assert client.ask(Skip("s1", 0, end, "gone")) == Position("s1", end, 0, 0, False)
        assert client.send(LINES[0], start=0) == Position("s1", end, 0, 0, False)
        assert store.report("s1", 0).lost == [RecordedLoss(0, end, "gone")]
    assert tested.lines() == []
    with opened(tested) as store:
        assert Connection(store).open() == Position("s1", end, 0, 0, True)


def test_a_source_is_closed_to_all_but_its_owner(tested: StoreUnderTest) -> None:
    """Rule E36: the owner's connection notices nothing of the attempts of others."""
    with opened(tested) as store:
        client, other = Connection(store), Connection(store, 2, owner="client-2")
        assert store.owners_of(["s1"]) == {}
        client.open()
        client.send(LINES[0], start=0)
        for message in (Open("s1", "/x"), Skip("s1", SIZE, 2 * SIZE, "x"), Window("s1", 0, 1, 2, "x")):
            assert isinstance(other.ask(message), BatchRefused)
        other.ask(Note("s1", 0, SIZE, "x"))
        other.ask(ReleaseSources(("s1",)))
        assert isinstance(other.send(LINES[5], start=SIZE), BatchRefused)
        assert client.send(LINES[1], start=SIZE) == position(*LINES[:2])
        assert (store.owners_of(["s1"]), store.report("s1", 0).losses) == ({"s1": "client-1"}, ())
    with opened(tested) as store:
        assert isinstance(Connection(store, owner="client-2").open(), BatchRefused)
        assert Connection(store).open() == position(*LINES[:2], is_answer_to_open=True)
    assert tested.lines() == LINES[:2]


def test_a_source_without_an_owner_is_adopted_by_the_next_who_opens_it(tested: StoreUnderTest) -> None:
    """Rule E36."""
    with opened(tested) as store:
        Connection(store, owner="").open()
        assert store.owners_of(["s1"]) == {"s1": ""}
    for owner, is_refused in (("client-2", False), ("client-1", True), ("client-2", False)):
        with opened(tested) as store:
            assert isinstance(Connection(store, owner=owner).open(), BatchRefused) is is_refused
            assert store.owners_of(["s1"]) == {"s1": "client-2"}


def test_a_window_is_recorded_once_and_moves_nothing(tested: StoreUnderTest) -> None:
    """Rule E27."""
    window = Window("s1", 10, 1_768_464_520_000, 1_768_464_590_000, "it is gone")
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.ask(Skip("s1", 0, 10, "cut"))
        assert [client.ask(window) for _ in range(2)] == [WindowRecorded("s1")] * 2
        report = store.report("s1", 0)
        assert report.windows == (RecordedWindow(10, window.last_look, window.noticed, "it is gone"),)
        assert (report.committed, report.lost) == (10, [RecordedLoss(0, 10, "cut")])
    paths = [delivery.source_request and delivery.source_request.path for delivery in client.stored.deliveries]
    assert paths == [None, "/var/log/app.log", "/var/log/app.log", None]


def test_a_window_of_a_source_that_another_connection_has_opened_is_refused(tested: StoreUnderTest) -> None:
    """Rules E5 and E27."""
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        Connection(store, 2).open()
        assert isinstance(client.ask(Window("s1", 0, 1, 2, "it is gone")), BatchRefused)
        assert store.report("s1", 0).windows == ()


def test_a_skip_of_what_nobody_asked_for_is_no_loss(tested: StoreUnderTest) -> None:
    """Rule E28."""
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.ask(Skip("s1", 0, 10, "not asked for", lost=False))
        client.ask(Skip("s1", 10, 20, "cut"))
        report = store.report("s1", 0)
    assert report.losses == (RecordedLoss(0, 10, "not asked for"), RecordedLoss(10, 20, "cut"))
    assert report.skipped == ((0, 10),)
    assert report.lost == [RecordedLoss(10, 20, "cut")]


def test_only_the_request_that_recorded_a_loss_names_the_path_of_the_source(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        for message in (
            Skip("s1", 0, 10, "cut"),
            Skip("s1", 0, 10, "cut"),
            Note("s1", 2, 4, "x"),
            Note("s1", 2, 4, "x"),
        ):
            client.ask(message)
        client.send(LINES[0], start=10)
    requests = [delivery.source_request for delivery in client.stored.deliveries]
    paths = [request and request.path for request in requests]
    assert paths == [None, "/var/log/app.log", None, "/var/log/app.log", None, None]


@pytest.mark.parametrize("in_groups", [True, False])
def test_beyond_a_limit_the_losses_of_a_source_are_recorded_together(
    tested: StoreUnderTest, in_groups: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_limits, "MAX_LOSSES", 3)
    monkeypatch.setattr(loss_limits, "MAX_WINDOWS", 2)
    messages: list[Note | Skip | Window] = [
        *(Note("s1", 0, number, "x") for number in (5, 6, 7, 8, 6, 9)),
        Skip("s1", 0, 40, "gone"),
        *(Window("s1", start, start + 100, start + 200, "y") for start in (1, 5, 3, 9)),
    ]
    with opened(tested) as store:
        client, other = Connection(store), Connection(store, 2, source="s2")
        client.open()
        other.open()
        for message in messages:
            (client.submit if in_groups else client.ask)(message)
        client.ask(Open("s1", "/var/log/app.log"))
        other.ask(Note("s2", 0, 1, "x"))
        page, other_page = store.report("s1", 0), store.report("s2", 0)
    kept = [RecordedLoss(0, end, "x") for end in (5, 6, 7)]
    assert sorted(page.losses) == [*kept, RecordedLoss(0, 40, loss_limits.REASON)]
    assert sorted(page.windows) == [
        RecordedWindow(1, 101, 201, "y"),
        RecordedWindow(3, 103, 209, loss_limits.WINDOW_REASON),
        RecordedWindow(5, 105, 205, "y"),
    ]
    assert page.committed == 40
    assert other_page.losses == (RecordedLoss(0, 1, "x"),)


def test_a_source_is_continued_by_the_next_store_of_the_same_place(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.send(*LINES[:3], start=0)
    store = tested.new()
    assert store.open(lambda: None) == RecoveryReport(segments=1)
    client = Connection(store)
    assert client.open() == position(*LINES[:3], is_answer_to_open=True)
    assert client.send(LINES[3], start=3 * SIZE) == position(*LINES[:4])
    store.close(DEADLINE_S)
    assert tested.lines() == LINES[:4]


# --- reports


def test_a_report_has_the_extents_of_a_source_with_their_states(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.send(*LINES[:2], start=0)
        client.ask(Skip("s1", 2 * SIZE, 3 * SIZE, "cut"))
        client.send(LINES[3], start=3 * SIZE)
        page = store.report("s1", 0)
    kept = b"".join([*LINES[:2], LINES[3]])
    assert (page.is_known, page.committed, page.lines, page.crc32) == (True, 4 * SIZE, 3, zlib.crc32(kept))
    segment = page.extents[0].segment
    assert page.extents == (
        Extent(0, 2 * SIZE, 2, zlib.crc32(b"".join(LINES[:2])), "ok", segment),
        Extent(3 * SIZE, 4 * SIZE, 1, zlib.crc32(LINES[3]), "ok", segment),
    )
    assert not page.has_more


def test_a_report_of_an_unknown_source_says_that_it_is_unknown(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        assert not store.report("s1", 0).is_known


def test_the_pages_of_a_report_have_every_extent_once(tested: StoreUnderTest) -> None:
    lines = [numbered_line(1000 + number) for number in range(250)]
    size = len(lines[0])
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        starts = range(0, 2 * size * len(lines), 2 * size)  # with a gap after each, so that none is joined
        for start, line in zip(starts, lines, strict=True):
            client.submit(batch(line, start=start))
            client.submit(Skip("s1", start + size, start + 2 * size, "cut"))
        client.open()
        first = store.report("s1", 0)
        second = store.report("s1", first.extents[-1].end)
    assert (first.has_more, second.has_more) == (True, False)
    assert [extent.start for extent in (*first.extents, *second.extents)] == list(starts)


def test_e34_the_pages_of_losses_have_every_loss_and_window_once_however_many_skips_come_before_them(
    tested: StoreUnderTest,
) -> None:
    """Rule E34."""
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        for start in range(210):
            client.submit(Skip("s1", start, start + 1, "not asked for", lost=False))
        client.ask(Skip("s1", 210, 211, "cut"))
        for reason in ("truncated", "redacted"):
            client.ask(Note("s1", 3, 5, reason))
        client.ask(Window("s1", 211, 1, 2, "it is gone"))
        client.ask(Window("s1", 211, 1, 3, "it is gone again"))
        pages = list(loss_pages(store))
        assert store.report("s1", 0).lost == [
            *(RecordedLoss(3, 5, reason) for reason in ("redacted", "truncated")),
            RecordedLoss(210, 211, "cut"),
        ]
    lost = [loss for page in pages for loss in page.lost]
    assert lost == [
        *(RecordedLoss(3, 5, reason) for reason in ("truncated", "redacted")),
        RecordedLoss(210, 211, "cut"),
    ]
    assert [loss.start for page in pages for loss in page.skipped] == list(range(210))
    assert [window.noticed for page in pages for window in page.windows] == [2, 3]
    assert len(pages) == 2


def test_e34_no_page_is_longer_than_a_client_accepts(tested: StoreUnderTest) -> None:
    """Rule E34: reasons are texts of other people, and a character may take twelve bytes of JSON."""
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        for number in range(220):
            client.submit(Note("s1", 0, number, 200 * "\U0001f600"))
            client.submit(Window("s1", 0, 0, MAX_OFFSET - number, 200 * "\U0001f600"))
        client.ask(Open("s1", "/var/log/app.log"))
        pages = list(loss_pages(store))
        assert len(report_line(store.report("s1", 0))) < MAX_ANSWER_BYTES
    assert sum(len(page.lost) for page in pages) == sum(len(page.windows) for page in pages) == 220
    assert max(len(losses_line(page)) for page in pages) < MAX_ANSWER_BYTES / 2


def loss_pages(store: Store) -> Iterator[LossPage]:
    place: RecordPlace | None = RecordPlace()
    while place is not None:
        page = store.losses(Losses("s1", place))
        assert page.next is None or page.next > place
        yield page
        place = page.next


# --- what can happen to a store


def test_a_store_that_is_stalled_says_why_reports_nothing_and_loses_nothing(tested: StoreUnderTest) -> None:
    stored = Stored()
    with opened(tested) as store:
        tested.stall()
        for line in LINES[:10]:
            store.submit(delivery(line), stored)
        wait_until(lambda: store.health().state is StoreState.STALLED, "the store is stalled")
        assert REASON in store.health().reason
        assert stored.deliveries == []
        tested.resume()
        wait_until(lambda: len(stored.deliveries) == 10, "all are stored")
        assert (store.health().state, store.health().reason) == (StoreState.STORING, "")
    assert stored.lines == tested.lines() == LINES[:10]


def test_a_store_that_is_closed_while_it_is_stalled_counts_what_it_did_not_store(tested: StoreUnderTest) -> None:
    stored = Stored()
    with opened(tested) as store:
        tested.stall()
        for line in LINES[:10]:
            store.submit(delivery(line), stored)
        assert store.close(0.01) == 10
        assert store.close(0.01) == 0
        assert store.health().state is StoreState.CLOSED
    assert stored.lines == tested.lines() == []


def test_positions_and_reports_can_be_had_while_a_store_is_stalled(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.send(LINES[0], start=0)
        tested.stall()
        store.submit(delivery(LINES[1]), Stored())
        wait_until(lambda: store.health().state is StoreState.STALLED, "the store is stalled")
        assert store.positions(["s1"]) == [position(LINES[0])]
        assert store.report("s1", 0).lines == 1


def test_a_store_that_fails_for_good_reports_that_once_and_stores_nothing_more(tested: StoreUnderTest) -> None:
    failures: list[str] = []
    stored = Stored()
    with opened(tested, lambda: failures.append("failed")) as store:
        tested.fail()
        store.submit(delivery(LINES[0]), stored)
        wait_until(lambda: failures, "the failure is reported")
        store.submit(delivery(LINES[1]), stored)
        assert store.health().state is StoreState.FAILED
        assert store.health().reason
        assert store.close(DEADLINE_S) == 2
    assert failures == ["failed"]
    assert stored.lines == tested.lines() == []
    assert store.health().state is StoreState.CLOSED


def test_a_store_is_new_until_it_is_opened(tested: StoreUnderTest) -> None:
    store = tested.new()
    assert store.health().state is StoreState.NEW
    assert store.close(0) == 0


# --- damage


def repair_of(*lines: bytes, start: int = 0, **changes: object) -> Repair:
    """Return a repair of an extent whose bytes in the source are its NDJSON."""
    payload = b"".join(lines)
    return replace(
        Repair("s1", start, start + len(payload), len(lines), zlib.crc32(payload), payload),
        **changes,  # type: ignore[arg-type]
    )


def test_a_damaged_extent_is_reported_listed_and_repaired_by_the_lines_that_were_stored(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.send(*LINES[:3], start=0)
        tested.damage()
        assert [extent.state for extent in store.report("s1", 0).extents] == ["altered"]
        (extent,) = store.damaged("s1", 0).extents
        assert extent == DamagedExtent(0, 3 * SIZE, 3, zlib.crc32(b"".join(LINES[:3])))
        assert store.damaged_sources("client-1") == ["s1"]
        assert store.damaged_sources("client-2") == []
        assert store.repair(repair_of(*LINES[:3])) == RepairOutcome("s1", 0, True)
        assert [extent.state for extent in store.report("s1", 0).extents] == ["ok"]
        assert store.damaged("s1", 0).extents == ()
        assert store.health().counters.extents_repaired == 1
    assert tested.lines() == LINES[:3]


@pytest.mark.parametrize(
    "repair",
    [
        repair_of(*LINES[:2]),
        repair_of(*LINES[1:4]),
        repair_of(*LINES[:3], start=SIZE),
        repair_of(*LINES[:3], source="s2"),
        repair_of(*LINES[:3], lines=4),
        repair_of(*LINES[:3], end=4 * SIZE),
    ],
    ids=["shorter", "other lines", "another start", "another source", "another number of lines", "another end"],
)
def test_a_repair_with_anything_else_than_what_was_stored_is_refused_and_changes_nothing(
    tested: StoreUnderTest, repair: Repair
) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.send(*LINES[:3], start=0)
        tested.damage()
        before = tested.lines()
        outcome = store.repair(repair)
        assert not outcome.is_whole
        assert outcome.reason
        assert tested.lines() == before


def test_a_repair_of_an_extent_that_is_whole_changes_nothing(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.send(*LINES[:3], start=0)
        assert store.repair(repair_of(*LINES[:3])) == RepairOutcome("s1", 0, True, "it was not damaged")
        assert store.health().counters.extents_repaired == 0
    assert tested.lines() == LINES[:3]


def test_the_content_of_an_extent_is_what_is_stored_now(tested: StoreUnderTest) -> None:
    with opened(tested) as store:
        client = Connection(store)
        client.open()
        client.send(*LINES[:3], start=0)
        tested.damage()
        now = b"".join(tested.lines())
        assert store.content(Content("s1", 0, 5, 10)) == StoredContent("s1", 0, 5, now[5:15])
        assert store.content(Content("s1", 0, 0, 10**9)).data == now
        assert store.content(Content("s1", 0, len(now), 10)).data == b""
        assert store.content(Content("s1", 1, 0, 10)).data == b""
        assert store.content(Content("s2", 0, 0, 10)).data == b""
