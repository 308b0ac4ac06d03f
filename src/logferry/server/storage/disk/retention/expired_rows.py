"""Makes the ledger forget what retention has left of deleted segments, as far as nothing that anybody asks needs it.

Walks through the extents a page at a time, with pauses. Extents that follow each other in a source, and whose segments
are deleted, become one: `verify` still learns which range has expired, and how many lines. When a walk ends, deleted
segments to which no extent refers any more are forgotten, too, except for the newest of each log, whose name must not
come again. Must never touch an extent of a segment that is still there, how far a source is stored, or a loss.

Sources stay: a client asks for each one that it remembers, and would send the file again, or report it as lost, if the
store did not have it any more. Used by the writer thread alone, between two groups.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from logferry import checksum
from logferry.server.storage.disk.files.segment_forms import own_forms_of
from logferry.server.storage.disk.journals.journal import journal_path
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import Compression, ExtentRow, SegmentRow

PAGE_ROWS: Final = 1000  # a millisecond or two, and as much for the rows that are joined
PAUSE_S: Final = 10.0
PAUSE_OF_WALKS_S: Final = 600.0

# NDJSON of a joined extent. A client that is behind compares its file with whole extents.
MAX_JOINED_BYTES: Final = 256 * 1024 * 1024

# Deleted segments that one walk can forget; the others are for the next one.
_MAX_SEGMENTS: Final = 100_000

# A report has pages, each of which begins where the one before it ended; so extents must not change meanwhile.
_REPORT_S: Final = 600.0
_MAX_REPORTS: Final = 10_000

_Row = tuple[str, ExtentRow, bool]  # the source, the extent, and whether its segment is deleted


class RecentReports:
    """Which sources somebody has asked for a short time ago. Any thread may use it."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: dict[str, float] = {}
        self._all_until = 0.0  # too many were asked for

    def note(self, source: str) -> None:
        """Note that a page of the report on a source was asked for."""
        until = self._monotonic() + _REPORT_S
        if len(self._until) >= _MAX_REPORTS:
            self._all_until = until
            self._until = {}
        self._until[source] = until

    def has(self, source: str) -> bool:
        """Whether a source was asked for."""
        return self._monotonic() < max(self._all_until, self._until.get(source, 0.0))


class ExpiredRows:
    """What is left to look at of one walk through the ledger; a new one begins at its end."""

    def __init__(
        self,
        root: Path,
        ledger: Ledger,
        recent: "RecentReports",
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._recent = recent
        self._ledger = ledger
        self._monotonic = monotonic
        self._next_at = monotonic() + PAUSE_OF_WALKS_S  # a start has enough to do
        self._from: tuple[str, int] = ("", 0)
        self._unused: dict[int, SegmentRow] | None = None  # deleted, and no extent referred to them so far

    def forget_some(self) -> None:
        """Look at the next page if it is time to. Raises OSError; then a later call looks at the same page."""
        if self._monotonic() < self._next_at:
            return
        self._next_at = self._monotonic() + PAUSE_S
        if self._unused is None:
            self._unused = {row.id: row for row in self._ledger.segments("expired")[:_MAX_SEGMENTS]}
            if not self._unused:
                self._end_walk()
                return
        page = self._ledger.extents_from(self._from, limit=PAGE_ROWS)
        runs = list(_runs(page, self._recent.has))
        self._join(runs)
        for source, extent, _ in (run[0] for run in runs):
            self._from = (source, extent.start)
            self._unused.pop(extent.segment, None)
        if len(page) < PAGE_ROWS:
            self._forget_segments(self._unused.values())
            self._end_walk()

    def _end_walk(self) -> None:
        self._from, self._unused = ("", 0), None
        self._next_at = self._monotonic() + PAUSE_OF_WALKS_S

    def _join(self, runs: Sequence[Sequence[_Row]]) -> None:
        joined = [run for run in runs if len(run) > 1]
        if joined:
            with self._ledger.transaction():
                self._ledger.drop_extents((source, extent.start) for run in joined for source, extent, _ in run[1:])
                self._ledger.set_extents((run[0][0], _joined([extent for _, extent, _ in run])) for run in joined)

    def _forget_segments(self, rows: Iterable[SegmentRow]) -> None:
        """Forget segments that are really gone: a file that is left would be one that the ledger has lost."""
        gone = [row for row in rows if not _is_there(self._root / row.path, row.compression)]
        last = {place: self._last_in(place) for place in set(map(_place_of, gone))}
        if unused := [row.id for row in gone if last[_place_of(row)] != row.id]:
            with self._ledger.transaction():
                self._ledger.drop_segments(unused)

    def _last_in(self, place: int | str) -> int | None:
        """Return the number of the newest segment of a log, or of those in a folder that have no log."""
        if isinstance(place, str):
            return max(self._ledger.old_segments_in(place), default=None)
        last = self._ledger.last_segment_of(place)
        return last.id if last else None


def _place_of(row: SegmentRow) -> int | str:
    return os.path.dirname(row.path) if row.log is None else row.log


def _is_there(path: Path, compression: Compression) -> bool:
    return bool(own_forms_of(path, compression)) or os.path.lexists(journal_path(path))


def _runs(page: Iterable[_Row], is_asked_for: Callable[[str], bool]) -> Iterator[Sequence[_Row]]:
    """Yield the rows of a page, in order, those together that can be joined."""
    run: list[_Row] = []
    size = 0
    for row in page:
        if run and (not _can_follow(run[-1], row) or size + row[1].bytes > MAX_JOINED_BYTES or is_asked_for(row[0])):
            yield run
            run, size = [], 0
        run.append(row)
        size += row[1].bytes
    if run:
        yield run


def _can_follow(last: _Row, row: _Row) -> bool:
    (source, extent, is_deleted), (next_source, following, next_is_deleted) = last, row
    return is_deleted and next_is_deleted and (source, extent.end) == (next_source, following.start)


def _joined(extents: Sequence[ExtentRow]) -> ExtentRow:
    whole = extents[0]
    for extent in extents[1:]:
        whole = whole._replace(
            end=extent.end,
            lines=whole.lines + extent.lines,
            bytes=whole.bytes + extent.bytes,
            crc32=checksum.joined(whole.crc32, extent.crc32, extent.bytes),
        )
    return whole
