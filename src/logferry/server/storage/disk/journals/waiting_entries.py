"""What is not in the journals of segments yet: gathered from recorded groups, taken by who writes it.

Owns the limit of what waits for a journal that cannot be written, and which journals stay behind until the next start
because of it: their ends would hide what is missing before. Never touches a file; any thread may use it.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from logferry.errors import cause_of
from logferry.printable import printable
from logferry.server.storage.disk.journals.journal import (
    Origin,
    extent_entry,
    loss_entry,
    source_entry,
    state_entry,
    total_entry,
    window_entry,
)
from logferry.server.storage.disk.journals.recorded_group import RecordedGroup
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.log_names import log_of_source
from logferry.server.storage.records import ExtentRow, LossRow, SegmentRow, SourceRow, WindowRow
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# With more segments than this waiting in memory, they are written anyway.
_MAX_WAITING: Final = 50_000

# Entries that wait for a journal that cannot be written; with more, it stays behind until the next start.
_MAX_UNWRITTEN: Final = 10_000


@dataclass(slots=True)
class Waiting:
    """What is not in the journal of a segment yet; `row` is what the segment holds by now."""

    row: SegmentRow
    sources: dict[str, SourceRow] = field(default_factory=dict)
    extents: dict[tuple[str, int], ExtentRow] = field(default_factory=dict)
    lost: list[LossRow | WindowRow] = field(default_factory=list)

    def entries(self, known: set[str]) -> Iterator[bytes]:
        """Yield the entries of this; `known` are the sources that the journal has, and gets those that follow."""
        for source, row in self.sources.items():
            if source not in known:
                known.add(source)
                yield source_entry(source, Origin(row.owner, row.host, row.path))
        for (source, _), extent in self.extents.items():
            yield extent_entry(source, extent)
        for source, row in self.sources.items():
            yield state_entry(source, row)
        for lost in self.lost:
            yield loss_entry(lost) if isinstance(lost, LossRow) else window_entry(lost)
        yield total_entry(self.row.bytes, self.row.lines, self.row.crc32)

    def count(self) -> int:
        """Return how many entries wait."""
        return len(self.extents) + len(self.sources) + len(self.lost)

    def put_before(self, later: "Waiting") -> None:
        """Put this before what has come to wait since; the result is in `later`."""
        later.sources = self.sources | later.sources
        later.extents = self.extents | later.extents
        later.lost = self.lost + later.lost


_Places = dict[str, Waiting | None]
"""Where to note something about a source: the segment that has its newest lines, if there is one."""


class WaitingEntries:
    """What waits, by the numbers of segments. `_lock` guards it; the lock is never held while a file is written."""

    def __init__(self, incomplete: Iterable[str]) -> None:
        """Nothing is kept for segments whose journals are `incomplete`."""
        self._lock = threading.Lock()
        self._waiting: dict[int, Waiting] = {}
        self._broken: set[str] = set(incomplete)  # paths: a number can be that of another segment after a rollback
        self._failures = RepeatLimit(logger)

    def add(self, rows: Sequence[SegmentRow], group: RecordedGroup, ledger: Ledger) -> None:
        """Add a recorded group that has changed the segments `rows`. Never raises."""
        with self._lock:
            places = self._gather(rows, group)
            try:
                self._gather_losses(places, group, ledger)
            except OSError as error:
                message = "cannot write what is lost of a source into a journal: %s; the ledger has it"
                self._failures.log(logging.WARNING, "losses", message, printable(cause_of(error, with_path=True)))

    @property
    def count(self) -> int:
        """For how many segments something waits."""
        return len(self._waiting)

    @property
    def are_too_many(self) -> bool:
        """Whether so much waits that it must be written now."""
        return len(self._waiting) > _MAX_WAITING

    def segments(self) -> list[int]:
        """Return for which segments something waits."""
        with self._lock:
            return list(self._waiting)

    def take(self, segment: int) -> Waiting | None:
        """Return what waits for a segment, for the last time; None if nothing does, or its journal stays behind."""
        with self._lock:
            waiting = self._waiting.pop(segment, None)
        return waiting if waiting and waiting.row.path not in self._broken else None

    def put_back(self, segment: int, waiting: Waiting) -> bool:
        """Have what could not be written wait again; return whether it does: too much stays behind."""
        if waiting.count() > _MAX_UNWRITTEN:
            self._broken.add(waiting.row.path)
            return False
        with self._lock:
            waiting.put_before(self._waiting.setdefault(segment, Waiting(waiting.row)))
        return True

    def forget(self, segments: Iterable[int]) -> None:
        """Drop what waits for segments that are about to be deleted."""
        with self._lock:
            for segment in segments:
                self._waiting.pop(segment, None)

    def _gather(self, rows: Sequence[SegmentRow], group: RecordedGroup) -> _Places:
        """Add a group's lines to what waits; return the places of its sources."""
        for row in rows:
            waiting = self._waiting.get(row.id)
            if waiting:
                waiting.row = row
            else:
                self._waiting[row.id] = Waiting(row)
        places: _Places = {}
        for source, extent in group.extents:
            places[source] = waiting = self._waiting[extent.segment]
            waiting.extents[source, extent.start] = extent
            if source in group.sources:
                waiting.sources[source] = group.sources[source]
        return places

    def _gather_losses(self, places: _Places, group: RecordedGroup, ledger: Ledger) -> None:
        """Add what a group has lost to what waits. Raises OSError."""
        all_lost: list[LossRow | WindowRow] = [*group.losses, *group.windows]
        last_segments = _LastSegments(ledger)
        for source in (*group.moved, *(lost.source for lost in all_lost)):
            if source not in places:
                places[source] = self._last_of(group.row(source), last_segments)
        for lost in all_lost:
            if place := places[lost.source]:
                place.lost.append(lost)

    def _last_of(self, row: SourceRow | None, last_segments: "_LastSegments") -> Waiting | None:
        """Return where to note something about a source without new lines: the last segment of its log, if any."""
        last = last_segments.of(row) if row else None
        if not row or not last or last.state == "expired":
            return None
        waiting = self._waiting.setdefault(last.id, Waiting(last))
        waiting.sources[row.id] = row
        return waiting


class _LastSegments:
    """The last segments of logs, each looked up once in a group: a client may have thousands of sources in one log."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._segments: dict[int, SegmentRow | None] = {}
        self._logs: dict[tuple[str, str], int | None] = {}  # by host and path
        self._last: dict[int, SegmentRow | None] = {}  # of logs

    def of(self, row: SourceRow) -> SegmentRow | None:
        """Return the last segment of the log that has a source. Raises OSError."""
        last = self._segment(row.last.segment) if row.last else None
        log = self._log_of(row) if last is None or last.log is None else last.log
        if log is None:
            return last
        if log not in self._last:
            self._last[log] = self._ledger.last_segment_of(log)
        return self._last[log]

    def _segment(self, number: int) -> SegmentRow | None:
        if number not in self._segments:
            self._segments[number] = self._ledger.segment(number)
        return self._segments[number]

    def _log_of(self, row: SourceRow) -> int | None:
        """Return the log in which the next lines of a source will be, if it has any lines yet."""
        key = row.host, row.path
        if key not in self._logs:
            log = log_of_source(row.host, row.path)
            found = self._ledger.find_log(log.identity, log.host, log.path)
            self._logs[key] = found.id if found else None
        return self._logs[key]
