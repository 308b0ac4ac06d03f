"""Segments: the append-only NDJSON files in which a server keeps lines.

Layout under the folder `segments` (names: log_names.py and segment_names.py):

    <host>/<log>/<UTC date>-<n>.ndjson     n counts from 1 each day; plain-protocol lines have the log `plain`

A folder has one open segment, its last one, and it is only ever written to at its end. The next one begins when a
delivery would push it over `segment_bytes`, or when the UTC day ends. A delivery is never split: one that is larger
than a segment gets a segment of its own. A clock that is set back does not reopen the past. The ledger says how long
each segment is: what a file holds beyond that was never acked.

open_segments.py decides which segment is written to. The segments of a group are synced each by itself, several at the
same time: one call for the whole file system would be no faster, would wait for what other programs have written, and
before Linux 5.8 would not report errors. Small writes to many segments are synced later (deferred_sync.py).

What a crash leaves, and who mends it: bytes beyond the length in the ledger (recovery cuts them off); a segment that is
entered but has no file yet (the next append creates it); two open segments of a folder (recovery or the next append
closes the older one). What a failed write leaves is cut back by `undo_if_needed`.
"""

import contextlib
import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from logferry import checksum
from logferry.server.storage.disk.file_system import FileSystem, for_each, naming, write_all
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.open_segments import MAX_OPEN_SEGMENTS, OpenSegment, OpenSegments
from logferry.server.storage.disk.pending_appends import PendingAppends, Piece
from logferry.server.storage.log_names import LogName
from logferry.server.storage.records import Placement, SegmentRow


class Payload(NamedTuple):
    """What is written together: `pieces` joined is NDJSON of `lines` lines; its CRC-32, if that is known."""

    pieces: Sequence[bytes]
    lines: int
    crc32: int | None = None


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
        self._segment_bytes = segment_bytes
        self._durable = durable  # otherwise nothing is ever synced
        self._files = files
        self._pending = PendingAppends(keeps_pieces=durable)
        self.opened: Final = OpenSegments(
            root, ledger, self._pending, durable=durable, files=files, today=today, max_open=max_open
        )

    @property
    def changed_rows(self) -> Sequence[SegmentRow]:
        """What the ledger must record of the segments."""
        return list(self._pending.rows.values())

    @property
    def deferred_pieces(self) -> Sequence[Piece]:
        """What the ledger must keep of the segments, because `sync` has deferred it."""
        return self._pending.deferred

    def prepare(self, logs: Iterable[LogName]) -> None:
        """Open a segment for each log. Raises OSError."""
        self.opened.prepare(logs)

    def append(self, log: LogName, payloads: Sequence[Payload]) -> list[Placement]:
        """Write each payload, in order; return where. Raises OSError, whose `filename` is set."""
        placements: list[Placement] = []
        waiting: list[Payload] = []
        segment = self.opened.writable(log)
        end = segment.row.bytes
        for payload in payloads:
            size = sum(map(len, payload.pieces))
            if end and end + size > self._segment_bytes:
                self._write(segment, waiting)
                segment = self.opened.roll(log, segment)
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
        for_each(lambda file: self.opened.sync_file(*file), files)
        self._pending.unsynced.clear()
        # Children first: the order does not matter to the disk, but makes failures predictable.
        for_each(self.opened.sync_folder, sorted(self.opened.unsynced_folders, reverse=True))
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
