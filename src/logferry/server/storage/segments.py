"""Segments: the append-only NDJSON files in which a server keeps lines.

Layout under the folder `segments`:

    <host>/<name>/<UTC date>-<n>.ndjson     n counts from 1 each day; plain-protocol lines have the name `plain`

Only one segment of a folder is open (the last one), and it is only ever written to at its end. The next one begins
when a delivery would push it over `segment_bytes` (a delivery is never split, so that one larger than the limit gets a
segment of its own) or when the UTC day ends. A clock that is set back does not reopen the past. How long each
segment is, is what the ledger says: what a file holds beyond that was never acked.

Thousands of sources with names of their own mean thousands of small files. At most `max_open` of them are open; the one
that was not written to for the longest time is closed for another. Each that a group has touched is synced by itself,
several at the same time: one call for the whole file system would be no faster, would wait for what other programs have
written, and before Linux 5.8 would not tell of errors. Where a group writes little to many of them, they are not synced
with it: the ledger keeps what was written until they are (settling.py).

What a crash leaves: bytes beyond the length in the ledger (recovery.py cuts them off), or a segment that is entered but
has no file yet, or two open ones of a folder (the older one is closed by whoever comes first, recovery or the next
append). What a failed write leaves is cut back by `undo_if_needed`.
"""

import contextlib
import datetime
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from logferry import checksum
from logferry.server.storage.file_system import FileSystem, for_each, naming, write_all
from logferry.server.storage.ledger import Ledger, SegmentRow
from logferry.server.storage.segment_paths import LogName, SegmentName, segment_name

logger = logging.getLogger(__name__)

FOLDER_NAME: Final = "segments"

# Enough that thousands of busy sources do not thrash, and few beside the descriptors of 10,000 clients.
MAX_OPEN_SEGMENTS: Final = 4096

# Several segments with fewer bytes for each on the average are not synced with a group: to write that into the ledger
# takes less time than a sync.
_LITTLE_BYTES: Final = 64 * 1024


class Payload(NamedTuple):
    """What is written together: `pieces` joined is NDJSON of `lines` lines; its CRC-32, if that is known."""

    pieces: Sequence[bytes]
    lines: int
    crc32: int | None = None


class Placement(NamedTuple):
    """Where a payload was written: the number of the segment, and the byte in it where the payload begins."""

    segment: int
    position: int


@dataclass(slots=True)
class Segment:
    """The open segment of a folder. `row` is what the ledger will say of it after the next commit."""

    path: Path
    name: SegmentName
    descriptor: int
    row: SegmentRow


class Segments:
    """All segments under one folder. Not thread-safe: the store's writer thread owns it.

    `prepare`, `append` any number of times, then `sync`; then `changed_rows` go into the ledger, then `commit`.
    After an OSError from one of the first three, `undo_if_needed` cuts back everything since the last commit; it may
    itself raise, and must then be called again.
    """

    def __init__(
        self,
        root: Path,
        ledger: Ledger,
        *,
        segment_bytes: int,
        durable: bool,
        files: FileSystem,
        today: Callable[[], datetime.date],
        max_open: int = MAX_OPEN_SEGMENTS,
    ) -> None:
        self._root = root
        self._ledger = ledger
        self._segment_bytes = segment_bytes
        self._durable = durable  # otherwise nothing is ever synced
        self._files = files
        self._today = today
        self.max_open: Final = max_open
        self._open: OrderedDict[LogName, Segment] = OrderedDict()
        self._changed: dict[int, SegmentRow] = {}  # since the last commit
        self._lengths_before: dict[Path, int] = {}  # of every file touched since the last commit
        self._unsynced: dict[Path, int] = {}  # files to their descriptors
        self._appended: list[tuple[int, int, Sequence[bytes]]] = []  # since the last commit: segment, position, pieces
        self._appended_bytes = 0
        self.kept: list[tuple[int, int, bytes]] = []  # what the ledger must keep of that, because it is not synced
        self._unsynced_folders: set[Path] = set()
        self.begun = 0  # how many new segments since the start
        self.recovered_bytes = 0  # cut off segments that were longer than the ledger says

    @property
    def changed_rows(self) -> Sequence[SegmentRow]:
        """What the ledger must say of the segments, once everything that was appended is to stay."""
        return list(self._changed.values())

    def prepare(self, streams: Iterable[LogName]) -> None:
        """Open a segment for each stream, and enter those that are new into the ledger, in one transaction."""
        missing = [stream for stream in streams if stream not in self._open]
        if not missing:
            return
        try:
            with self._ledger.transaction():
                for stream in missing:
                    self._writable(stream)
        except OSError:
            self.close()  # they may not be in the ledger
            raise

    def append(self, stream: LogName, payloads: Sequence[Payload]) -> list[Placement]:
        """Write each payload, in order; return where. Raises OSError, whose `filename` is set."""
        placements: list[Placement] = []
        waiting: list[Payload] = []
        segment = self._writable(stream)
        end = segment.row.bytes
        for payload in payloads:
            size = sum(map(len, payload.pieces))
            if end and end + size > self._segment_bytes:
                self._write(segment, waiting)
                segment = self._roll(stream, segment)
                waiting, end = [], segment.row.bytes
            placements.append(Placement(segment.row.id, end))
            waiting.append(payload)
            end += size
        self._write(segment, waiting)
        return placements

    def sync(self) -> int:
        """Put what was appended since the last commit on the disk, or into `kept`; return how many files it synced."""
        count = len(self._unsynced)
        if count > 1 and self._appended_bytes < count * _LITTLE_BYTES:
            self.kept = [(segment, position, b"".join(pieces)) for segment, position, pieces in self._appended]
            self._unsynced.clear()  # but not the folders: a file that is synced with a later group must have its name
            return 0
        for_each(self._sync_file, list(self._unsynced.items()))
        self._unsynced.clear()
        # Children first: the order does not matter to the disk, but makes failures predictable.
        for_each(self._sync_folder, sorted(self._unsynced_folders, reverse=True))
        return count

    def _sync_file(self, file: tuple[Path, int]) -> None:
        path, descriptor = file
        with naming(path):
            self._files.sync(descriptor)

    def _sync_folder(self, folder: Path) -> None:
        with naming(folder):
            self._files.sync_folder(folder)
        self._unsynced_folders.discard(folder)

    def commit(self) -> None:
        """What was appended stays, and the ledger says so."""
        self._lengths_before.clear()
        self._changed.clear()
        self._forget_appended()

    def _forget_appended(self) -> None:
        self._appended.clear()
        self._appended_bytes = 0
        self.kept = []

    def undo_if_needed(self) -> None:
        """Cut every file back to its length at the last commit. Raises OSError; call it again then.

        Nothing happens unless there was an `append` without a `commit`.
        """
        if not self._lengths_before and not self._changed:
            return
        self.close()
        for path, length in list(self._lengths_before.items()):
            with naming(path), contextlib.suppress(FileNotFoundError):
                self._files.truncate(path, length)
            del self._lengths_before[path]
        self._changed.clear()
        self._forget_appended()

    def close(self) -> None:
        """Close all files."""
        self._unsynced.clear()
        for segment in self._open.values():
            with contextlib.suppress(OSError):
                os.close(segment.descriptor)
        self._open.clear()

    def let_go_of_days_before(self, day: str) -> None:
        """Close the files of segments of former days: they are not written to again."""
        for stream in [stream for stream, segment in self._open.items() if segment.name.day < day]:
            self._forget(stream)

    def _writable(self, stream: LogName) -> Segment:
        """Return the segment to append to: open, still there, and of today."""
        segment = self._open.get(stream)
        # Somebody may have removed the file while we held it open: what we write there would be gone.
        if segment and os.fstat(segment.descriptor).st_nlink == 0:
            self._forget(stream)
            segment = None
        if segment is None:
            segment = self._open_last(stream)
        if segment.name.day < self._today().isoformat():
            segment = self._roll(stream, segment)
        self._open.move_to_end(stream)
        return segment

    def _open_last(self, stream: LogName) -> Segment:
        folder = self._make_folders(stream)
        rows = [self._changed.get(row.id, row) for row in self._ledger.segments_in("/".join(stream))]
        rows = [row for row in rows if row.state == "open"]
        for row in rows[:-1]:
            self._close_row(row)
        if rows and self._has_its_length(rows[-1]):
            return self._open_segment(stream, rows[-1])
        for row in rows[-1:]:
            self._close_row(row)
        return self._begin(stream, folder)

    def _has_its_length(self, row: SegmentRow) -> bool:
        found = restore_length(self._root / row.path, row, self._files)
        self.recovered_bytes += found or 0
        return found is not None

    def _close_row(self, row: SegmentRow) -> None:
        self._changed[row.id] = replace(row, state="closed")

    def _roll(self, stream: LogName, old: Segment) -> Segment:
        self._forget(stream)
        self._close_row(old.row)
        return self._begin(stream, old.path.parent)

    def _begin(self, stream: LogName, folder: Path) -> Segment:
        """Enter the next segment of a folder into the ledger and open it."""
        with naming(folder):
            names = [segment_name(name) for name in os.listdir(folder)]
        names += [segment_name(os.path.basename(row.path)) for row in self._ledger.segments_in("/".join(stream))]
        last = max((name for name in names if name), default=None)
        day = max(last.day if last else "", self._today().isoformat())
        name = SegmentName(day, last.number + 1 if last and last.day == day else 1)
        with self._ledger.transaction():
            row = self._ledger.add_segment(f"{stream.host}/{stream.name}/{name}")
        self.begun += 1
        return self._open_segment(stream, row)

    def _open_segment(self, stream: LogName, row: SegmentRow) -> Segment:
        while len(self._open) >= self.max_open:
            self._forget(next(iter(self._open)))
        path = self._root / row.path
        name = segment_name(path.name)
        assert name
        with naming(path):
            descriptor = self._files.open_for_append(path)
        segment = self._open[stream] = Segment(path, name, descriptor, row)
        self._unsynced_folders |= {path.parent} if self._durable else set()
        return segment

    def _forget(self, stream: LogName) -> None:
        segment = self._open[stream]
        if segment.path in self._unsynced:
            self._sync_file((segment.path, segment.descriptor))
            del self._unsynced[segment.path]
        os.close(self._open.pop(stream).descriptor)

    def _make_folders(self, stream: LogName) -> Path:
        """Create a stream's folders. Their names are synced even if they exist: a crash may have come in between."""
        folder = self._root / stream.host / stream.name
        for path in (self._root, folder.parent, folder):
            with naming(path):
                self._files.make_folder(path)
        if self._durable:
            self._unsynced_folders |= {self._root.parent, self._root, folder.parent}
        return folder

    def _write(self, segment: Segment, payloads: Sequence[Payload]) -> None:
        pieces = [piece for payload in payloads for piece in payload.pieces]
        if not pieces:
            return
        row = segment.row
        self._lengths_before.setdefault(segment.path, row.bytes)
        if self._durable:
            self._unsynced[segment.path] = segment.descriptor
        with naming(segment.path):
            write_all(self._files, segment.descriptor, pieces)
        crc32 = row.crc32
        for payload in payloads:
            crc32 = _extended(crc32, payload)
        size, lines = sum(map(len, pieces)), sum(payload.lines for payload in payloads)
        if self._durable:
            self._appended.append((row.id, row.bytes, pieces))
            self._appended_bytes += size
        segment.row = replace(row, bytes=row.bytes + size, lines=row.lines + lines, crc32=crc32)
        self._changed[row.id] = segment.row


def _extended(crc32: int, payload: Payload) -> int:
    """Return the CRC-32 of a segment with the payload at its end."""
    if payload.crc32 is not None and len(payload.pieces) == 1:
        return checksum.extended(crc32, payload.pieces[0], payload.crc32)
    for piece in payload.pieces:
        crc32 = checksum.crc32(piece, crc32)
    return crc32


def restore_length(path: Path, row: SegmentRow, files: FileSystem) -> int | None:
    """Cut a segment back to the length in the ledger; return how many bytes went. None: it is too short.

    Raises OSError. A segment of which nothing was ever stored may lack its file.
    """
    with naming(path):
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < row.bytes:
            logger.error("%s has only %d of its %d bytes; it is closed, see `logferry fsck`", path, size, row.bytes)
            return None
        if size > row.bytes:
            files.truncate(path, row.bytes)
            logger.warning("cut %d bytes that were never acknowledged off %s", size - row.bytes, path)
        return size - row.bytes
