"""What is committed to a disk store from a moment on: `Changes` for a data folder.

Looks at the ledger only when its files have changed. Knows how far each folder was read by the name of its last
segment: a ledger that was made anew has other numbers. A segment that was closed meanwhile is read to its end; one that
retention has deleted is left out.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from logferry.reading.disk.ledger import LedgerDoor, Signature
from logferry.reading.disk.listing import ListedLog, Listing, listing_of, ranges_in
from logferry.reading.disk.segments import Piece, SegmentReader
from logferry.reading.stored import Chunk, Received, standard_chunk
from logferry.server.storage.disk.files.segment_names import SegmentName, segment_name
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import SegmentRow

# File systems keep the times of files this exactly, or better. What has just changed may change again unseen.
_CLOCK_TICK_NS: Final = 100_000_000


class _Head(NamedTuple):
    """How far the segments of a folder were read: the last one, and its bytes."""

    name: SegmentName
    bytes: int


class _New(NamedTuple):
    """Bytes of a segment that were not returned yet, and the logs that they may be of."""

    row: SegmentRow
    start: int
    owners: Sequence[ListedLog]
    ranges: Sequence[Sequence[tuple[int, int]]]  # of each of the owners


class DiskChanges:
    """See Changes."""

    def __init__(self, door: LedgerDoor, reader: SegmentReader, listing: Listing) -> None:
        self._door = door
        self._reader = reader
        self._listing = listing
        self._heads: dict[str, _Head] = {}
        self._open: set[str] = set()  # paths of the segments that may grow
        for row in [row for listed in listing.logs.values() for row in listed.newest] + [*listing.open_segments]:
            self._see(row)
        self._last = listing.last_segment
        self._signature: Signature = ()
        self._asked_ms = _now_ms()

    def new_chunks(self) -> Iterator[Chunk]:
        """See Changes."""
        signature = self._door.signature()
        if signature == self._signature:
            return
        since = self._asked_ms
        is_another = bool(self._signature) and signature[0][0] != self._signature[0][0]
        with self._door.opened() as ledger:
            new = self._new(ledger, is_another=is_another)
        self._asked_ms = _now_ms()
        now_ns = time.time_ns()
        is_settled = all(now_ns - changed > _CLOCK_TICK_NS for _, changed, _ in signature)
        self._signature = signature if is_settled else (signature[0], (0, 0, 0))
        received = Received(since, self._asked_ms)
        for each in new:
            for listed, ranges in zip(each.owners, each.ranges, strict=True):
                yield from self._chunks(listed, each.row, ranges, received)

    def _chunks(
        self, listed: ListedLog, row: SegmentRow, ranges: Sequence[tuple[int, int]], received: Received
    ) -> Iterator[Chunk]:
        for start, end in ranges:
            marks = [(start, received)]
            for position, data in self._reader.forward(Piece(row, start, end, marks), standard_chunk):
                yield Chunk(listed.log, row.path, position, data, marks)

    def _new(self, ledger: Ledger, *, is_another: bool) -> list[_New]:
        """Return what has come, the lines of each log in their order, and note that it was seen."""
        with ledger.reading():
            last = ledger.last_segment_number()
            growing = ledger.growing_segments(0 if is_another or last < self._last else self._last)
            paths = {row.path for row in growing}
            closed = [row for path in sorted(self._open - paths) if (row := ledger.segment_at(path))]
        self._last = last
        self._open = set()
        rows = [row for row in (*closed, *growing) if row.state != "expired"]
        found = [(row, start) for row in rows if (start := self._see(row)) is not None and start < row.bytes]
        if any(not self._listing.logs_with(row) for row, _ in found):
            self._listing = listing_of(ledger)
        return [self._owned(ledger, row, start) for row, start in found]

    def _owned(self, ledger: Ledger, row: SegmentRow, start: int) -> _New:
        owners = self._listing.logs_with(row)
        if len(owners) == 1:
            return _New(row, start, owners, [[(start, row.bytes)]])
        ranges = [
            [
                (max(begin, start), min(end, row.bytes))
                for begin, end in ranges_in(ledger, listed).get(row.id, ())
                if end > start and begin < row.bytes
            ]
            for listed in owners
        ]
        return _New(row, start, owners, ranges)

    def _see(self, row: SegmentRow) -> int | None:
        """Note how far a segment is read once all of it is; return how far it was, None if it was left behind."""
        path = PurePosixPath(row.path)
        name, folder = segment_name(path.name), str(path.parent)
        if name is None:
            return None
        if row.state == "open":
            self._open.add(row.path)
        head = self._heads.get(folder)
        if head and name < head.name:
            return None
        start = head.bytes if head and name == head.name else 0
        self._heads[folder] = _Head(name, max(start, row.bytes))
        return start


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
