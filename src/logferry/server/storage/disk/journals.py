"""Keeps the journals of segments: what a group adds to them, when it is written, and what a start completes.

The writer thread adds each recorded group, before its acks. A group with few segments is written at once. Of a group
that writes little to more than eight segments, whose bytes the ledger keeps for a while (deferred_sync.py), the
entries wait in memory until the deferred sync: a write to each of a thousand journals would take longer than the group.
The ledger has them meanwhile, and a start completes the journals from it. Journals are never synced: only a ledger that
is lost together with the machine's memory needs what a sync would save.

A journal that cannot be written keeps nobody waiting: it is completed at the next start.
"""

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logferry.durable import replace_file
from logferry.errors import cause_of
from logferry.printable import printable
from logferry.server.storage.disk.journal import (
    Origin,
    begin_entry,
    entries_of,
    extent_entry,
    journal_path,
    loss_entry,
    read_journal,
    source_entry,
    state_entry,
    total_entry,
    window_entry,
)
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.regular import open_file
from logferry.server.storage.log_names import log_of_source
from logferry.server.storage.records import ExtentRow, LossRow, SegmentRow, SourceRecords, SourceRow, WindowRow
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# A journal grows by an entry or two for each group, and most of them replace earlier ones. At twice its size after the
# last time, and at least at this size, it is written anew: 30 ms for each megabyte, the work of ten thousand groups.
_COMPACT_AT_BYTES: Final = 1024 * 1024

# Journals about which the writer knows what they hold already; forgetting costs repeated entries.
_MAX_KNOWN: Final = 8192
_MAX_KNOWN_SOURCES: Final = 10_000

# Journals that stay open: those of busy logs. Opening one costs as much as adding to it.
_MAX_OPEN: Final = 64

# A group that changes at most this many segments is written at once, also if their sync is deferred.
_FEW: Final = 8

# At least this many recorded groups wait in memory for the deferred sync before they are written anyway.
_MAX_WAITING: Final = 50_000


class RecordedGroup(SourceRecords):
    """Passes what a group records on to the ledger, and remembers it for the journals."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.sources: dict[str, SourceRow] = {}
        self.moved: list[str] = []
        self.extents: list[tuple[str, ExtentRow]] = []
        self.losses: list[LossRow] = []
        self.windows: list[WindowRow] = []

    def source(self, source_id: str, /) -> SourceRow | None:
        """See SourceRecords; likewise below."""
        return self._ledger.source(source_id)

    def add_sources(self, rows: Iterable[SourceRow], /) -> None:
        new = list(rows)
        self.sources.update((row.id, row) for row in new)
        self._ledger.add_sources(new)

    def set_owners(self, rows: Iterable[SourceRow], /) -> None:
        self._ledger.set_owners(rows)

    def set_sources(self, rows: Iterable[SourceRow], /) -> None:
        moved = list(rows)
        self.sources.update((row.id, row) for row in moved)
        self.moved = [row.id for row in moved]
        self._ledger.set_sources(moved)

    def set_extents(self, extents: Iterable[tuple[str, ExtentRow]], /) -> None:
        self.extents = list(extents)
        self._ledger.set_extents(self.extents)

    def add_loss(self, loss: LossRow, /) -> bool:
        is_new = self._ledger.add_loss(loss)
        if is_new:
            self.losses.append(loss)
        return is_new

    def add_window(self, window: WindowRow, /) -> bool:
        is_new = self._ledger.add_window(window)
        if is_new:
            self.windows.append(window)
        return is_new

    def count_losses(self, source_id: str, most: int, /) -> int:
        return self._ledger.count_losses(source_id, most)

    def count_windows(self, source_id: str, most: int, /) -> int:
        return self._ledger.count_windows(source_id, most)

    def has_loss(self, loss: LossRow, /) -> bool:
        return self._ledger.has_loss(loss)

    def join_loss(self, loss: LossRow, /) -> bool:
        is_new = self._ledger.join_loss(loss)
        if is_new:
            self.losses.append(loss)
        return is_new

    def join_window(self, window: WindowRow, /) -> bool:
        is_new = self._ledger.join_window(window)
        if is_new:
            self.windows.append(window)
        return is_new


@dataclass(slots=True)
class _Waiting:
    """What is not in the journal of a segment yet; `row` is what the segment holds by now."""

    row: SegmentRow
    sources: dict[str, SourceRow] = field(default_factory=dict)
    extents: dict[tuple[str, int], ExtentRow] = field(default_factory=dict)
    lost: list[LossRow | WindowRow] = field(default_factory=list)


_Places = dict[str, _Waiting | None]
"""Where to note something about a source: the segment that has its newest lines, if there is one."""


@dataclass(slots=True)
class _Known:
    """What the journal of a segment holds already: sources, and its size when it must be written anew."""

    sources: set[str] = field(default_factory=set)
    size: int = 0
    compact_at: int = 0


class Journals:
    """The journals of a store. The writer thread adds; it and the deferred sync thread write.

    `_lock` guards what waits, `_writing` the files and what is known about them: a thread that holds `_writing` may
    take `_lock`, never the other way round.
    """

    def __init__(self, root: Path, store_id: str) -> None:
        self._root = root
        self._store_id = store_id
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._known: dict[int, _Known] = {}
        self._open: OrderedDict[int, int] = OrderedDict()  # segments to descriptors
        self._broken: set[int] = set()
        self._failures = RepeatLimit(logger)

    def begin(self, row: SegmentRow) -> None:
        """Begin the journal of a new segment: it says that nothing is stored yet. Never raises OSError."""
        with self._writing:
            try:
                descriptor = open_file(journal_path(self._root / row.path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                try:
                    if not os.fstat(descriptor).st_size:
                        os.write(descriptor, begin_entry(self._store_id, row.path) + total_entry(0, 0, 0))
                finally:
                    os.close(descriptor)
            except OSError as error:
                self._note_failure(row.id, error)

    def add(self, rows: Sequence[SegmentRow], group: RecordedGroup, ledger: Ledger, *, is_deferred: bool) -> None:
        """Add a recorded group that has changed the segments `rows`. Never raises OSError."""
        with self._lock:
            places, changed = self._gather(rows, group)
            try:
                changed |= self._gather_losses(places, group, ledger)
            except OSError as error:
                message = "cannot write what is lost of a source into a journal: %s; the ledger has it"
                self._failures.log(logging.WARNING, "losses", message, printable(cause_of(error, with_path=True)))
            is_too_much = len(self._waiting) > _MAX_WAITING
        if is_too_much:
            self.write()
        elif not is_deferred or len(changed) <= _FEW:
            self.write(changed)

    def close(self) -> None:
        """Close all files."""
        with self._writing:
            while self._open:
                os.close(self._open.popitem()[1])

    def write(self, only: Iterable[int] | None = None) -> None:
        """Write what waits, of all segments or of some. Never raises OSError."""
        with self._writing:
            with self._lock:
                waiting = self._take(only)
            for segment, entries in waiting.items():
                if segment not in self._broken:
                    self._try_to_write(segment, entries)

    def _take(self, only: Iterable[int] | None) -> dict[int, _Waiting]:
        if only is None:
            taken, self._waiting = self._waiting, {}
            return taken
        return {segment: self._waiting.pop(segment) for segment in only if segment in self._waiting}

    def _gather(self, rows: Sequence[SegmentRow], group: RecordedGroup) -> tuple[_Places, set[int]]:
        """Add a group's lines to what waits; return the places of its sources, and the segments that it concerns."""
        changed = {row.id for row in rows}
        for row in rows:
            waiting = self._waiting.get(row.id)
            if waiting:
                waiting.row = row
            else:
                self._waiting[row.id] = _Waiting(row)
        places: _Places = {}
        for source, extent in group.extents:
            places[source] = waiting = self._waiting[extent.segment]
            waiting.extents[source, extent.start] = extent
            if source in group.sources:
                waiting.sources[source] = group.sources[source]
        return places, changed

    def _gather_losses(self, places: _Places, group: RecordedGroup, ledger: Ledger) -> set[int]:
        """Add what a group has lost to what waits; return the segments that it concerns. Raises OSError."""
        changed: set[int] = set()
        all_lost: list[LossRow | WindowRow] = [*group.losses, *group.windows]
        for source in (*group.moved, *(lost.source for lost in all_lost)):
            if source not in places:
                places[source] = place = self._last_of(source, group, ledger)
                changed |= {place.row.id} if place else set()
        for lost in all_lost:
            if place := places[lost.source]:
                place.lost.append(lost)
        return changed

    def _last_of(self, source: str, group: RecordedGroup, ledger: Ledger) -> _Waiting | None:
        """Return where to note something about a source without new lines: the last segment of its log, if any."""
        row = group.sources.get(source) or ledger.source(source)
        last = ledger.last_segment_in("/".join(log_of_source(row.host, row.path))) if row else None
        if not row or not last or last.state == "expired":
            return None
        waiting = self._waiting.setdefault(last.id, _Waiting(last))
        waiting.sources[source] = row
        return waiting

    def _try_to_write(self, segment: int, waiting: _Waiting) -> None:
        path = self._root / waiting.row.path
        try:
            self._write(path, segment, waiting)
        except OSError as error:
            self._note_failure(segment, error)

    def _note_failure(self, segment: int, error: OSError) -> None:
        self._broken.add(segment)
        cause = cause_of(error, with_path=True)
        message = "cannot write the journal of a segment: %s; the next start completes it from the ledger"
        self._failures.log(logging.WARNING, "journal", message, printable(cause))

    def _write(self, path: Path, segment: int, waiting: _Waiting) -> None:
        known = self._known_of(segment)
        descriptor = self._descriptor(path, segment, known)
        begin = b"" if known.size else begin_entry(self._store_id, waiting.row.path)
        if known.size and not known.sources:
            begin = b"\n"  # after a line that a crash may have left unfinished
        data = begin + b"".join(_entries(waiting, known.sources))
        if os.write(descriptor, data) < len(data):
            raise OSError(None, "the disk accepted only a part", str(path))
        known.size += len(data)
        is_large = known.size > max(_COMPACT_AT_BYTES, known.compact_at)
        if is_large or waiting.row.state != "open":
            os.close(self._open.pop(segment))
        if is_large:
            known.compact_at = 2 * _compact(path)
        if waiting.row.state != "open":
            del self._known[segment]

    def _known_of(self, segment: int) -> _Known:
        known = self._known.get(segment)
        if known is None or len(known.sources) > _MAX_KNOWN_SOURCES:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[segment] = _Known()
        return known

    def _descriptor(self, path: Path, segment: int, known: _Known) -> int:
        if segment in self._open:
            self._open.move_to_end(segment)
            return self._open[segment]
        while len(self._open) >= _MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        descriptor = open_file(journal_path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._open[segment] = descriptor
        known.size = os.fstat(descriptor).st_size
        return descriptor


def _entries(waiting: _Waiting, known: set[str]) -> Iterator[bytes]:
    for source, row in waiting.sources.items():
        if source not in known:
            known.add(source)
            yield source_entry(source, Origin(row.owner, row.host, row.path))
    for (source, _), extent in waiting.extents.items():
        yield extent_entry(source, extent)
    for source, row in waiting.sources.items():
        yield state_entry(source, row)
    for lost in waiting.lost:
        yield loss_entry(lost) if isinstance(lost, LossRow) else window_entry(lost)
    yield total_entry(waiting.row.bytes, waiting.row.lines, waiting.row.crc32)


def _compact(segment: Path) -> int:
    """Write a journal anew, each entry once; return its size. Raises OSError."""
    journal = read_journal(segment)
    if journal is None:
        return 0
    data = b"".join(entries_of(journal))
    replace_file(journal_path(segment), data, mode=0o640, is_synced=False)
    return len(data)
