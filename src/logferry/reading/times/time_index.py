"""Which parts of a segment may have events of a time, and when its lines were received, by its sparse time index.

Owns what the entries of the ledger (packed_times.py) mean to a reader: ranges that together are the whole segment. What
has no entry (the open end, stores from before the index) may have any event time, and so may what a server without the
compiled part has stored, and lines with times that cannot be compared. Clocks that were set back make ranges larger.
"""

import datetime
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from logferry.model.event_times import NONE, EventTimes
from logferry.reading.times.event_times import exact_range
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry


class IndexedRange(NamedTuple):
    """Whole lines in the bytes `[start, end)` of a segment, and what is known of their times, in Unix milliseconds.

    They were received between `received_from` and `received_to`. No line belongs before `first` or after `last`: its
    event time counts, and for a line without one the time of receipt. None if that is not known.
    """

    start: int
    end: int
    received_from: int | None = None
    received_to: int | None = None
    first: int | None = None
    last: int | None = None

    def may_have(self, since: int | None, until: int | None) -> bool:
        """Whether there may be a line from `since` on and before `until`."""
        is_before = since is not None and self.last is not None and self.last < since
        is_after = until is not None and self.first is not None and self.first >= until
        return not is_before and not is_after


def indexed_ranges(
    size: int, entries: Iterable[TimeEntry], zone: datetime.tzinfo | None = None
) -> Sequence[IndexedRange]:
    """Return the ranges of the first `size` bytes of a segment, in order; `zone` is that of the reader."""
    return [found for found in _ranges(size, entries, zone) if found.start < found.end <= size]


def parts_within(ranges: Iterable[IndexedRange], since: int | None, until: int | None) -> Iterator[tuple[int, int]]:
    """Yield the bytes, from and to, that may have lines from `since` on and before `until`: as few parts as can be."""
    start = end = 0
    for each in ranges:
        if not each.may_have(since, until):
            continue
        if each.start != end and start < end:
            yield start, end
        start, end = (start if each.start == end else each.start), each.end
    if start < end:
        yield start, end


def range_at(ranges: Sequence[IndexedRange], position: int) -> IndexedRange:
    """Return the range that a byte of the segment lies in: its line was received between the two times of that."""
    return ranges[bisect_right(ranges, position, key=lambda each: each.start) - 1]


def _ranges(size: int, entries: Iterable[TimeEntry], zone: datetime.tzinfo | None) -> Iterator[IndexedRange]:
    position, received = 0, None
    for entry in entries:
        if entry.position > size:  # recorded since
            break
        before, after = _in_order(received, entry.received)
        yield IndexedRange(position, entry.position, before, after, *limits_of(entry.times, before, after, zone))
        position, received = entry.position, entry.received
    yield IndexedRange(position, size, received)


def limits_of(
    times: EventTimes, before: int | None, after: int, zone: datetime.tzinfo | None = None
) -> tuple[int | None, int | None]:
    """Return the first and the last time of lines with these event times that were received between two times.

    None stands for what is not known.
    """
    kinds, low, high = times
    if kinds == NONE:
        return before, after
    if not kinds or before is None or (found := exact_range(kinds, low, high, (before, after), zone)) is None:
        return None, None
    first, last = found
    return (min(first, before), max(last, after)) if kinds & NONE else found


def _in_order(one: int | None, other: int) -> tuple[int | None, int]:
    return (one, other) if one is None or one <= other else (other, one)
