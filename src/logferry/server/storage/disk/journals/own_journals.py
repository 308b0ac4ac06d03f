"""The own journals of segments: opened, appended to, and written anew once they are large or their segments closed.

Owns which of them are open, and what is known about what they hold. Writes a journal anew with bounded memory, while
others add to it; a crash leaves the old one or the new one.
"""

import errno
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logferry.durable import Replacement
from logferry.server.storage.disk.files.regular import open_file, size_of
from logferry.server.storage.disk.journals.compaction import compacted
from logferry.server.storage.disk.journals.journal import (
    LINES_PER_PIECE,
    NOTHING,
    begin_entry,
    journal_lines,
    journal_name,
    journal_path,
    log_entry,
    open_journal,
)
from logferry.server.storage.disk.journals.shared_journal import write_whole
from logferry.server.storage.disk.journals.waiting_entries import Waiting
from logferry.server.storage.log_names import LogName
from logferry.server.storage.records import SegmentRow
from logferry.telemetry.pieces import in_pieces

# A journal grows by an entry or two for each group, and most of them replace earlier ones. At twice its size after the
# last time, and at least at this size, it is written anew: 30 ms for each megabyte, the work of ten thousand groups.
_COMPACT_AT_BYTES: Final = 1024 * 1024

# Journals about which the writer knows what they hold already; forgetting costs repeated entries.
_MAX_KNOWN: Final = 8192
_MAX_KNOWN_SOURCES: Final = 10_000

# Journals that stay open: those of busy logs. Opening one costs as much as adding to it.
_MAX_OPEN: Final = 64

_BLOCK_BYTES: Final = 256 * 1024


@dataclass(slots=True)
class _Known:
    """What the journal of a segment holds already: sources, and its size when it must be written anew."""

    sources: set[str] = field(default_factory=set)
    size: int = 0
    compact_at: int = 0


class OwnJournals:
    """The own journals. `compact_some` takes the lock; callers of all other methods hold it."""

    def __init__(
        self,
        root: Path,
        store_id: str,
        *,
        lock: threading.Lock,
        wake: Callable[[], object],
        pause: Callable[[], object],
        on_failure: Callable[[OSError], object],
    ) -> None:
        """`wake` has `compact_some` called soon; `pause` lets other threads run, between two pieces of its work."""
        self._root = root
        self._store_id = store_id
        self._lock = lock
        self._wake = wake
        self._pause = pause
        self._on_failure = on_failure
        self._known: dict[int, _Known] = {}
        self._open: OrderedDict[int, int] = OrderedDict()  # segments to descriptors
        self._large: dict[int, str] = {}  # segments whose journals must be written anew, to their paths
        self._not_begun: dict[str, bytes] = {}  # paths to the entries that begin their journals

    def begin(self, row: SegmentRow, log: LogName) -> None:
        """Begin the journal of a new segment: it says that nothing is stored yet. Raises OSError."""
        begin = self._not_begun[row.path] = begin_entry(self._store_id, row.path) + log_entry(log)
        descriptor, size = open_journal(self._root, row.path)
        try:
            if not size:
                write_whole(descriptor, begin + NOTHING, size=0)
        finally:
            os.close(descriptor)
        del self._not_begun[row.path]

    def begun_elsewhere(self, row: SegmentRow) -> None:
        """Note that the shared journal has the beginning of a segment."""
        self._not_begun.pop(row.path, None)

    def write(self, segment: int, waiting: Waiting) -> None:
        """Append what waits to the journal of a segment. Raises OSError; then nothing of it is kept open or known."""
        try:
            self._write(segment, waiting)
        except OSError:
            self._close(segment)
            raise

    def must_be_written_anew(self, segment: int, path: str) -> None:
        """Have a journal written anew soon: nothing is added to it any more."""
        self._large[segment] = path

    def forget(self, segment: int) -> None:
        """Never write again to the journal of a segment that is about to be deleted."""
        self._large.pop(segment, None)
        self._close(segment)

    def compact_some(self, *, end: float) -> None:
        """Write large and closed journals anew, one after the other, until a time of the monotonic clock."""
        with self._lock:
            large = list(self._large.items())
        for segment, path in large:
            try:
                self._compact(segment, self._root / path)
            except OSError as error:
                with self._lock:
                    if self._large.pop(segment, None) is not None:  # otherwise it was deleted meanwhile
                        self._on_failure(error)
            if time.monotonic() > end:
                self._wake()
                return

    def close(self) -> None:
        """Close all files."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _close(self, segment: int) -> None:
        self._known.pop(segment, None)
        if segment in self._open:
            os.close(self._open.pop(segment))

    def _write(self, segment: int, waiting: Waiting) -> None:
        path = waiting.row.path
        known = self._known_of(segment)
        descriptor = self._descriptor(waiting.row, known)
        is_begun = path not in self._not_begun
        if is_begun and not known.size:
            raise OSError(errno.ENOENT, "it is gone, or empty", journal_name(f"{self._root}/{path}"))
        begin = b"" if known.sources else b"\n"  # after a line that a crash may have left unfinished
        begin += self._not_begun.get(path, b"")
        data = begin + b"".join(waiting.entries(known.sources))
        write_whole(descriptor, data, size=known.size)
        self._not_begun.pop(path, None)
        known.size += len(data)
        is_closed = waiting.row.state != "open"
        if is_closed or known.size > max(_COMPACT_AT_BYTES, known.compact_at):
            self._large[segment] = waiting.row.path
            self._wake()
        if is_closed:
            self._close(segment)

    def _compact(self, segment: int, path: Path) -> None:
        """Write a journal anew, shorter. Others may add to it until it is replaced. Raises OSError."""
        with self._lock:
            size = size_of(journal_path(path))
        with Replacement(journal_path(path), mode=0o640, is_synced=False) as journal:
            for line in compacted(in_pieces(journal_lines(path, size=size), LINES_PER_PIECE, self._pause)):
                journal.write(line)
            with self._lock:
                if self._large.pop(segment, None) is None:
                    return  # it was deleted meanwhile
                _copy_from(path, size, journal)
                journal.commit()
                if segment in self._open:
                    os.close(self._open.pop(segment))
                if segment in self._known:
                    self._known[segment].compact_at = 2 * journal.size

    def _known_of(self, segment: int) -> _Known:
        known = self._known.get(segment)
        if known is None or len(known.sources) > _MAX_KNOWN_SOURCES:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[segment] = _Known()
        return known

    def _descriptor(self, row: SegmentRow, known: _Known) -> int:
        if row.id in self._open:
            self._open.move_to_end(row.id)
            return self._open[row.id]
        while len(self._open) >= _MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        descriptor, known.size = open_journal(self._root, row.path)
        self._open[row.id] = descriptor
        return descriptor


def _copy_from(segment: Path, position: int, copy: Replacement) -> None:
    """Add what others have added to a journal behind a position."""
    with open(open_file(journal_path(segment)), "rb") as file:
        file.seek(position)
        while block := file.read(_BLOCK_BYTES):
            copy.write(block)
