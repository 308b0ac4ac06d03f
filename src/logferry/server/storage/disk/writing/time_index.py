"""When an entry of the sparse time index is due: where each part of a segment was received, and its event times.

An entry (ledger/tables/packed_times.py) is due with the first lines of a segment, once a MiB has come since the last
one, with the first delivery of a second once 64 KiB have come, before the first delivery after 30 s and with it, and
where a segment or the store is closed. It is made only while the entries of a segment take at most 2 % of the lines
that this run of the server has stored there.
Owns what is not in the ledger yet, of a bounded number of segments: the others get an entry, and then a row of their
own. The writer thread uses it, with each group once that is written; never touches a file.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from logferry.model.event_times import NO_TIMES
from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry, has_one_kind, packed, packed_start
from logferry.server.storage.disk.ledger.tables.times import TimesRow
from logferry.server.storage.records import Placement

ALWAYS_AT_BYTES: Final = 1024 * 1024
EACH_SECOND_AT_BYTES: Final = 64 * 1024
AT_LEAST_MS: Final = 30_000

# Of the lines, one part in this many.
LINES_PER_PACKED: Final = 50

# A row is written whole with each of its entries.
MAX_ROW_BYTES: Final = 256

# Some 50 MB, if each has a full row; more logs than that would open a file for almost every delivery.
MAX_SEGMENTS: Final = 65_536


def unix_ms() -> int:
    """Return the time."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _OpenIndex:
    """What is known of a segment since its last entry.

    Each byte of an entry needs LINES_PER_PACKED bytes of lines; `room` is how many are left over from earlier entries.
    """

    segment: int
    first: int  # of the row
    received: int  # the last lines before the last entry, as that says
    data: bytes = b""  # the row as it is in the ledger, or will be with the group
    position: int = field(init=False)  # of the last entry
    smallest: int = field(init=False)  # see packed_times.py
    end: int = field(init=False)  # of the lines so far
    last: int = field(init=False)  # when the last of them were received
    lowest: int = field(init=False)  # of those since the last entry: clocks are set back
    highest: int = field(init=False)
    due: int = 0  # where an entry is due
    room: int = 0
    kinds: int = NO_TIMES[0]
    low: int = NO_TIMES[1]
    high: int = NO_TIMES[2]

    def __post_init__(self) -> None:
        self.position = self.end = self.first
        self.smallest = self.last = self.lowest = self.highest = self.received

    def packed(self, received: int, smallest: int) -> bytes:
        """Return the entry that ends where the lines do."""
        entry = TimeEntry(self.end, self.highest, (self.kinds, self.low, self.high))
        return packed(entry, position=self.position, received=received, smallest=smallest)


_NOTHING: Final = _OpenIndex(-1, 0, 0)


class TimeIndex:
    """See above."""

    def __init__(self, *, now_ms: Callable[[], int] = unix_ms, max_segments: int = MAX_SEGMENTS) -> None:
        self._now_ms = now_ms
        self._max_segments = max_segments
        self._open: OrderedDict[int, _OpenIndex] = OrderedDict()  # the least recently used first
        self._due: dict[tuple[int, int], bytes] = {}  # rows that changed

    def add(
        self, deliveries: Iterable[Delivery], placements: Iterable[Placement], closed: Iterable[int]
    ) -> Sequence[TimesRow]:
        """Note deliveries that are in their segments, and which segments are closed; return the rows to record.

        Does as little as possible for each delivery: many are one short line.
        """
        now, index = self._now_ms(), _NOTHING
        for delivery, (segment, position) in zip(deliveries, placements, strict=True):
            if not delivery.size:
                continue
            if segment != index.segment or position != index.end:
                index = self._index_at(segment, position, now)
            kinds, low, high = delivery.times
            index.kinds |= kinds
            if low < index.low:
                index.low = low
            if high > index.high:
                index.high = high
            index.end = end = position + delivery.size
            if end >= index.due:
                self._enter(index)
        while len(self._open) > self._max_segments:
            self._enter(self._open.popitem(last=False)[1])
        return self.close(closed)

    def close(self, segments: Iterable[int]) -> Sequence[TimesRow]:
        """Return the rows to record because segments end where they are."""
        for segment in segments:
            if index := self._open.pop(segment, None):
                self._enter(index)
        due, self._due = self._due, {}
        return [(segment, first, data) for (segment, first), data in due.items()]

    def close_all(self) -> Sequence[TimesRow]:
        """Return the rows to record because the store ends here."""
        return self.close(list(self._open))

    def forget(self, segments: Iterable[int]) -> None:
        """Forget segments that are deleted."""
        for segment in segments:
            self._open.pop(segment, None)

    def _index_at(self, segment: int, position: int, now: int) -> _OpenIndex:
        """Return what is known of a segment that gets lines now."""
        index = self._open.get(segment)
        if index is None or index.end != position:
            index = self._open[segment] = _OpenIndex(segment, position, now)
        elif abs(now - index.received) >= AT_LEAST_MS:
            self._enter(index)  # what came before a pause is not mixed with what comes after it
        self._open.move_to_end(segment)
        index.last = now
        if index.end == index.position:
            index.lowest = index.highest = now
        elif now > index.highest:
            index.highest = now
        elif now < index.lowest:
            index.lowest = now
        if index.data:  # the first entry is due as soon as it has room: a log that stays quiet gets none after it
            index.due = index.position + _bytes_until_due(index.received, now)
        return index

    def _enter(self, index: _OpenIndex) -> None:
        """Make an entry where the lines end, if it has room.

        It begins a row, which has a time of its own, where lines came before the time of the last entry.
        """
        if index.end == index.position:
            return
        first, row, smallest = index.first, index.data or packed_start(index.received), index.smallest
        added = index.packed(index.received, smallest)
        if index.lowest < index.received or len(row) + len(added) > MAX_ROW_BYTES:
            first, smallest = index.position, min(index.lowest, index.received)
            row, added = packed_start(smallest), index.packed(smallest, smallest)
        taken = len(row) + len(added) - (len(index.data) if first == index.first else 0)
        room = index.room + index.end - index.position - taken * LINES_PER_PACKED
        if room < 0:
            index.due = index.end - room
            return
        index.first, index.data, index.room = first, row + added, room
        index.smallest = index.low if has_one_kind(index.kinds) else smallest
        index.position, index.received = index.end, index.highest
        index.lowest = index.highest = index.last
        index.kinds, index.low, index.high = NO_TIMES
        index.due = index.end + ALWAYS_AT_BYTES
        self._due[index.segment, first] = index.data


def _bytes_until_due(received: int, now: int) -> int:
    """Return after how many bytes the entry that follows one of a time is due."""
    if abs(now - received) >= AT_LEAST_MS:
        return 0
    return ALWAYS_AT_BYTES if now // 1000 == received // 1000 else EACH_SECOND_AT_BYTES
