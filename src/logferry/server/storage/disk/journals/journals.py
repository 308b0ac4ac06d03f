"""Keeps the journals of segments: what a group adds to them, when it is written, and what a start completes.

The writer thread adds each recorded group, before its acks. A group with few segments is written at once. The entries
of a group with more than eight segments wait in memory for a thread that writes all that waits every few seconds: a
write to each of a thousand journals would take longer than the group. The ledger has them meanwhile, and a start
completes the journals from it. That thread also writes journals anew that are large or whose segment is closed, each
entry once. Journals are never synced: only a ledger that is lost together with the machine's memory needs that.

A new segment has its entries in the shared journal (shared_journal.py). The thread gives it a journal of its own when
it is closed or has many entries, or when the shared journal is large; a start does so for all.

A journal that cannot be written keeps nobody waiting: its entries stay in memory, and the thread tries again. If they
become too many, or the file is gone, the journal stays behind, and the next start completes it.
"""

import contextlib
import errno
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logferry.durable import replace_file
from logferry.errors import cause_of
from logferry.printable import printable
from logferry.server.storage.disk.files.regular import open_file, open_sized, size_of
from logferry.server.storage.disk.journals.journal import (
    Origin,
    begin_entry,
    entries_of,
    extent_entry,
    journal_name,
    journal_path,
    loss_entry,
    read_journal,
    settled_entry,
    source_entry,
    state_entry,
    total_entry,
    window_entry,
)
from logferry.server.storage.disk.journals.recorded_group import RecordedGroup
from logferry.server.storage.disk.journals.shared_journal import SHARED_NAME, Pieces, SharedJournal, write_whole
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.log_names import log_of_source
from logferry.server.storage.records import ExtentRow, LossRow, SegmentRow, SourceRow, WindowRow
from logferry.telemetry.log_limits import RepeatLimit
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# A journal grows by an entry or two for each group, and most of them replace earlier ones. At twice its size after the
# last time, and at least at this size, it is written anew: 30 ms for each megabyte, the work of ten thousand groups.
_COMPACT_AT_BYTES: Final = 1024 * 1024

# Journals about which the writer knows what they hold already; forgetting costs repeated entries.
_MAX_KNOWN: Final = 8192
_MAX_KNOWN_SOURCES: Final = 10_000

# Journals that stay open: those of busy logs. Opening one costs as much as adding to it.
_MAX_OPEN: Final = 64

# A new segment gets its own journal once the shared one has this much about it, and all do once that is large. Then it
# has a few thousand segments. A server that begins more than its thread can settle makes a file for each again.
_OWN_AT_BYTES: Final = 64 * 1024
_SHARED_AT_BYTES: Final = 2 * 1024 * 1024
_MAX_SHARED_BYTES: Final = 2 * _SHARED_AT_BYTES

# A store that is closed with at most this many new segments gives them their own journals: a few cost nothing, and a
# folder that is taken elsewhere then has all beside its segments. Otherwise the next start does.
_MAX_AT_CLOSE: Final = 64

# The writer waits at most for this many at a time: a few milliseconds.
_AT_A_TIME: Final = 32

# A group that changes at most this many segments is written at once.
_FEW: Final = 8

# Long enough that one write covers many groups; it is what a kill costs the journals of a store with many sources.
_WRITE_INTERVAL_S: Final = 5.0

# The part of the time in which journals are written anew or made; at least one is.
_COMPACTION_SHARE: Final = 0.05

# With more segments than this waiting in memory, they are written anyway.
_MAX_WAITING: Final = 50_000

# Entries that wait for a journal that cannot be written; with more, it stays behind until the next start.
_MAX_UNWRITTEN: Final = 10_000


_NOTHING: Final = total_entry(0, 0, 0)  # what a new segment holds

_APPENDING: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT


@dataclass(slots=True)
class _Waiting:
    """What is not in the journal of a segment yet; `row` is what the segment holds by now."""

    row: SegmentRow
    sources: dict[str, SourceRow] = field(default_factory=dict)
    extents: dict[tuple[str, int], ExtentRow] = field(default_factory=dict)
    lost: list[LossRow | WindowRow] = field(default_factory=list)

    def count(self) -> int:
        """Return how many entries wait."""
        return len(self.extents) + len(self.sources) + len(self.lost)

    def put_before(self, later: "_Waiting") -> None:
        """Put this before what has come to wait since; the result is in `later`."""
        later.sources = self.sources | later.sources
        later.extents = self.extents | later.extents
        later.lost = self.lost + later.lost


_Places = dict[str, _Waiting | None]
"""Where to note something about a source: the segment that has its newest lines, if there is one."""


@dataclass(slots=True)
class _Known:
    """What the journal of a segment holds already: sources, and its size when it must be written anew."""

    sources: set[str] = field(default_factory=set)
    size: int = 0
    compact_at: int = 0


@dataclass(slots=True)
class _New:
    """A segment whose entries are in the shared journal: what that has about it."""

    path: str
    begin: bytes  # the entry before each addition
    sources: set[str] = field(default_factory=set)
    size: int = 0
    is_closed: bool = False


class Journals:
    """The journals of a store. The writer thread adds; it and a thread of the journals write.

    `_lock` guards what waits, `_writing` the files and what is known about them: a thread that holds `_writing` may
    take `_lock`, never the other way round.
    """

    def __init__(
        self, root: Path, store_id: str, *, incomplete: Iterable[str] = (), interval_s: float = _WRITE_INTERVAL_S
    ) -> None:
        """Segments whose journals are `incomplete` get no entries: their ends would hide what is missing before."""
        self._root = root
        self._store_id = store_id
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._shared = SharedJournal(root)
        self._new: dict[int, _New] = {}
        self._ripe: set[int] = set()  # new segments that must get their own journals
        self._known: dict[int, _Known] = {}
        self._open: OrderedDict[int, int] = OrderedDict()  # segments to descriptors
        self._large: dict[int, str] = {}  # segments whose journals must be written anew, to their paths
        self._broken: set[str] = set(incomplete)  # paths: a number can be that of another segment after a rollback
        self._keeps_shared = os.path.lexists(root / SHARED_NAME)  # the start could not settle what it has
        self._not_begun: set[str] = set()
        self._failures = RepeatLimit(logger)
        self._has_work = threading.Event()
        self._is_stopping = threading.Event()
        self._worker = Worker(self._run, name="logferry-journals", on_stop=self._hurry)

    def start(self) -> None:
        """Begin to write every few seconds what waits."""
        self._worker.start()

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most `timeout_s`, and close all files; the next start completes what remains."""
        if not self._worker.stop(timeout_s):
            return
        with self._writing:
            self._shared.close()
            while self._open:
                os.close(self._open.popitem()[1])

    def begin(self, row: SegmentRow) -> None:
        """Begin the journal of a new segment: it says that nothing is stored yet. Never raises OSError."""
        begin = begin_entry(self._store_id, row.path)
        with self._writing:
            try:
                if not self._is_begun_in_shared(row, begin):
                    self._begin_own(row, begin + _NOTHING)
                self._not_begun.discard(row.path)
            except OSError as error:
                self._not_begun.add(row.path)
                self._note_failure(error)

    def _is_begun_in_shared(self, row: SegmentRow, begin: bytes) -> bool:
        self._new.pop(row.id, None)  # of a transaction that was rolled back
        if self._shared.size > _MAX_SHARED_BYTES:
            return False
        with contextlib.suppress(OSError):
            self._shared.append(begin + _NOTHING)
            self._new[row.id] = _New(row.path, begin, size=len(begin))
            return True
        return False

    def _begin_own(self, row: SegmentRow, entries: bytes) -> None:
        descriptor, size = self._opened(row)
        try:
            if not size:
                write_whole(descriptor, entries, size=0)
        finally:
            os.close(descriptor)

    def add(self, rows: Sequence[SegmentRow], group: RecordedGroup, ledger: Ledger) -> None:
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
        elif len(changed) <= _FEW:
            self.write(changed)
        elif not self._has_work.is_set():
            self._has_work.set()

    def write(self, only: Iterable[int] | None = None) -> None:
        """Write what waits, of all segments or of some. Never raises OSError."""
        with self._lock:
            segments = list(self._waiting if only is None else only)
        new = [segment for segment in segments if segment in self._new]
        for start in range(0, len(new), _AT_A_TIME):
            with self._writing:
                self._try_to_write_new(new[start : start + _AT_A_TIME])
        for segment in segments:
            with self._writing:  # for one segment at a time: the writer thread waits for no other
                if segment not in self._new and (waiting := self._taken(segment)):
                    self._try_to_write(segment, waiting)

    def forget(self, segments: Iterable[int]) -> None:
        """Never write again to the journals of segments that are about to be deleted."""
        with self._writing:
            with self._lock:
                for segment in segments:
                    self._waiting.pop(segment, None)
                    self._large.pop(segment, None)
                    self._forget(segment)
            if gone := [new.path for segment in segments if (new := self._new.pop(segment, None))]:
                self._note_settled(gone)

    def _taken(self, segment: int) -> _Waiting | None:
        with self._lock:
            waiting = self._waiting.pop(segment, None)
        return waiting if waiting and waiting.row.path not in self._broken else None

    def _hurry(self) -> None:
        self._is_stopping.set()
        self._has_work.set()

    def _run(self, worker: Worker) -> None:
        is_last = False
        while not is_last:
            self._has_work.wait()
            self._is_stopping.wait(self._interval_s)
            self._has_work.clear()
            is_last = worker.is_stopping
            try:
                self.write()
                self._settle(is_last=is_last)
                self._compact_some()
            except Exception:  # the top of a worker; the next start completes the journals
                logger.exception("the journals of segments cannot be written")

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
        last = ledger.last_segment_in(_folder_of(row, ledger)) if row else None
        if not row or not last or last.state == "expired":
            return None
        waiting = self._waiting.setdefault(last.id, _Waiting(last))
        waiting.sources[source] = row
        return waiting

    def _try_to_write(self, segment: int, waiting: _Waiting) -> None:
        try:
            self._write(segment, waiting)
        except OSError as error:
            self._note_failure(error)
            self._forget(segment)
            self._wait_again(segment, waiting)

    def _try_to_write_new(self, segments: Sequence[int]) -> None:
        """Write what waits of segments that have their entries in the shared journal, all at once."""
        waiting = {segment: found for segment in segments if segment in self._new and (found := self._taken(segment))}
        if not waiting:
            return
        chunks = {segment: self._chunk(self._new[segment], found) for segment, found in waiting.items()}
        try:
            self._shared.append(b"".join(chunks.values()))
        except OSError as error:
            self._note_failure(error)
            for segment, found in waiting.items():
                self._new[segment].sources.clear()
                self._wait_again(segment, found)
            return
        for segment, chunk in chunks.items():
            self._note_written(segment, self._new[segment], len(chunk), waiting[segment].row)

    def _chunk(self, new: _New, waiting: _Waiting) -> bytes:
        return b"".join((new.begin, *_entries(waiting, new.sources)))

    def _note_written(self, segment: int, new: _New, size: int, row: SegmentRow) -> None:
        new.size += size
        new.is_closed = row.state != "open"
        if new.is_closed or new.size > _OWN_AT_BYTES:
            self._ripe.add(segment)
        if segment in self._ripe or self._shared.size > _SHARED_AT_BYTES:
            self._has_work.set()

    def _settle(self, *, is_last: bool) -> None:
        """Give new segments their own journals, for a small part of the time. Never raises OSError."""
        end = time.monotonic() + _COMPACTION_SHARE * self._interval_s
        with self._writing:
            size = self._shared.size
            is_all = size > _SHARED_AT_BYTES or (is_last and len(self._new) <= _MAX_AT_CLOSE)
            segments = list(self._new if is_all else self._ripe)
        try:
            pieces = self._shared.read(0, size) if segments else {}
            for start in range(0, len(segments), _AT_A_TIME):
                with self._writing:
                    self._settle_some(segments[start : start + _AT_A_TIME], pieces, size)
                if time.monotonic() > end:
                    self._has_work.set()
                    break
            with self._writing:
                self._shorten_shared(pieces, size)
        except OSError as error:
            self._note_failure(error)
            self._has_work.set()

    def _settle_some(self, segments: Iterable[int], pieces: Pieces, size: int) -> None:
        """Write what the shared journal has about segments into their own journals. Raises OSError."""
        later = self._shared.read(size, self._shared.size)
        settled: list[str] = []
        for segment in segments:
            new = self._new.get(segment)
            if new and not self._has_own(new, [*pieces.get(new.path, ()), *later.get(new.path, ())]):
                self._has_work.set()
                continue
            self._ripe.discard(segment)
            if new:
                del self._new[segment]
                settled.append(new.path)
                if new.is_closed:
                    self._large[segment] = new.path
        if settled:
            self._note_settled(settled)

    def _has_own(self, new: _New, lines: Sequence[bytes]) -> bool:
        """Give a segment its own journal; return whether that worked."""
        try:
            descriptor, size = open_sized(self._own(new.path), _APPENDING)
            try:
                write_whole(descriptor, b"".join(lines), size=size)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._note_failure(error)
            return False
        return True

    def _note_settled(self, paths: Iterable[str]) -> None:
        """Note in the shared journal that it has nothing about segments; without that, it repeats their journals."""
        with contextlib.suppress(OSError):
            self._shared.append(b"".join(map(settled_entry, paths)))

    def _shorten_shared(self, pieces: Pieces, size: int) -> None:
        """Let the shared journal have new segments alone. Raises OSError."""
        if self._keeps_shared or not self._shared.size:
            return
        live = sum(new.size for new in self._new.values())
        if self._new and self._shared.size <= max(_SHARED_AT_BYTES, 2 * live):
            return
        later = self._shared.read(size, self._shared.size)
        paths = [new.path for new in self._new.values()]
        lines = [line for path in paths for line in (*pieces.get(path, ()), *later.get(path, ()))]
        self._shared.replace(lines)

    def _note_failure(self, error: OSError) -> None:
        cause = cause_of(error, with_path=True)
        message = "cannot write the journal of a segment: %s; it is written later, or completed at the next start"
        self._failures.log(logging.WARNING, "journal", message, printable(cause))

    def _forget(self, segment: int) -> None:
        self._known.pop(segment, None)
        if segment in self._open:
            os.close(self._open.pop(segment))

    def _wait_again(self, segment: int, waiting: _Waiting) -> None:
        if waiting.count() > _MAX_UNWRITTEN:
            self._broken.add(waiting.row.path)
            return
        with self._lock:
            waiting.put_before(self._waiting.setdefault(segment, _Waiting(waiting.row)))
        self._has_work.set()

    def _write(self, segment: int, waiting: _Waiting) -> None:
        path = waiting.row.path
        known = self._known_of(segment)
        descriptor = self._descriptor(waiting.row, known)
        is_begun = path not in self._not_begun
        if is_begun and not known.size:
            raise OSError(errno.ENOENT, "it is gone, or empty", self._own(path))
        begin = b"" if known.sources else b"\n"  # after a line that a crash may have left unfinished
        if not is_begun:
            begin += begin_entry(self._store_id, path)
        data = begin + b"".join(_entries(waiting, known.sources))
        write_whole(descriptor, data, size=known.size)
        self._not_begun.discard(path)
        known.size += len(data)
        is_closed = waiting.row.state != "open"
        if is_closed or known.size > max(_COMPACT_AT_BYTES, known.compact_at):
            self._large[segment] = waiting.row.path
            self._has_work.set()
        if is_closed:
            os.close(self._open.pop(segment))
            del self._known[segment]

    def _compact_some(self) -> None:
        """Write large and closed journals anew, one after the other, for a small part of the time."""
        end = time.monotonic() + _COMPACTION_SHARE * self._interval_s
        with self._writing:
            large = list(self._large.items())
        for segment, path in large:
            try:
                self._compact(segment, self._root / path)
            except OSError as error:
                with self._writing:
                    if self._large.pop(segment, None) is not None:  # otherwise it was deleted meanwhile
                        self._note_failure(error)
            if time.monotonic() > end:
                self._has_work.set()
                return

    def _compact(self, segment: int, path: Path) -> None:
        """Write a journal anew, each entry once. Others may add to it until it is replaced. Raises OSError."""
        with self._writing:
            size = size_of(journal_path(path))
        journal = read_journal(path, size=size)
        with self._writing:
            if self._large.pop(segment, None) is None or journal is None:
                return  # it was deleted meanwhile, or cannot be read
            data = b"".join(entries_of(journal)) + _content_from(path, size)
            replace_file(journal_path(path), data, mode=0o640, is_synced=False)
            if segment in self._open:
                os.close(self._open.pop(segment))
            if segment in self._known:
                self._known[segment].compact_at = 2 * len(data)

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
        descriptor, known.size = self._opened(row)
        self._open[row.id] = descriptor
        return descriptor

    def _opened(self, row: SegmentRow) -> tuple[int, int]:
        return open_sized(self._own(row.path), _APPENDING)

    def _own(self, path: str) -> str:
        return journal_name(f"{self._root}/{path}")  # not a Path: making one takes longer than opening the file


def _folder_of(row: SourceRow, ledger: Ledger) -> str:
    """Return the folder of the segments of a source, below `segments`: that of its last lines, if it has any."""
    segment = ledger.segment(row.last.segment) if row.last else None
    return os.path.dirname(segment.path) if segment else log_of_source(row.host, row.path).path


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


def _content_from(segment: Path, position: int) -> bytes:
    with open(open_file(journal_path(segment)), "rb") as file:
        file.seek(position)
        return file.read()
