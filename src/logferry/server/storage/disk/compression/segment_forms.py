"""Changes the form of a closed segment, plain or compressed, so that a crash at any moment leaves a whole copy.

Compressing: the new file is written under another name, synced, read back and compared with the ledger; then it gets
its name, which is synced; then the ledger records it; then the plain file is deleted. Making plain, for a repair: the
same the other way round, except that the compressed file is damaged, and is kept among the damaged bytes. A crash
leaves an unfinished file, or both files, and `settle` decides: nothing is deleted unless the file that the ledger then
records was read and is whole, and nothing is overwritten.

The ledger need not be synced for that: if it has lost the change, the file that is left says what it is. Owns no
thread; a lock keeps repairs and the compressor from changing segments at the same time.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from logferry.errors import StoreError
from logferry.printable import quoted
from logferry.server.storage.disk.content.codecs import Codec
from logferry.server.storage.disk.content.copies import LOST, OnStep, new_file, write_compressed, write_plain
from logferry.server.storage.disk.content.measure import Measure, measure
from logferry.server.storage.disk.content.members import Member, are_all, packed
from logferry.server.storage.disk.content.segment_bytes import CompressedBytes, PlainBytes
from logferry.server.storage.disk.files.file_system import FileSystem, naming
from logferry.server.storage.disk.files.idle_priority import reading_when_idle
from logferry.server.storage.disk.files.segment_forms import (
    SUFFIXES,
    forms_of,
    own_forms_of,
    stored_path,
    unfinished_path,
)
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import Compression, SegmentRow

logger = logging.getLogger(__name__)

CrashPoint = Callable[[str], None]
Keep = Callable[[Path, str], object]
"""Moves a damaged file away, given its name below `segments`. Raises OSError."""


def _nothing(*_: object) -> None:
    pass


class SegmentForms:
    """See above. Any thread may use it, with a ledger of its own."""

    def __init__(
        self,
        data_dir: Path,
        files: FileSystem,
        *,
        keep: Keep,
        on_change: Callable[[int], object] = _nothing,
        crash_point: CrashPoint = _nothing,
    ) -> None:
        """`on_change` is called with the number of a segment whose form has changed."""
        self._data_dir = data_dir
        self._root = data_dir / FOLDER_NAME
        self._files = files
        self._keep = keep
        self.on_change = on_change
        self._crash_point = crash_point
        self.lock: Final = threading.RLock()

    def compress(self, row: SegmentRow, codec: Codec, on_step: OnStep) -> SegmentRow | None:
        """Compress a plain closed segment; return its row, or None if it is not as the ledger says.

        Raises OSError or CannotBeCompressed; then everything is as it was.
        """
        path, unfinished = self._root / row.path, unfinished_path(self._root / row.path, codec.name)
        if os.path.lexists(stored_path(path, codec.name)):  # somebody's own archive of it
            return None
        with PlainBytes(path) as plain:
            if plain.file_size != row.bytes:
                return None
            with reading_when_idle(), new_file(unfinished, self._files) as target:
                members = write_compressed(plain, row.bytes, codec, target, on_step)
                target.set_time(plain.changed_ns)  # when its last line came
        after = row._replace(compression=codec.name, stored_bytes=target.size)
        try:
            if not self._is_whole(CompressedBytes(unfinished, codec.name, members), after, on_step):
                return None
            self._crash_point("compressed file written")
            with self.lock:
                return self._exchange(row, after, members)
        finally:
            unfinished.unlink(missing_ok=True)

    def _exchange(self, row: SegmentRow, after: SegmentRow, members: list[Member]) -> SegmentRow | None:
        """Give the compressed file its name, record it, and delete the plain one."""
        path, target = self._root / row.path, stored_path(self._root / row.path, after.compression)
        if os.path.lexists(target):
            return None
        with naming(target):
            os.rename(unfinished_path(path, after.compression), target)
        try:
            self._sync_folder(target)
            self._crash_point("compressed file renamed")
            is_recorded = self._record(row, after, members)
        except (OSError, StoreError):
            target.unlink(missing_ok=True)
            raise
        if not is_recorded:  # retention was quicker
            target.unlink(missing_ok=True)
            return None
        self._crash_point("compression recorded")
        with naming(path):
            self._files.delete(path)
        return after

    def make_plain(self, row: SegmentRow, on_step: OnStep = _nothing) -> SegmentRow | None:
        """Make a closed segment plain, with holes for what is damaged; return its row.

        Returns None if it has changed meanwhile. Raises OSError. The caller holds `lock`, and has settled the segment.
        """
        path, stored = self._root / row.path, stored_path(self._root / row.path, row.compression)
        if os.path.lexists(stored):
            self._write_plain(row, stored, on_step)
        after = row._replace(compression="", stored_bytes=0)
        if not self._record(row, after, ()):
            return None
        self._crash_point("plain form recorded")
        logger.warning("%s is damaged: made it plain again, to repair it", quoted(str(stored)))
        if os.path.lexists(stored):
            self._keep(stored, f"{row.path}{stored.name.removeprefix(path.name)}")
        return after

    def _write_plain(self, row: SegmentRow, stored: Path, on_step: OnStep) -> None:
        path = self._root / row.path
        unfinished = unfinished_path(path, "")
        with CompressedBytes(stored, row.compression) as content, new_file(unfinished, self._files) as target:
            write_plain(content, target, on_step)
        self._crash_point("plain file written")
        if os.path.lexists(path):
            self._keep(path, row.path)
        with naming(path):
            os.rename(unfinished, path)
        self._sync_folder(path)
        self._crash_point("plain file renamed")

    def settle(self, row: SegmentRow, on_step: OnStep = _nothing) -> SegmentRow:
        """Have a closed segment one file, the one that the ledger records, as far as a whole one is there.

        Returns its row. Raises OSError. The caller holds `lock`.
        """
        path = self._root / row.path
        forms = sorted(own_forms_of(path, row.compression), key=lambda form: form != row.compression)
        if not forms or forms == [row.compression]:
            return row
        whole = next((form for form in forms if self._is_whole(self._open(path, form), row, on_step)), None)
        if whole is None and forms[0] == row.compression:
            logger.error("%s has several files, and none of them is whole: all of them stay", quoted(str(path)))
            return row
        now = self._record_form(row, forms[0] if whole is None else whole)
        if now is None or whole is None:
            return now or row
        for form in forms:
            if form != whole:
                self._remove(row, form, on_step)
        return now

    def _remove(self, row: SegmentRow, form: Compression, on_step: OnStep) -> None:
        """Delete a second file of a segment if it is whole, too; otherwise keep it among the damaged bytes."""
        path = stored_path(self._root / row.path, form)
        if self._is_whole(self._open(self._root / row.path, form), row, on_step):
            logger.info("deleted %s, a second file of a segment: both were whole", quoted(str(path)))
            self._files.delete(path)
        else:
            logger.warning("%s is a damaged second file of a segment: moved it to `damaged`", quoted(str(path)))
            self._keep(path, f"{row.path}{SUFFIXES[form]}")

    def remove_unfinished(self, row: SegmentRow) -> None:
        """Remove what a crash has left of a file that was being written. Raises OSError.

        Only at a start, before anything else uses this object. It is a copy: what it was made from is there.
        """
        path = self._root / row.path
        if forms_of(path):
            for form in SUFFIXES:
                self._files.delete(unfinished_path(path, form))

    def _record_form(self, row: SegmentRow, form: Compression) -> SegmentRow | None:
        """Record the form of the file that a segment has; return its row, None if it has changed meanwhile."""
        members: Sequence[Member] = ()
        if not form:
            after = row._replace(compression="", stored_bytes=0)
        else:
            with CompressedBytes(stored_path(self._root / row.path, form), form) as content:
                after = row._replace(compression=form, stored_bytes=content.file_size)
                members = content.members if are_all(content.members, row.bytes, content.file_size) else ()
        return after if self._record(row, after, members) else None

    def _record(self, row: SegmentRow, after: SegmentRow, members: Sequence[Member]) -> bool:
        ledger = Ledger(self._data_dir, durable=False)
        try:
            with ledger.transaction():
                is_recorded = ledger.change_form(row, after, packed(members))
        finally:
            ledger.close()
        if is_recorded:
            self.on_change(row.id)
        return is_recorded

    def _open(self, path: Path, form: Compression) -> PlainBytes | CompressedBytes:
        return CompressedBytes(stored_path(path, form), form) if form else PlainBytes(path)

    def _is_whole(self, content: PlainBytes | CompressedBytes, row: SegmentRow, on_step: OnStep) -> bool:
        with content, reading_when_idle():
            try:
                found = measure(content, 0, row.bytes, on_block=lambda _: on_step())
            except OSError as error:
                if error.errno not in LOST:
                    raise
                return False
            return found == Measure(row.bytes, row.lines, row.crc32) and not content.surplus(row.bytes)

    def _sync_folder(self, path: Path) -> None:
        with naming(path.parent):
            self._files.sync_folder(path.parent)
