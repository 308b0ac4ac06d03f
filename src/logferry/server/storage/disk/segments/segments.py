"""Segments: the append-only NDJSON files in which a server keeps lines.

Layout under the folder `segments` (names: log_names.py and segment_names.py):

    <folder of the log>/<UTC date>-<n>.ndjson     n counts from 1 each day

The last segment of a log is open, and is only ever appended to. The next segment begins when a delivery would push
the open one over `segment_bytes`, or when the UTC day ends, but not when the clock is set back. A delivery is never
split: one that is larger than a segment gets a segment of its own. The ledger records the length of each segment: what
a file holds beyond that length is a surplus (surplus.py).

The segments of a group are synced one by one, in several threads: a sync of the whole file system would not be faster,
would wait for what other programs have written, and before Linux 5.8 would not report errors.

A crash may leave bytes beyond the length in the ledger (recovery moves them aside), a segment that is recorded but has
no file yet (the next append creates it), or two open segments of a log (recovery or the next append closes the
older one). `undo_if_needed` cuts back what a failed write leaves.
"""

import contextlib
import datetime
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from logferry import checksum
from logferry.server.storage.disk.files.file_system import FileSystem, for_each, naming, write_all
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.segments.open_segments import MAX_OPEN_SEGMENTS, OnBegin, OpenSegment, OpenSegments
from logferry.server.storage.disk.segments.pending_appends import PendingAppends, Piece
from logferry.server.storage.log_names import LogName
from logferry.server.storage.records import Placement, SegmentRow


class Payload(NamedTuple):
    """What is written together: `pieces` joined is NDJSON of `lines` lines, with its CRC-32 if that is known."""

    pieces: Sequence[bytes]
    lines: int
    crc32: int | None = None


class Segments:
    """All segments under one folder. The writer thread owns them; no other thread may call a method.

    For each group, call `prepare`, `append` any number of times, and `sync`; record `changed_rows` and
    `deferred_pieces` in the ledger; then call `confirm_appended`. After an OSError from one of the first three,
    `undo_if_needed` cuts back everything since the last confirmed group. If `undo_if_needed` raises, call it again.
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
        on_begin: OnBegin = lambda _row, _log: None,
    ) -> None:
        self.segment_bytes = segment_bytes
        self._durable = durable  # otherwise the store never syncs
        self._files = files
        self._pending = PendingAppends(keeps_pieces=durable)
        self.opened: Final = OpenSegments(
            *(root, ledger, self._pending),
            durable=durable,
            files=files,
            today=today,
            max_open=max_open,
            on_begin=on_begin,
        )

    @property
    def changed_rows(self) -> Sequence[SegmentRow]:
        """The changed segments that the ledger must record."""
        return list(self._pending.rows.values())

    @property
    def deferred_pieces(self) -> Sequence[Piece]:
        """The bytes that the ledger must keep, because `sync` deferred their sync."""
        return self._pending.deferred

    def prepare(self, logs: Iterable[LogName]) -> None:
        """Open a segment for each log. Raises OSError."""
        self.opened.prepare(logs)

    def append(self, log: LogName, payloads: Sequence[Payload]) -> list[Placement]:
        """Write each payload, in order; return where each was written. Raises OSError with its `filename` set."""
        placements: list[Placement] = []
        waiting: list[Payload] = []
        segment = self.opened.writable(log)
        end = segment.row.bytes
        for payload in payloads:
            size = sum(map(len, payload.pieces))
            if end and end + size > self.segment_bytes:
                self._write(segment, waiting)
                segment = self.opened.roll(log, segment)
                waiting, end = [], segment.row.bytes
            placements.append(Placement(segment.row.id, end))
            waiting.append(payload)
            end += size
        self._write(segment, waiting)
        return placements

    def sync(self) -> int:
        """Sync what was appended, or defer that; return how many files were synced. Raises OSError."""
        if self._pending.defer_if_small():
            return 0  # keep `unsynced_folders`: a file that a later group syncs needs its name on the disk too
        files = list(self._pending.unsynced.items())
        for_each(lambda file: self.opened.sync_file(*file), files)
        self._pending.unsynced.clear()
        # Children first: a fixed order makes failures predictable; the disk does not need it.
        for_each(self.opened.sync_folder, sorted(self.opened.unsynced_folders, reverse=True))
        return len(files)

    def confirm_appended(self) -> None:
        """Keep what was appended: the ledger has recorded it."""
        self._pending.clear()

    def undo_if_needed(self) -> None:
        """Cut every file back to its length in the ledger. Raises OSError; then call it again.

        Does nothing unless something was appended since the last `confirm_appended`.
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
        self.opened.close()

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


def _extended_row(row: SegmentRow, payloads: Sequence[Payload], *, size: int) -> SegmentRow:
    """Return the row of a segment after payloads of `size` bytes were appended."""
    crc32 = row.crc32
    for payload in payloads:
        if payload.crc32 is not None and len(payload.pieces) == 1:
            crc32 = checksum.extended(crc32, payload.pieces[0], payload.crc32)
        else:
            for piece in payload.pieces:
                crc32 = checksum.crc32(piece, crc32)
    lines = row.lines + sum(payload.lines for payload in payloads)
    return row._replace(bytes=row.bytes + size, lines=lines, crc32=crc32)
