"""The lines of a store on this machine's disk: `StoredLogs` for a data folder, whether a server uses it or not.

Takes what is committed from the ledger, in short transactions, and reads the files without one.
"""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from logferry.reading.disk.ledger import LedgerDoor
from logferry.reading.disk.listing import ListedLog, Listing, listing_of, ranges_in, segments_of
from logferry.reading.disk.log_ends import LogEnds
from logferry.reading.disk.segments import (
    Piece,
    SegmentReader,
    Stretch,
    day_of,
    pieces_of,
    stretches_of,
    stretches_without_index,
)
from logferry.reading.stored import (
    EVER,
    Bookmark,
    Chunk,
    ChunkBytes,
    Lacking,
    Log,
    LogSize,
    Looked,
    MayMatch,
    Place,
    Received,
    Span,
    UnknownPlace,
    standard_chunk,
)
from logferry.server.storage.disk.files.segment_forms import SUFFIXES
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME, on_disk
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry
from logferry.server.storage.records import SegmentRow

if TYPE_CHECKING:
    from logferry.reading.disk.changes import DiskChanges

_NOT_THERE: Final = "there is no line at this place in the store: retention may have deleted it"

_MOST_LACKING: Final = 1000

_Ranges = Mapping[int, Sequence[tuple[int, int]]]

# Of the time index, for the last lines of a log. It may have hundreds.
_LAST_ROWS: Final = 4

# A loss is noted some time after the lines around it were written.
_NOTED_LATER_MS: Final = 60_000


class DiskLogs:
    """See StoredLogs. Raises StoreError when it is made if there is no store."""

    def __init__(self, data_dir: Path) -> None:
        self.looked = Looked()
        self._segments = data_dir / FOLDER_NAME
        self._door = LedgerDoor(data_dir)
        self._reader = SegmentReader(data_dir, self.looked, self._now)
        self._listing: Listing | None = None
        self.refresh()

    def close(self) -> None:
        """Close what is open."""
        self._reader.close()
        self._door.close()

    def refresh(self) -> None:
        """See StoredLogs; likewise below."""
        with self._door.opened() as ledger:
            self._listing = listing_of(ledger)
        self._ends = LogEnds(self._door)

    def logs(self) -> Sequence[Log]:
        return [listed.log for listed in self._listed.logs.values()]

    def sizes(self) -> Sequence[tuple[Log, LogSize]]:
        with self._door.opened() as ledger:
            totals = {(total.log, total.folder): total for total in ledger.totals()}
        found = []
        for listed in self._listed.logs.values():
            known = [
                totals[key]
                for part in listed.parts
                if (key := (part.log, part.folder if part.log is None else "")) in totals
            ]
            firsts = [time for total in known if (time := day_of(total.first_path).first) is not None]
            numbers = (
                sum(total.segments for total in known),
                sum(total.bytes for total in known),
                sum(total.lines for total in known),
            )
            changes = [time for row in listed.newest if (time := self._last_change(row)) is not None]
            found.append((listed.log, LogSize(*numbers, min(firsts, default=None), max(changes, default=None))))
        return found

    def newest(self, log: Log) -> int | None:
        known = [(self._ends.last_time(row), row) for row in self._listed.logs[log.key].newest]
        times = [self._last_change(row) if time is None else time for time, row in known]
        return max((time for time in times if time is not None), default=None)

    def chunks(
        self,
        log: Log,
        span: Span = EVER,
        *,
        backward: bool = False,
        chunk_bytes: ChunkBytes = standard_chunk,
        at: Place | None = None,
        may_match: MayMatch | None = None,
    ) -> Iterator[Chunk]:
        for row, stretches in self._stretches(log, span, backward=backward, at=at):
            pieces = pieces_of(row, stretches, span, self.looked)
            for piece in reversed(pieces) if backward else pieces:
                read = self._reader.backward if backward else self._reader.forward
                yield from map(partial(_chunk_of, log, piece), read(piece, chunk_bytes, may_match))

    def pieces(self, log: Log, span: Span = EVER) -> Iterator[Piece]:
        """Yield where the lines of a log are, oldest first, without reading them: for `bytes_of`."""
        for row, stretches in self._stretches(log, span, backward=False, at=None):
            yield from pieces_of(row, stretches, span, self.looked)

    def bytes_of(self, row: SegmentRow, position: int, size: int) -> bytes:
        """Return bytes of a segment, fewer if they are not there."""
        return self._reader.bytes_at(row, position, size)

    def log_at(self, place: Place) -> Log:
        with self._door.opened() as ledger:
            row = ledger.segment_at(place.segment)
            if row is None or place.position >= row.bytes or not self._begins_line(row, place.position):
                raise UnknownPlace(_NOT_THERE)
            if not self._listed.logs_with(row):
                self._listing = listing_of(ledger)
            for listed in self._listed.logs_with(row):
                ranges = ranges_in(ledger, listed).get(row.id, ())
                if not _is_shared(listed) or any(start <= place.position < end for start, end in ranges):
                    return listed.log
        raise UnknownPlace(_NOT_THERE)

    def _begins_line(self, row: SegmentRow, position: int) -> bool:
        return position == 0 or self._reader.bytes_at(row, position - 1, 1) == b"\n"

    def lacking(self, logs: Sequence[Log], span: Span) -> Sequence[Lacking]:
        wanted: dict[tuple[str, str], Log] = {(log.host, log.path): log for log in logs}
        since = 0 if span.since is None else span.since
        until = None if span.until is None else span.until + _NOTED_LATER_MS
        with self._door.opened() as ledger:
            notes = ledger.losses_since(since / 1000, limit=_MOST_LACKING)
        return [
            Lacking(wanted[note.host, note.path], *note[2:])
            for note in notes
            if (note.host, note.path) in wanted and (until is None or note.first < until)
        ]

    def changes(self, after: Bookmark | None = None) -> "DiskChanges":
        from logferry.reading.disk.changes import DiskChanges  # late: a search must begin at once

        return DiskChanges(self._door, self._reader, self._listed, after)

    @property
    def _listed(self) -> Listing:
        assert self._listing
        return self._listing

    def _stretches(
        self, log: Log, span: Span, *, backward: bool, at: Place | None
    ) -> Iterator[tuple[SegmentRow, Sequence[Stretch]]]:
        """Yield the segments of a log in the order of reading, with their stretches, those behind `at` if given."""
        rows, ranges, entries = self._rows(self._listed.logs[log.key])
        if at is not None:
            index = next((number for number, row in enumerate(rows) if row.path == at.segment), None)
            if index is None:
                return
            rows = rows[: index + 1] if backward else rows[index:]
        for row in reversed(rows) if backward else rows:
            for stretches in self._indexed(row, span, entries, backward=backward):
                if ranges is not None:
                    stretches = within_ranges(stretches, ranges.get(row.id, ()))
                if at is not None and row.path == at.segment:
                    limits = (0, at.position) if backward else (at.position, row.bytes)
                    stretches = within_ranges(stretches, [limits])
                yield row, stretches

    def _rows(self, listed: ListedLog) -> tuple[list[SegmentRow], _Ranges | None, Sequence[TimeEntry]]:
        """Return the segments of a log, which bytes of them are the log's, and the index of its only segment, if it is
        known."""
        if len(listed.newest) == 1 and self._ends.is_only(listed.newest[0]):
            return [*listed.newest], None, self._ends.whole_index(listed.newest[0])
        with self._door.opened(kept=True) as ledger:
            return segments_of(ledger, listed), ranges_in(ledger, listed) if _is_shared(listed) else None, ()

    def _indexed(
        self, row: SegmentRow, span: Span, entries: Sequence[TimeEntry], *, backward: bool
    ) -> Iterator[Sequence[Stretch]]:
        """Yield the stretches of a segment by its time index; the last ones first if the last lines are asked for."""
        if not any(span.meets(stretch.first, stretch.last) for stretch in stretches_without_index(row)):
            yield stretches_without_index(row)
            return
        if entries:
            is_all = entries[-1].position >= row.bytes
            yield stretches_of(row, entries, None if is_all else self._last_change(row))
            return
        begin = row.bytes
        if backward and span == EVER:
            last = self._entries(row, last_rows=_LAST_ROWS)
            begin = last[0].position if last else 0
            yield within_ranges(stretches_of(row, last, self._last_change(row)), [(begin, row.bytes)])
        if begin:
            yield within_ranges(stretches_of(row, self._entries(row), self._last_change(row)), [(0, begin)])

    def _entries(self, row: SegmentRow, *, last_rows: int | None = None) -> Sequence[TimeEntry]:
        with self._door.opened(kept=True) as ledger:
            now = ledger.segment_at(row.path)
            return ledger.times_of(row.id, last_rows=last_rows) if now and now.id == row.id else ()

    def _now(self, row: SegmentRow) -> SegmentRow | None:
        with self._door.opened(kept=True) as ledger:
            return ledger.segment_at(row.path)

    def _last_change(self, row: SegmentRow) -> int | None:
        try:
            path = f"{self._segments}/{on_disk(row.path)}{SUFFIXES[row.compression]}"
            changed = -(-os.stat(path).st_mtime_ns // 1_000_000)
        except OSError:
            return day_of(row.path).last
        last = day_of(row.path).last  # a file is also changed by compression and repairs
        return changed if last is None else min(changed, last)


def _chunk_of(log: Log, piece: Piece, lines: tuple[int, bytes]) -> Chunk:
    """Return what was read as a chunk. Holds nothing of it, as a loop would while it waits."""
    position, data = lines
    return Chunk(log, piece.row.path, position, data, _marks_of(piece, position, position + len(data)))


def _marks_of(piece: Piece, start: int, end: int) -> Sequence[tuple[int, Received]]:
    """Return when the lines in `[start, end)` were received: a large segment has thousands of marks."""
    first = bisect_right(piece.marks, start, key=lambda mark: mark[0]) - 1
    return piece.marks[max(first, 0) : bisect_left(piece.marks, end, key=lambda mark: mark[0])]


def _is_shared(listed: ListedLog) -> bool:
    """Whether a log shares a folder with another one."""
    return any(part.sources for part in listed.parts)


def within_ranges(stretches: Sequence[Stretch], ranges: Sequence[tuple[int, int]]) -> list[Stretch]:
    """Return what of the stretches is in the ranges; both are in order."""
    found: list[Stretch] = []
    for start, end in ranges:
        found += [
            stretch._replace(start=max(start, stretch.start), end=min(end, stretch.end))
            for stretch in stretches
            if stretch.start < end and start < stretch.end
        ]
    return found
