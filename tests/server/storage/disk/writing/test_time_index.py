"""When the entries of the time index are due, what they say, and how much room they take."""

from collections.abc import Iterable, Sequence
from random import Random

import pytest

from logferry.model.event_times import LOCAL, NO_TIMES, NONE, UNREAD, UNREAD_TIMES, ZONED, EventTimes
from logferry.reading.times.time_index import indexed_ranges, range_at
from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry, unpacked
from logferry.server.storage.disk.writing.time_index import (
    AT_LEAST_MS,
    EACH_SECOND_AT_BYTES,
    MAX_ROW_BYTES,
    TimeIndex,
)
from logferry.server.storage.log_names import LogName
from logferry.server.storage.records import Placement

NOON = 1_705_320_000_000
KIB = 1024
MIB = 1024 * KIB


class Segment:
    """One segment, its rows of the index, and the clock."""

    def __init__(self, number: int = 1, index: TimeIndex | None = None) -> None:
        self.number = number
        self.now = NOON
        self.index = index or TimeIndex(now_ms=lambda: self.now)
        self.size = 0
        self.rows: dict[int, bytes] = {}

    def receive(self, *sizes: int, after_ms: int = 0, times: EventTimes = UNREAD_TIMES, closed: bool = False) -> None:
        """Append deliveries of these sizes in one group."""
        self.now += after_ms
        deliveries, placements = [], []
        for size in sizes:
            deliveries.append(Delivery(LogName("h", "l"), [b""], 1, size, times=times))
            placements.append(Placement(self.number, self.size))
            self.size += size
        self.record(self.index.add(deliveries, placements, [self.number] if closed else []))

    def record(self, rows: Iterable[tuple[int, int, bytes]]) -> None:
        """Do as the ledger does."""
        for number, first, data in rows:
            if number == self.number:
                self.rows[first] = data

    @property
    def entries(self) -> list[TimeEntry]:
        """What was recorded, without the beginnings of rows."""
        return [entry for first, data in sorted(self.rows.items()) for entry in unpacked(first, data)[1:]]

    @property
    def places(self) -> list[tuple[int, int]]:
        """Positions and times of receipt."""
        return [(entry.position, entry.received - NOON) for entry in self.entries]


def test_an_entry_is_made_for_each_mib() -> None:
    segment = Segment()
    segment.receive(MIB, 600 * KIB, 600 * KIB, 100)
    assert segment.places == [(MIB, 0), (MIB + 1200 * KIB, 0)]


def test_an_entry_is_made_with_the_first_delivery_of_a_second_once_there_is_enough() -> None:
    segment = Segment()
    segment.receive(2000)
    segment.receive(EACH_SECOND_AT_BYTES)
    segment.receive(100, after_ms=999)
    assert segment.places == [(2000, 0)]
    segment.receive(100, after_ms=1)
    segment.receive(EACH_SECOND_AT_BYTES - 1, after_ms=1000)
    assert segment.places == [(2000, 0), (2000 + EACH_SECOND_AT_BYTES + 200, 1000)]


def test_the_first_lines_of_a_segment_have_an_entry_as_soon_as_it_has_room() -> None:
    segment = Segment()
    segment.receive(2000)
    assert segment.places == [(2000, 0)]
    segment = Segment()
    for step in range(9):
        segment.receive(100, after_ms=step)
    size, received = segment.places[0]
    assert len(segment.places) == 1
    assert 300 < size < 900
    assert received > 0


def test_entries_are_made_before_the_first_delivery_after_half_a_minute_and_with_it_if_they_have_room() -> None:
    segment = Segment()
    segment.receive(2000)
    segment.receive(2000, after_ms=AT_LEAST_MS - 1)
    assert segment.places == [(2000, 0)]
    segment.receive(100, after_ms=1)
    segment.receive(100, after_ms=AT_LEAST_MS)
    segment.receive(100, after_ms=AT_LEAST_MS)
    assert segment.places[1:] == [
        *((4000, AT_LEAST_MS - 1), (4100, AT_LEAST_MS)),
        *((4200, 2 * AT_LEAST_MS), (4300, 3 * AT_LEAST_MS)),
    ]
    segment = Segment()
    segment.receive(100)
    segment.receive(100, after_ms=AT_LEAST_MS)
    assert segment.places == []


def test_the_end_of_a_closed_segment_has_an_entry_of_when_its_last_lines_came() -> None:
    segment = Segment()
    segment.receive(5000)
    segment.receive(1000)
    segment.now += 3_600_000
    segment.record(segment.index.close([segment.number]))
    assert segment.places == [(5000, 0), (6000, 0)]
    assert list(segment.index.close_all()) == []


def test_a_segment_that_a_group_closes_has_an_entry_at_its_end() -> None:
    segment = Segment()
    segment.receive(5000)
    segment.receive(1000, closed=True)
    assert segment.places == [(5000, 0), (6000, 0)]


def test_the_end_of_a_store_is_that_of_its_segments() -> None:
    segment = Segment()
    segment.receive(5000)
    segment.receive(1000)
    segment.record(segment.index.close_all())
    assert segment.places == [(5000, 0), (6000, 0)]


def test_entries_have_the_times_of_all_lines_since_the_last() -> None:
    segment = Segment()
    segment.receive(2000)
    segment.receive(600 * KIB, times=(LOCAL, NOON - 9, NOON - 5))
    segment.receive(600 * KIB, times=(LOCAL | NONE, NOON - 7, NOON + 3))
    segment.receive(MIB, times=(ZONED, NOON - 2**40, NOON + 2**40))
    segment.receive(MIB, times=(NONE, *NO_TIMES[1:]))
    segment.receive(600 * KIB, times=(LOCAL, NOON, NOON))
    segment.receive(600 * KIB, times=(ZONED, NOON, NOON))
    segment.receive(MIB, times=UNREAD_TIMES)
    segment.receive(MIB, times=(LOCAL, NOON, NOON))
    assert [entry.times for entry in segment.entries[1:]] == [
        (LOCAL | NONE, NOON - 9, NOON + 3),
        (ZONED, NOON - 2**40, NOON + 2**40),
        (NONE, *NO_TIMES[1:]),
        (LOCAL | ZONED, *NO_TIMES[1:]),
        (UNREAD, *NO_TIMES[1:]),
        (LOCAL, NOON, NOON),
    ]


def test_rows_stay_small_and_each_is_read_by_itself() -> None:
    segment = Segment()
    for _ in range(200):
        segment.receive(MIB, after_ms=1000, times=(LOCAL, segment.now - 5000, segment.now))
    assert len(segment.entries) == 200
    assert 1 < len(segment.rows) < 20
    assert max(map(len, segment.rows.values())) <= MAX_ROW_BYTES
    assert {entry.times[2] - entry.times[1] for entry in segment.entries} == {5000}


def test_a_clock_that_is_set_back_leaves_positions_in_order() -> None:
    segment = Segment()
    for step in (0, 1000, -3_600_000, 1000, 1000):
        segment.receive(100 * KIB, after_ms=step)
    assert [received for _, received in segment.places] == [0, 1000, -3_599_000, -3_598_000, -3_597_000]
    positions = [position for position, _ in segment.places]
    assert positions == sorted(set(positions))


@pytest.mark.parametrize("size", [30, KIB, 100 * KIB, MIB])
def test_lines_that_came_while_the_clock_was_set_back_are_between_two_entries(size: int) -> None:
    """Also where there is no room for an entry when the clock changes."""
    segment, random, received = Segment(), Random(size), []
    for _ in range(300):
        segment.receive(size, size, after_ms=random.choice([0, 7, 900, 40_000, -300, -5_000, -50_000]))
        received.append((segment.size - size, segment.now))
    segment.record(segment.index.close_all())
    entries = [entry for first, data in sorted(segment.rows.items()) for entry in unpacked(first, data)]
    ranges = indexed_ranges(segment.size, entries)
    for position, now in received:
        found = range_at(ranges, position)
        assert found.received_from is None or found.received_from <= now
        assert found.received_to is None or found.received_to >= now
    assert segment.size >= 50 * sum(map(len, segment.rows.values()))


def test_after_a_restart_a_new_row_begins_where_the_lines_do() -> None:
    segment = Segment()
    segment.receive(MIB)
    segment.index = TimeIndex(now_ms=lambda: segment.now)
    segment.receive(MIB, after_ms=1000)
    assert segment.places == [(MIB, 0), (2 * MIB, 1000)]
    assert list(segment.rows) == [0, MIB]


def test_only_some_segments_are_remembered_and_the_others_end_with_an_entry() -> None:
    index = TimeIndex(now_ms=lambda: NOON, max_segments=2)
    segments = [Segment(number, index) for number in range(4)]
    rows = list[tuple[int, int, bytes]]()
    for segment in segments:
        for position, size in ((0, 5000), (5000, 1000)):
            placement = Placement(segment.number, position)
            rows += index.add([Delivery(LogName("h", "l"), [b""], 1, size)], [placement], [])
    last = {segment: unpacked(first, data)[-1].position for segment, first, data in rows}
    assert last == {0: 6000, 1: 6000, 2: 5000, 3: 5000}
    assert len(index._open) == 2


def test_deleted_segments_are_forgotten() -> None:
    segment = Segment()
    segment.receive(5000)
    segment.index.forget([segment.number])
    assert list(segment.index.close_all()) == []


@pytest.mark.parametrize(
    ("sizes", "steps_ms"),
    [
        pytest.param((100, 100), (1000, 40_000), id="slow"),
        pytest.param((100, 300), (0, 2000), id="steady"),
        pytest.param((10_000, 300_000), (0, 50), id="fast"),
        pytest.param((1, 2_000_000), (0, 100_000), id="bursts"),
        pytest.param((50, 5000), (-5000, 5000), id="a clock that jumps"),
    ],
)
@pytest.mark.parametrize("kinds", [UNREAD, LOCAL, ZONED | NONE])
def test_the_index_takes_at_most_a_fiftieth_of_the_lines(
    sizes: Sequence[int], steps_ms: Sequence[int], kinds: int
) -> None:
    random = Random(7)
    segment = Segment()
    for _ in range(3000):
        step = random.randint(*steps_ms)
        low = segment.now + random.randint(-10_000, 10_000)
        times = UNREAD_TIMES if kinds == UNREAD else (kinds, low, low + random.randint(0, 100_000))
        segment.receive(*[random.randint(*sizes) for _ in range(random.choice([1, 1, 5]))], after_ms=step, times=times)
        assert sum(map(len, segment.rows.values())) * 50 <= segment.size
    assert segment.entries
    assert segment.size - segment.entries[-1].position <= max(MIB + sizes[1], 70_000)
    positions = [entry.position for entry in segment.entries]
    assert positions == sorted(set(positions))
