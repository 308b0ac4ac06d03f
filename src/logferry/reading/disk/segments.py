"""Reads committed bytes of segments as chunks of whole lines, forward or backward, and says when they were received.

A segment that is deleted meanwhile is left out; one that is compressed meanwhile is read in its new form. A few files
stay open.
"""

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from logferry.errors import cause_of
from logferry.reading.stored import MAX_LINE_BYTES, ChunkBytes, Looked, MayMatch, Received, Span
from logferry.server.storage.disk.content.segment_bytes import AnyForm, any_form, blocks
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME, on_disk, segment_name
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry
from logferry.server.storage.records import SegmentRow

_MAX_OPEN: Final = 32

# Of compressed segments, this many keep a decompressed member or two in memory.
_MAX_KEEPING: Final = 8

# Without a time index, an event counts as no later than this after its receipt.
_CLOCKS_DIFFER_MS: Final = 24 * 3600 * 1000


class Stretch(NamedTuple):
    """Committed bytes `[start, end)` of a segment, with what is known of the times of their lines.

    `first` and `last` are times that no line is before or after; None if nobody knows.
    """

    start: int
    end: int
    received: Received
    first: int | None = None
    last: int | None = None


class Piece(NamedTuple):
    """Bytes to read: a run of stretches."""

    row: SegmentRow
    start: int
    end: int
    marks: Sequence[tuple[int, Received]]


def day_of(path: str) -> Received:
    """Return the UTC day on which all lines of a segment were received, from its path."""
    name = segment_name(path.rpartition("/")[2])
    return _limits_of_day(name.day) if name else Received()


@lru_cache(1000)  # of many segments, most are of a few days
def _limits_of_day(text: str) -> Received:
    try:
        day = datetime.fromisoformat(f"{text}T00:00:00+00:00")
    except ValueError:
        return Received()
    first = round(day.timestamp() * 1000)
    return Received(first, round((day.astimezone(UTC) + timedelta(days=1)).timestamp() * 1000))


def stretches_without_index(row: SegmentRow) -> list[Stretch]:
    """Return a segment as one stretch: its name says on which day its lines were received, and nothing more."""
    received = day_of(row.path)
    return [Stretch(0, row.bytes, received, None, _latest(received))]


def stretches_of(row: SegmentRow, entries: Sequence[TimeEntry], changed: int | None) -> list[Stretch]:
    """Return a segment as stretches between the entries of its time index. What has no entry yet was received before
    its file was `changed` last."""
    from logferry.reading.times.time_index import indexed_ranges  # here because a search without times does without it

    day = day_of(row.path)
    limits = (time.time_ns() // 1_000_000, day.last, changed)
    until = min(each for each in limits if each is not None)
    stretches = []
    for each in indexed_ranges(row.bytes, entries):
        first = day.first if each.received_from is None else each.received_from
        at_the_latest = until if first is None else max(first, until)  # clocks differ, and are set back
        received = Received(first, at_the_latest if each.received_to is None else each.received_to)
        last = each.last
        if last is None:  # a user can set the time of a file: that excludes no line from a search
            last = _latest(day if each.received_to is None else received)
        stretches.append(Stretch(each.start, each.end, received, each.first, last))
    return stretches


def _latest(received: Received) -> int | None:
    """Return which time no line exceeds, if nothing is known but its receipt."""
    return None if received.last is None else received.last + _CLOCKS_DIFFER_MS


def pieces_of(row: SegmentRow, stretches: Sequence[Stretch], span: Span, looked: Looked) -> list[Piece]:
    """Return what must be read of a segment for a span: neighbouring stretches are one piece."""
    pieces: list[Piece] = []
    marks: list[tuple[int, Received]] = []
    for stretch in stretches:
        if stretch.start >= stretch.end:
            continue
        if not span.meets(stretch.first, stretch.last):
            looked.skipped_bytes += stretch.end - stretch.start
            continue
        if pieces and pieces[-1].end == stretch.start:
            marks.append((stretch.start, stretch.received))
            pieces[-1] = pieces[-1]._replace(end=stretch.end)
        else:
            marks = [(stretch.start, stretch.received)]
            pieces.append(Piece(row, stretch.start, stretch.end, marks))
    return pieces


class SegmentReader:
    """Reads the files of segments. `now` returns what the ledger says of a segment now; None if it is deleted."""

    def __init__(self, data_dir: Path, looked: Looked, now: Callable[[SegmentRow], SegmentRow | None]) -> None:
        self._root = data_dir / FOLDER_NAME
        self._looked = looked
        self._now = now
        self._open: OrderedDict[str, AnyForm] = OrderedDict()
        self.problem = ""  # why bytes could not be read the last time

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].close()

    def forward(
        self, piece: Piece, chunk_bytes: ChunkBytes, may_match: MayMatch | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield whole lines with their positions, oldest first."""
        position, size = piece.start, 0
        while position < piece.end:
            size = max(size, chunk_bytes())
            data = self._read(piece.row, position, min(size, piece.end - position))
            if data is None:
                return
            is_all = position + len(data) >= piece.end or len(data) < min(size, piece.end - position)
            newline = data.rfind(b"\n")
            if newline < 0 and not is_all and size < MAX_LINE_BYTES:
                size *= 2
                continue
            if newline < 0:
                self._note(piece.row, "its bytes are not those that were stored")
                return
            self._count(piece.row, newline + 1)
            lines = [data[: newline + 1] if may_match is None or may_match(data, newline + 1) else b""]
            del data  # hundreds of logs may wait here
            yield position, lines.pop()
            position += newline + 1
            if is_all and position < piece.end:
                self._note(piece.row, "its bytes are not those that were stored")
                return
            size = 0

    def backward(
        self, piece: Piece, chunk_bytes: ChunkBytes, may_match: MayMatch | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield whole lines with their positions, the last chunk first."""
        end, size = piece.end, 0
        while end > piece.start:
            size = max(size, chunk_bytes())
            start = max(piece.start, end - size)
            data = self._read(piece.row, start, end - start)
            if data is None:
                return
            if not data:
                self._note(piece.row, "its bytes are not those that were stored")
                end = min(start, self._size_now(piece.row))
                continue
            data = data[: data.rfind(b"\n") + 1]  # all of it, unless the file has lost its end
            first = 0 if start == piece.start else data.find(b"\n") + 1
            if first >= len(data) or (first == 0 and start > piece.start):
                if start == piece.start or size >= MAX_LINE_BYTES:
                    return
                size *= 2
                continue
            self._count(piece.row, len(data) - first)
            lines = [data[first:] if may_match is None or may_match(data, len(data)) else b""]
            del data  # as above
            yield start + first, lines.pop()
            end = start + first
            size = 0

    def bytes_at(self, row: SegmentRow, position: int, size: int) -> bytes:
        """Return some bytes of a segment; fewer if they are not there, which is noted unless it is deleted."""
        data = self._read(row, position, size)
        if data is not None and len(data) < size:
            self._note(row, "its bytes are not those that were stored")
        return data or b""

    def _size_now(self, row: SegmentRow) -> int:
        """Return how many plain bytes the file of a segment has now. Raises OSError."""
        if content := self._open.pop(row.path, None):
            content.close()
        return self._content(row).size

    def _count(self, row: SegmentRow, size: int) -> None:
        self._looked.bytes += size
        self._looked.lines += round(row.lines * size / row.bytes) if row.bytes else 0

    def _read(self, row: SegmentRow, position: int, size: int) -> bytes | None:
        """Return bytes of a segment, fewer at the end of its file; None if it cannot be read, which is noted."""
        try:
            return self._read_anew(row, position, size)
        except FileNotFoundError as error:
            if self._now(row) is None:
                return None
            self._note(row, cause_of(error))
        except OSError as error:
            self._note(row, cause_of(error))
        return None

    def _read_anew(self, row: SegmentRow, position: int, size: int) -> bytes:
        """Read from the file that is open, or, if that has not all of it any more, from the one that is there now."""
        if row.path in self._open:
            with contextlib.suppress(OSError):
                data = self._bytes(row, position, size)
                if len(data) == min(size, row.bytes - position):
                    return data
            self._open.pop(row.path).close()
        return self._bytes(row, position, size)

    def _bytes(self, row: SegmentRow, position: int, size: int) -> bytes:
        pieces = list(blocks(self._content(row), position, size))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _content(self, row: SegmentRow) -> AnyForm:
        content = self._open.get(row.path)
        if content is None:
            if len(self._open) >= _MAX_OPEN:
                self._open.popitem(last=False)[1].close()
            content = self._open[row.path] = any_form(self._root / on_disk(row.path), row.compression)
        else:
            self._open.move_to_end(row.path)
        for other in islice(self._open.values(), max(0, len(self._open) - _MAX_KEEPING)):
            other.let_go()
        return content

    def _note(self, row: SegmentRow, problem: str) -> None:
        self._looked.unreadable += 1
        self._looked.problem = self.problem = f"{row.path}: {problem}"
