"""Segments: the append-only NDJSON files in which a server keeps lines.

Layout under the folder `segments` (names: segment_paths.py):

    <host>/<log>/<UTC date>-<n>.ndjson     n counts from 1 each day; plain-protocol lines have the log `plain`

A folder has one open segment, its last one, and it is only ever written to at its end. The next one begins when a
delivery would push it over `segment_bytes`, or when the UTC day ends. A delivery is never split: one that is larger
than a segment gets a segment of its own. A clock that is set back does not reopen the past. The ledger says how long
each segment is: what a file holds beyond that was never acked.

Limits: at most `max_open` files are open; the one that was not written to for the longest time is closed for another.
The segments of a group are synced each by itself, several at the same time. One call for the whole file system would be
no faster, would wait for what other programs have written, and before Linux 5.8 would not report errors. Small writes
to many segments are not synced with their group (deferred_sync.py).

What a crash leaves, and who mends it: bytes beyond the length in the ledger (recovery cuts them off); a segment that is
entered but has no file yet (the next append creates it); two open segments of a folder (recovery or the next append
closes the older one). What a failed write leaves is cut back by `undo_if_needed`.
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
from logferry.server.storage.ledger import Ledger
from logferry.server.storage.pending_appends import PendingAppends, Piece
from logferry.server.storage.records import SegmentRow
from logferry.server.storage.segment_paths import LogName, SegmentName, segment_name

logger = logging.getLogger(__name__)

FOLDER_NAME: Final = "segments"

# Enough that thousands of busy sources do not thrash, and few beside the descriptors of 10,000 clients.
MAX_OPEN_SEGMENTS: Final = 4096


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
class OpenSegment:
    """The open segment of a folder. `row` is what the ledger will say of it after the next group."""

    path: Path
    name: SegmentName
    descriptor: int
    row: SegmentRow


class Segments:
    """All segments under one folder. The writer thread owns it: nothing here may be called from another one.

    For each group: `prepare`, `append` any number of times, `sync`; then the ledger records `changed_rows` and
    `deferred_pieces`, then `confirm_appended`. After an OSError from one of the first three, `undo_if_needed` cuts back
    everything since the last confirmed group; it may itself raise, and must then be called again.
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
        self._open: OrderedDict[LogName, OpenSegment] = OrderedDict()
        self._pending = PendingAppends(keeps_pieces=durable)
        self._unsynced_folders: set[Path] = set()
        self.segments_begun = 0  # since the start
        self.recovered_bytes = 0  # cut off segments that were longer than the ledger says

    @property
    def changed_rows(self) -> Sequence[SegmentRow]:
        """What the ledger must record of the segments."""
        return list(self._pending.rows.values())

    @property
    def deferred_pieces(self) -> Sequence[Piece]:
        """What the ledger must keep of the segments, because `sync` has deferred it."""
        return self._pending.deferred

    def prepare(self, logs: Iterable[LogName]) -> None:
        """Open a segment for each log, and enter those that are new into the ledger, in one transaction."""
        missing = [log for log in logs if log not in self._open]
        if not missing:
            return
        try:
            with self._ledger.transaction():
                for log in missing:
                    self._writable(log)
        except OSError:
            self.close()  # they may not be in the ledger
            raise

    def append(self, log: LogName, payloads: Sequence[Payload]) -> list[Placement]:
        """Write each payload, in order; return where. Raises OSError, whose `filename` is set."""
        placements: list[Placement] = []
        waiting: list[Payload] = []
        segment = self._writable(log)
        end = segment.row.bytes
        for payload in payloads:
            size = sum(map(len, payload.pieces))
            if end and end + size > self._segment_bytes:
                self._write(segment, waiting)
                segment = self._roll(log, segment)
                waiting, end = [], segment.row.bytes
            placements.append(Placement(segment.row.id, end))
            waiting.append(payload)
            end += size
        self._write(segment, waiting)
        return placements

    def sync(self) -> int:
        """Put what was appended on the disk, or defer that; return how many files were synced. Raises OSError."""
        if self._pending.defer_if_small():
            return 0  # the folders stay unsynced: a file that is synced with a later group must have its name by then
        files = list(self._pending.unsynced.items())
        for_each(self._sync_file, files)
        self._pending.unsynced.clear()
        # Children first: the order does not matter to the disk, but makes failures predictable.
        for_each(self._sync_folder, sorted(self._unsynced_folders, reverse=True))
        return len(files)

    def confirm_appended(self) -> None:
        """Keep what was appended: the ledger has recorded it."""
        self._pending.clear()

    def undo_if_needed(self) -> None:
        """Cut every file back to its length in the ledger. Raises OSError; call it again then.

        Does nothing unless there was an `append` without a `confirm_appended`.
        """
        if not self._pending.lengths_before and not self._pending.rows:
            return
        self.close()
        for path, length in list(self._pending.lengths_before.items()):
            with naming(path), contextlib.suppress(FileNotFoundError):
                self._files.truncate(path, length)
            del self._pending.lengths_before[path]
        self._pending.clear()

    def close(self) -> None:
        """Close all files."""
        self._pending.unsynced.clear()
        for segment in self._open.values():
            with contextlib.suppress(OSError):
                os.close(segment.descriptor)
        self._open.clear()

    def close_days_before(self, day: str) -> None:
        """Close the files of segments of former days: they are not written to again."""
        for log in [log for log, segment in self._open.items() if segment.name.day < day]:
            self._close_file(log)

    # --- which segment to append to

    def _writable(self, log: LogName) -> OpenSegment:
        """Return the segment to append to: open, still there, and of today."""
        segment = self._open.get(log)
        # Somebody may have removed the file while we held it open: what we write there would be gone.
        if segment and os.fstat(segment.descriptor).st_nlink == 0:
            self._close_file(log)
            segment = None
        if segment is None:
            segment = self._open_last(log)
        if segment.name.day < self._today().isoformat():
            segment = self._roll(log, segment)
        self._open.move_to_end(log)
        return segment

    def _open_last(self, log: LogName) -> OpenSegment:
        folder = self._make_folders(log)
        rows = [self._pending.rows.get(row.id, row) for row in self._ledger.segments_in("/".join(log))]
        rows = [row for row in rows if row.state == "open"]
        for row in rows[:-1]:
            self._close_row(row)
        if rows and self._restore_length(rows[-1]):
            return self._open_file(log, rows[-1])
        for row in rows[-1:]:
            self._close_row(row)
        return self._begin(log, folder)

    def _restore_length(self, row: SegmentRow) -> bool:
        surplus = restore_length(self._root / row.path, row, self._files)
        self.recovered_bytes += surplus or 0
        return surplus is not None

    def _roll(self, log: LogName, old: OpenSegment) -> OpenSegment:
        self._close_file(log)
        self._close_row(old.row)
        return self._begin(log, old.path.parent)

    def _close_row(self, row: SegmentRow) -> None:
        self._pending.rows[row.id] = replace(row, state="closed")

    def _begin(self, log: LogName, folder: Path) -> OpenSegment:
        """Enter the next segment of a folder into the ledger and open it."""
        with naming(folder):
            names = [segment_name(name) for name in os.listdir(folder)]
        names += [segment_name(os.path.basename(row.path)) for row in self._ledger.segments_in("/".join(log))]
        last = max((name for name in names if name), default=None)
        day = max(last.day if last else "", self._today().isoformat())
        name = SegmentName(day, last.number + 1 if last and last.day == day else 1)
        with self._ledger.transaction():
            row = self._ledger.add_segment(f"{log.host}/{log.name}/{name}")
        self.segments_begun += 1
        return self._open_file(log, row)

    # --- files and folders

    def _make_folders(self, log: LogName) -> Path:
        """Create a log's folders. Their names are synced even if they exist: a crash may have come in between."""
        folder = self._root / log.host / log.name
        for path in (self._root, folder.parent, folder):
            with naming(path):
                self._files.make_folder(path)
        if self._durable:
            self._unsynced_folders |= {self._root.parent, self._root, folder.parent}
        return folder

    def _open_file(self, log: LogName, row: SegmentRow) -> OpenSegment:
        while len(self._open) >= self.max_open:
            self._close_file(next(iter(self._open)))
        path = self._root / row.path
        name = segment_name(path.name)
        assert name
        with naming(path):
            descriptor = self._files.open_for_append(path)
        segment = self._open[log] = OpenSegment(path, name, descriptor, row)
        self._unsynced_folders |= {path.parent} if self._durable else set()
        return segment

    def _close_file(self, log: LogName) -> None:
        segment = self._open[log]
        if segment.path in self._pending.unsynced:
            self._sync_file((segment.path, segment.descriptor))
            del self._pending.unsynced[segment.path]
        os.close(self._open.pop(log).descriptor)

    def _write(self, segment: OpenSegment, payloads: Sequence[Payload]) -> None:
        pieces = [piece for payload in payloads for piece in payload.pieces]
        if not pieces:
            return
        before = segment.row
        self._pending.lengths_before.setdefault(segment.path, before.bytes)
        if self._durable:
            self._pending.unsynced[segment.path] = segment.descriptor
        with naming(segment.path):
            write_all(self._files, segment.descriptor, pieces)
        segment.row = _extended_row(before, payloads, size=sum(map(len, pieces)))
        self._pending.add(before, segment.row, pieces)

    def _sync_file(self, file: tuple[Path, int]) -> None:
        path, descriptor = file
        with naming(path):
            self._files.sync(descriptor)

    def _sync_folder(self, folder: Path) -> None:
        with naming(folder):
            self._files.sync_folder(folder)
        self._unsynced_folders.discard(folder)


def _extended_row(row: SegmentRow, payloads: Sequence[Payload], *, size: int) -> SegmentRow:
    """Return the row of a segment with payloads of `size` bytes at its end."""
    crc32 = row.crc32
    for payload in payloads:
        if payload.crc32 is not None and len(payload.pieces) == 1:
            crc32 = checksum.extended(crc32, payload.pieces[0], payload.crc32)
        else:
            for piece in payload.pieces:
                crc32 = checksum.crc32(piece, crc32)
    lines = row.lines + sum(payload.lines for payload in payloads)
    return replace(row, bytes=row.bytes + size, lines=lines, crc32=crc32)


def restore_length(path: Path, row: SegmentRow, files: FileSystem) -> int | None:
    """Cut a segment back to its length in the ledger; return how many bytes went. None: it is too short.

    Raises OSError. A segment of which nothing was ever stored may lack its file.
    """
    with naming(path):
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < row.bytes:
            logger.error(
                "%s is damaged: it has only %d of its %d bytes; new lines go into another segment, see `logferry fsck`",
                *(path, size, row.bytes),
            )
            return None
        if size > row.bytes:
            files.truncate(path, row.bytes)
            logger.warning("cut %d bytes that were never acknowledged off %s", size - row.bytes, path)
        return size - row.bytes
