"""Where logs end, as the time index says: asked for one log after another, and of all logs at once after a few.

A store may have ten thousand logs, and a query for each of them takes longer than all that is read for a search.
Must never be relied on for what may change: a row of a segment may be older than its end here.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from logferry.reading.disk.ledger import LedgerDoor
from logferry.reading.times.time_index import indexed_ranges
from logferry.server.storage.disk.ledger.queries.log_ends import LogEnd
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry
from logferry.server.storage.records import SegmentRow

# Logs that are asked for one by one. All ends of a large store take 0.1 s.
_FEW: Final = 20


class LogEnds:
    """The ends of the newest segments of logs."""

    def __init__(self, door: LedgerDoor) -> None:
        self._door = door
        self._asked: dict[int, LogEnd | None] = {}
        self._all: Mapping[int, LogEnd] | None = None

    def of(self, row: SegmentRow) -> LogEnd | None:
        """Return the end of a log by its newest segment; None if it has no index. Raises OSError and StoreError."""
        if self._all is None and row.id not in self._asked:
            with self._door.opened(kept=True) as ledger:
                if len(self._asked) < _FEW:
                    self._asked[row.id] = next(iter(ledger.log_ends(row.id)), None)
                else:
                    self._all = {end.segment: end for end in ledger.log_ends()}
        end = self._asked.get(row.id) if self._all is None else self._all.get(row.id)
        return end if end and end.path == row.path else None

    def last_time(self, row: SegmentRow) -> int | None:
        """Return a time that the last line of a log is not later than; None if the index does not say it."""
        end = self.of(row)
        entries = end.entries[-2:] if end else ()
        if len(entries) < 2 or not entries[0].position < row.bytes <= entries[1].position:
            return None
        return indexed_ranges(entries[1].position, entries)[-1].last

    def whole_index(self, row: SegmentRow) -> Sequence[TimeEntry]:
        """Return all entries of a segment, if they were asked for with those of others; nothing if they are longer."""
        end = self.of(row)
        return end.entries if end and not end.first else ()

    def is_only(self, row: SegmentRow) -> bool:
        """Whether a log has no other segment than this one, which is its newest."""
        end = self.of(row)
        return bool(end and end.is_only)
