"""What the time index says to a reader: which parts of a segment to read, and when lines were received."""

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from logferry.model.event_times import LOCAL, NO_TIMES, NONE, UNREAD_TIMES, YEARLESS, ZONED
from logferry.reading.disk import logs as disk_logs
from logferry.reading.query.search import search
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Received, Span
from logferry.reading.times.time_index import IndexedRange, indexed_ranges, parts_within, range_at
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry
from tests.support.looking import found, line, looking
from tests.support.running import wait_until
from tests.support.stores import Stored, delivery, opened, segments_of

NOON = 1_705_320_000_000
HOUR_MS = 3_600_000
BEGIN = TimeEntry(0, NOON, NO_TIMES)


def test_without_entries_a_segment_is_one_range_of_which_nothing_is_known() -> None:
    assert indexed_ranges(100, []) == [IndexedRange(0, 100)]
    assert indexed_ranges(0, []) == []


def test_ranges_have_what_the_entries_at_their_ends_say() -> None:
    entries = [
        BEGIN,
        TimeEntry(10, NOON + 5, (ZONED, 1, 2)),
        TimeEntry(20, NOON + 9, (ZONED | NONE, 1, NOON + 100)),
        TimeEntry(30, NOON + 10, (NONE, *NO_TIMES[1:])),
        TimeEntry(40, NOON + 11, UNREAD_TIMES),
        TimeEntry(50, NOON + 12, (LOCAL, 7, 8)),
    ]
    assert indexed_ranges(60, entries, UTC) == [
        IndexedRange(0, 10, NOON, NOON + 5, 1, 2),
        IndexedRange(10, 20, NOON + 5, NOON + 9, 1, NOON + 100),
        IndexedRange(20, 30, NOON + 9, NOON + 10, NOON + 9, NOON + 10),
        IndexedRange(30, 40, NOON + 10, NOON + 11),
        IndexedRange(40, 50, NOON + 11, NOON + 12, 7, 8),
        IndexedRange(50, 60, NOON + 12),
    ]


def test_between_two_rows_lines_may_have_any_event_time() -> None:
    entries = [TimeEntry(5, NOON, NO_TIMES), TimeEntry(9, NOON + 1, (ZONED, 1, 1)), TimeEntry(20, NOON + 8, NO_TIMES)]
    assert indexed_ranges(20, entries) == [
        IndexedRange(0, 5, None, NOON),
        IndexedRange(5, 9, NOON, NOON + 1, 1, 1),
        IndexedRange(9, 20, NOON + 1, NOON + 8),
    ]


def test_a_clock_that_was_set_back_does_not_turn_times_around() -> None:
    entries = [BEGIN, TimeEntry(10, NOON - 5, (NONE, *NO_TIMES[1:]))]
    assert indexed_ranges(10, entries) == [IndexedRange(0, 10, NOON - 5, NOON, NOON - 5, NOON)]


def test_entries_beyond_what_is_asked_for_are_left_out() -> None:
    entries = [BEGIN, TimeEntry(10, NOON, (ZONED, 1, 1)), TimeEntry(20, NOON, (ZONED, 1, 1))]
    assert indexed_ranges(15, entries) == [IndexedRange(0, 10, NOON, NOON, 1, 1), IndexedRange(10, 15, NOON)]


def test_times_without_a_year_are_near_the_receipt() -> None:
    entries = [BEGIN, TimeEntry(10, NOON + 5, (YEARLESS, 14 * 86_400_000 + 2 * 365 * 86_400_000, 745 * 86_400_000))]
    (found,) = indexed_ranges(10, entries, UTC)
    assert found.first is not None
    assert found.last is not None
    assert found.first < NOON < found.last < NOON + 9 * 86_400_000


def test_parts_are_joined_and_leave_out_what_is_certainly_earlier_or_later() -> None:
    ranges = [IndexedRange(n * 10, n * 10 + 10, 0, 0, n * 100, n * 100 + 99) for n in range(5)]
    ranges.append(IndexedRange(50, 60))
    assert list(parts_within(ranges, None, None)) == [(0, 60)]
    assert list(parts_within(ranges, 100, 300)) == [(10, 30), (50, 60)]
    assert list(parts_within(ranges, 199, 200)) == [(10, 20), (50, 60)]
    assert list(parts_within(ranges[:5], 500, None)) == []
    assert range_at(ranges, 10) == range_at(ranges, 19) == ranges[1]


def test_no_line_of_a_time_is_ever_left_out() -> None:
    random = Random(3)
    for _ in range(200):
        entries, lines, position, now = [BEGIN], list[tuple[int, int]](), 0, NOON
        for _ in range(8):
            count = random.randint(1, 5)
            now += random.randint(-3, 20)
            times = [now + random.randint(-30, 30) for _ in range(count)]
            lines += [(position + number, time) for number, time in enumerate(times)]
            position += count
            entries.append(TimeEntry(position, now, (ZONED, min(times), max(times))))
        since = NOON + random.randint(-50, 200)
        until = since + random.randint(1, 60)
        parts = list(parts_within(indexed_ranges(position, entries), since, until))
        for place, time in lines:
            if since <= time < until:
                assert any(start <= place < end for start, end in parts)


def test_a_search_for_a_time_reads_only_the_parts_that_may_have_it(tmp_path: Path) -> None:
    now = [NOON]
    padding = "x" * 2000
    with opened(tmp_path, now_ms=lambda: now[0]) as store:
        for hour in range(12):
            now[0] = NOON + hour * HOUR_MS
            text = datetime.fromtimestamp(now[0] / 1000, UTC).isoformat()
            lines = [delivery(line(f"hour {hour}", text, more=padding)) for _ in range(5)]
            for each in lines:
                each.times = (ZONED, now[0], now[0])
            stored = Stored()
            for each in lines:
                store.submit(each, stored)
            wait_until(lambda stored=stored: len(stored.deliveries) == 5, "stored")  # type: ignore[misc]
        size = sum(path.stat().st_size for path in segments_of(tmp_path))
        with looking(tmp_path) as logs:
            assert found(logs, Selection(span=Span(NOON + 3 * HOUR_MS, NOON + 4 * HOUR_MS))) == ["hour 3"] * 5
            assert logs.looked.bytes + logs.looked.skipped_bytes == size
            assert logs.looked.bytes < size / 4
            oldest = next(iter(search(logs, Selection(span=Span(None, NOON + 1)))))
            assert oldest.received == Received(NOON, NOON)
        (last,) = [indexed for indexed in ranges_of(tmp_path, size) if indexed.last is None]
        assert last.received_from == NOON + 11 * HOUR_MS


def test_the_last_lines_come_without_the_whole_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_logs, "_LAST_ROWS", 1)
    now, count, stored = [NOON], 80, Stored()
    with opened(tmp_path, now_ms=lambda: now[0]) as store:
        for number in range(count):
            now[0] = NOON + number * 31_000
            store.submit(delivery(line(f"{number}", more="x" * 1000)), stored)
            wait_until(lambda number=number: len(stored.deliveries) > number, "stored")  # type: ignore[misc]
        with looking(tmp_path) as logs:
            (log,) = logs.logs()
            (last, *others) = logs.chunks(log, backward=True)
            assert 0 < last.position < last.end - 5000
            assert len(last.marks) < count
            assert b"".join(chunk.data for chunk in (*reversed(others), last)) == b"".join(
                chunk.data for chunk in logs.chunks(log)
            )
            assert [int(each) for each in found(logs, reverse=True)] == list(range(count))[::-1]
            ends = [each.received.last for each in search(logs, Selection())]
            assert ends[:-1] == [NOON + number * 31_000 for number in range(count - 1)]


def ranges_of(data_dir: Path, size: int) -> Sequence[IndexedRange]:
    """Return the ranges of the first segment."""
    with closing(Ledger(data_dir, durable=False, read_only=True)) as ledger:
        return indexed_ranges(size, ledger.times_of(1))
