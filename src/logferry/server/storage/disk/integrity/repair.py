"""Repair: puts the right bytes back where an extent was stored, and reads what is stored there now.

A client sends the NDJSON of an extent once more. It is accepted only if the extent's bytes on the disk are damaged or
missing, and only if its length, lines and CRC-32 are those in the ledger. So the bytes go where the ledger has always
said that they are: no record changes, the order of lines in the segment stays, and a segment is whole once each of its
extents is. A crash at any moment leaves an extent that is still damaged, or whole.

What the segment held instead is saved first, in the folder `damaged` (damaged_folder.py).
"""

import contextlib
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from logferry.protocol.messages.repairs import CONTENT_BYTES, RepairOutcome, StoredContent
from logferry.protocol.messages.requests import Content, Repair
from logferry.server.storage.disk.compression.segment_forms import SegmentForms
from logferry.server.storage.disk.content.segment_bytes import CompressedBytes, PlainBytes, SegmentBytes, blocks
from logferry.server.storage.disk.content.stored_segments import StoredSegments
from logferry.server.storage.disk.files.file_system import FileSystem, naming
from logferry.server.storage.disk.files.regular import size_of
from logferry.server.storage.disk.files.segment_forms import stored_path
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME, folders_down_to
from logferry.server.storage.disk.files.surplus import set_aside
from logferry.server.storage.disk.integrity.damaged_folder import DamagedFolder
from logferry.server.storage.disk.integrity.judgement import Judgement, is_damage, judge_extent
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import ExtentRow, SegmentRow

logger = logging.getLogger(__name__)

_BLOCK_BYTES: Final = 256 * 1024


def stored_content(data_dir: Path, request: Content) -> StoredContent:
    """Return bytes of an extent as the disk has them; nothing where it has none. Raises StoreError or OSError."""
    ledger = Ledger(data_dir, durable=False, read_only=True)
    data = b""
    try:
        row, segment = _find(ledger, request.source, request.start)
        if row and segment and segment.state != "expired" and request.position < row.bytes:
            size = min(CONTENT_BYTES, request.size, row.bytes - request.position)
            with StoredSegments(data_dir / FOLDER_NAME, ledger) as stored:
                data = _read(stored, segment, row.position + request.position, size)
    finally:
        ledger.close()
    return StoredContent(request.source, request.start, request.position, data)


class SegmentRepair:
    """Repairs extents of the segments in one data folder. Any thread may use it, beside the writer.

    The writer only appends behind the last extent, so the two never write the same bytes. A compressed segment becomes
    plain first; the lock of the forms keeps it so meanwhile.
    """

    def __init__(
        self,
        data_dir: Path,
        files: FileSystem,
        *,
        durable: bool,
        forms: SegmentForms,
        damaged: DamagedFolder,
        on_surplus: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`on_surplus` is called with an open segment that is longer than the ledger says, after a repair."""
        self._data_dir = data_dir
        self._root = data_dir / FOLDER_NAME
        self._files = files
        self._durable = durable
        self._forms = forms
        self._on_surplus = on_surplus
        self.damaged = damaged

    def repair(self, request: Repair) -> RepairOutcome:
        """Store an extent anew if it is damaged. Raises StoreError or OSError."""
        ledger = Ledger(self._data_dir, durable=False, read_only=True)
        try:
            with self._forms.lock:
                outcome = self._repair(ledger, request)
            return RepairOutcome(request.source, request.start, *outcome)
        finally:
            ledger.close()

    def _repair(self, ledger: Ledger, request: Repair) -> tuple[bool, str]:
        """Return whether the extent is whole, and why not, or that it was not damaged."""
        row, segment = _find(ledger, request.source, request.start)
        refusal = _refusal(request, row, segment)
        if refusal or not row or not segment:
            return False, refusal
        judged = self._judged(ledger, segment, row)
        if judged.is_damage and segment.state == "closed":
            segment = self._forms.settle(segment)
            segment = self._forms.make_plain(segment) if segment.compression else segment
            judged = self._judged(ledger, segment, row) if segment else judged
        if segment is None:
            return False, _EXPIRED
        if judged.problem and not judged.is_damage:
            return False, f"{segment.path} {judged.problem}"
        if not judged.is_damage:
            self.trim(segment)  # which a crash may have prevented after the repair of another extent
            return True, "it was not damaged"
        path = self._root / segment.path
        self._restore(path, segment, row, request.payload)
        now = ledger.segment(segment.id)
        if now and now.state == "expired":  # retention may have deleted the file before it was written again
            self._files.delete(path)
            return False, _EXPIRED
        self.trim(now or segment)
        left = self._judged(ledger, now or segment, row).problem
        return not left, left and f"{segment.path} {left}"

    def _judged(self, ledger: Ledger, segment: SegmentRow, row: ExtentRow) -> Judgement:
        with StoredSegments(self._root, ledger) as stored:
            return judge_extent(stored, segment, row)

    def trim(self, segment: SegmentRow) -> int:
        """Move the surplus of a closed segment aside (surplus.py); return how many bytes. Raises OSError.

        A compressed segment becomes plain; what follows its last member stays with the damaged bytes. Only the writer
        may cut an open segment.
        """
        path = self._root / segment.path
        if segment.compression:
            return self._trim_compressed(segment)
        with contextlib.suppress(FileNotFoundError):
            surplus = size_of(path) - segment.bytes
            if segment.state == "open" and surplus > 0:  # perhaps only what the writer is writing now
                self._on_surplus(segment.id)
            elif surplus > 0:
                is_unacked = self._durable and JournalFiles(self._root).agrees(segment)
                moved = set_aside(path, segment.bytes, self._files, is_unacked=is_unacked)
                message = "moved %d bytes that the ledger does not record from the end of %s to %s"
                logger.warning(message, moved.bytes, path, moved.path.name)
                return moved.bytes
        return 0

    def _trim_compressed(self, segment: SegmentRow) -> int:
        path = stored_path(self._root / segment.path, segment.compression)
        with contextlib.suppress(FileNotFoundError), self._forms.lock:
            with CompressedBytes(path, segment.compression) as content:
                surplus = content.surplus(segment.bytes)
            if surplus > 0 and segment.state == "closed" and (plain := self._forms.make_plain(segment)):
                return self.trim(plain) or surplus
        return 0

    def _restore(self, path: Path, segment: SegmentRow, row: ExtentRow, payload: bytes) -> None:
        self._save(path, segment, row)
        folders = folders_down_to(self._root, os.path.dirname(segment.path))
        for folder in folders:
            self._files.make_folder(folder)
        self._clear_the_name(path, segment)
        with naming(path):
            descriptor = self._files.open_for_rewriting(path)
            try:
                # Where bytes before the extent are lost, too, at least the end of their last line is certain.
                position = row.position - (row.position > 0 and os.fstat(descriptor).st_size < row.position)
                self._files.write_at(descriptor, b"\n" * (row.position - position) + payload, position)
                if self._durable:
                    self._files.sync(descriptor)
            finally:
                os.close(descriptor)
        if self._durable:
            for folder in reversed(folders):
                self._files.sync_folder(folder)
        logger.info("repaired bytes %d to %d of %s", row.position, row.position + row.bytes, path)

    def _clear_the_name(self, path: Path, segment: SegmentRow) -> None:
        """Move something that is not a file, but has the name of a segment, to the damaged bytes. Raises OSError."""
        try:
            size_of(path)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBADMSG:
                raise
            with naming(path):
                target = self.damaged.take(path, segment.path)
            logger.warning("moved %s aside to %s: %s", path, target, error.strerror)

    def _save(self, path: Path, segment: SegmentRow, row: ExtentRow) -> None:
        """Save what a plain segment holds in the place of an extent, as far as it can be read. Raises OSError."""
        start, end = row.position, row.position + row.bytes
        try:
            with PlainBytes(path) as content:
                data = _read_from(content, start, row.bytes)
        except OSError as error:
            if is_damage(error):
                return
            raise
        if data:
            target = self.damaged.save(segment.path, start, end, data)
            logger.warning("saved the damaged bytes %d to %d of %s as %s", start, end, path, target)


_EXPIRED: Final = "retention has deleted it"


def _find(ledger: Ledger, source_id: str, start: int) -> tuple[ExtentRow | None, SegmentRow | None]:
    rows = ledger.extents(source_id, after=start, limit=1)
    row = rows[0] if rows and rows[0].start == start else None
    return row, ledger.segment(row.segment) if row else None


def _refusal(request: Repair, row: ExtentRow | None, segment: SegmentRow | None) -> str:
    """Return why a repair cannot be what was stored, or "". It must agree with the ledger in every number."""
    if row is None or segment is None:
        return f"nothing of this source is stored from byte {request.start} on"
    if segment.state == "expired":
        return _EXPIRED
    if request.end != row.end:
        return f"it reaches to byte {row.end} by now, not {request.end}"
    if (request.lines, request.crc32, len(request.payload)) != (row.lines, row.crc32, row.bytes):
        return "these are not the lines that were stored: their number, length or CRC-32 differs"
    return ""


def _read(stored: StoredSegments, segment: SegmentRow, position: int, size: int) -> bytes:
    """Return what a segment has in a range; what cannot be read, and what follows the end, is left out."""
    try:
        with stored.opened(segment) as content:
            return _read_from(content, position, size)
    except OSError as error:
        if is_damage(error):
            return b""
        raise


def _read_from(content: SegmentBytes, position: int, size: int) -> bytes:
    pieces: list[bytes] = []
    for start in range(position, position + size, _BLOCK_BYTES):
        with contextlib.suppress(OSError):
            pieces += blocks(content, start, min(_BLOCK_BYTES, position + size - start))
    return b"".join(pieces)
