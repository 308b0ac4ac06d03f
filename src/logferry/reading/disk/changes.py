"""What is committed to a disk store from a moment on: `Changes` for a data folder.

Looks at the ledger only when its files have changed. Knows how far each folder was read by the name of its last
segment: a ledger that was made anew has other numbers. A segment that was closed meanwhile is read to its end; one that
retention has deleted is left out. What has come and cannot be read is kept, and tried again for some seconds: whatever
error ends a look, the next one goes on there.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from logferry.checksum import crc32
from logferry.errors import StoreError
from logferry.reading.disk.ledger import LedgerDoor, Signature
from logferry.reading.disk.listing import ListedLog, Listing, listing_of, ranges_in, segments_of
from logferry.reading.disk.segments import Piece, SegmentReader
from logferry.reading.stored import Bookmark, Chunk, Log, Received, UnknownPlace, standard_chunk
from logferry.server.storage.disk.files.segment_names import SegmentName, segment_name
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import SegmentRow

# File systems keep the times of files this exactly, or better. What has just changed may change again unseen.
_CLOCK_TICK_NS: Final = 100_000_000

# How long bytes that cannot be read are tried again before they are left out. A damaged file stays damaged.
_PATIENCE_S: Final = 10.0


_STORE_ID_SINCE: Final = 2


class _Head(NamedTuple):
    """How far the segments of a folder were read: the last one, and its bytes."""

    name: SegmentName
    bytes: int


class _Growing(NamedTuple):
    """A segment, and how far it was found."""

    row: SegmentRow
    at: int


@dataclass(slots=True, eq=False)
class _Unread:
    """Bytes `[start, end)` of a segment that have come and were not returned yet."""

    log: Log
    row: SegmentRow
    start: int
    end: int
    received: Received
    given_up_at: float | None = None  # once they could not be read


class DiskChanges:
    """See Changes."""

    def __init__(
        self, door: LedgerDoor, reader: SegmentReader, listing: Listing, after: Bookmark | None = None
    ) -> None:
        """What comes after the listing, or after a bookmark. Raises UnknownPlace, OSError and StoreError."""
        self._door = door
        self._reader = reader
        self._listing = listing
        self._heads: dict[str, _Head] = {}
        self._growing: dict[str, _Growing] = {}  # by path: the segments that may have more than was found
        self._unread: list[_Unread] = []
        self._numbers: dict[str, int] = {}  # of the segments that had something new in the last look
        self._signature: Signature = ()
        self._asked_ms = _now_ms()
        self._last = listing.last_segment if after is None else after.last
        newest = [row for listed in listing.logs.values() for row in listed.newest]
        for row in [*newest, *listing.open_segments]:
            if row.id <= self._last:
                self._see(row)
        with door.opened() as ledger:
            self._check = _check_of(ledger, self._last)
            if after is not None:
                self._go_back(ledger, after)

    def _go_back(self, ledger: Ledger, after: Bookmark) -> None:
        """Begin at a bookmark. Raises UnknownPlace."""
        rows = [row for number in sorted(after.rest) if (row := ledger.segment(number))]
        if self._check != after.check or any(row.bytes < after.rest[row.id] for row in rows):
            raise UnknownPlace("the store has other segments than that which was followed")
        for listed in self._listing.logs.values():
            if all(row.id > after.last for row in listed.newest):
                self._see_before(ledger, listed, after.last)
        for row in rows:
            at = after.rest[row.id]
            self._growing[row.path] = _Growing(row, at)
            if name := _name_of(row):
                self._heads[_folder_of(row)] = _Head(name, at)

    def _see_before(self, ledger: Ledger, listed: ListedLog, last: int) -> None:
        """Note that the segments of a log up to a number were seen."""
        before = [row for row in segments_of(ledger, listed) if row.id <= last]
        if before:
            self._see(before[-1])

    def bookmark(self, wanted: Callable[[Log], bool]) -> Bookmark:
        """See Changes."""
        rest = {row.id: (row, at) for row, at in self._growing.values()}
        for each in reversed(self._unread):
            rest[each.row.id] = each.row, each.start
        return Bookmark(
            self._last,
            self._check,
            {number: at for number, (row, at) in rest.items() if any(map(wanted, self._logs_with(row)))},
        )

    def _logs_with(self, row: SegmentRow) -> Iterator[Log]:
        return (listed.log for listed in self._listing.logs_with(row))

    def number_of(self, segment: str) -> int:
        """See Changes."""
        return self._numbers[segment]

    def new_chunks(self) -> Iterator[Chunk]:
        """See Changes."""
        self._look()
        waiting: set[str] = set()
        problem = ""
        for each in list(self._unread):
            if each.log.key in waiting:
                continue
            yield from self._chunks(each)
            if each.start < each.end and (problem := self._why_unread(each) or problem) and each in self._unread:
                waiting.add(each.log.key)
        if problem:
            raise StoreError(problem)

    def _look(self) -> None:
        """Find what has come since the last look. Raises OSError and StoreError, and has found nothing then."""
        signature = self._door.signature()
        if signature == self._signature:
            return
        is_another = bool(self._signature) and signature[0][0] != self._signature[0][0]
        with self._door.opened() as ledger:
            self._find(ledger, is_another=is_another)
        now_ns = time.time_ns()
        is_settled = all(now_ns - changed > _CLOCK_TICK_NS for _, changed, _ in signature)
        self._signature = signature if is_settled else (signature[0], (0, 0, 0))

    def _chunks(self, unread: _Unread) -> Iterator[Chunk]:
        """Yield bytes that have come, as far as they can be read now; what was yielded is not unread any more."""
        self._reader.problem = ""
        piece = Piece(unread.row, unread.start, unread.end, [(unread.start, unread.received)])
        for position, data in self._reader.forward(piece, standard_chunk):
            unread.start = position + len(data)
            if unread.start >= unread.end:
                self._unread.remove(unread)
            yield Chunk(unread.log, unread.row.path, position, data, piece.marks)

    def _why_unread(self, unread: _Unread) -> str:
        """Return why bytes were not read; they are left out if retention has deleted them, or if it takes too long."""
        problem, now = self._reader.problem, time.monotonic()
        unread.given_up_at = unread.given_up_at or now + _PATIENCE_S
        is_over = now >= unread.given_up_at
        if not problem or is_over:
            self._unread.remove(unread)
        return f"left out {unread.end - unread.start} bytes of {problem}" if problem and is_over else problem

    def _find(self, ledger: Ledger, *, is_another: bool) -> None:
        """Add what has come, of each log in its order, and note that it was seen."""
        with ledger.reading():
            last = ledger.last_segment_number()
            growing = ledger.growing_segments(0 if is_another or last < self._last else self._last)
            check = _check_of(ledger, last)
            paths = {row.path for row in growing}
            closed = [row for path in sorted(self._growing.keys() - paths) if (row := ledger.segment_at(path))]
        rows = [row for row in (*closed, *growing) if row.state != "expired"]
        found = [(row, start) for row in rows if (start := self._start_of(row)) is not None and start < row.bytes]
        if any(not self._listing.logs_with(row) for row, _ in found):
            self._listing = listing_of(ledger)
        now = _now_ms()
        received = Received(self._asked_ms, now)
        new = [
            _Unread(log, row, begin, end, received)
            for row, start in found
            for log, begin, end in self._owned(ledger, row, start)
        ]
        self._unread += new
        self._numbers = {each.row.path: each.row.id for each in self._unread}
        self._last, self._check, self._asked_ms, self._growing = last, check, now, {}
        for row in rows:
            self._see(row)

    def _owned(self, ledger: Ledger, row: SegmentRow, start: int) -> Iterator[tuple[Log, int, int]]:
        """Yield whose the bytes of a segment from `start` on are."""
        owners = self._listing.logs_with(row)
        if len(owners) == 1:
            yield owners[0].log, start, row.bytes
            return
        for listed in owners:
            for begin, end in ranges_in(ledger, listed).get(row.id, ()):
                if end > start and begin < row.bytes:
                    yield listed.log, max(begin, start), min(end, row.bytes)

    def _start_of(self, row: SegmentRow) -> int | None:
        """Return how far a segment was read; None if it was left behind."""
        if known := self._growing.get(row.path):  # the next one may be there before its bytes are
            return known.at
        name, head = _name_of(row), self._heads.get(_folder_of(row))
        if name is None or (head and name < head.name):
            return None
        return head.bytes if head and name == head.name else 0

    def _see(self, row: SegmentRow) -> None:
        """Note how far a segment is read once all of it is."""
        name, start = _name_of(row), self._start_of(row)
        if row.state == "open":
            self._growing[row.path] = _Growing(row, row.bytes)
        if name is not None and start is not None:
            self._heads[_folder_of(row)] = _Head(name, max(start, row.bytes))


def _name_of(row: SegmentRow) -> SegmentName | None:
    return segment_name(PurePosixPath(row.path).name)


def _folder_of(row: SegmentRow) -> str:
    return str(PurePosixPath(row.path).parent)


def _check_of(ledger: Ledger, number: int) -> int:
    """Return what recognises the numbers of a ledger's segments: another store, and a ledger made anew, has others."""
    row = ledger.segment(number) if number else None
    store = ledger.store_id if ledger.version >= _STORE_ID_SINCE else ""
    return crc32(f"{store} {row.path if row else ''}".encode())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
