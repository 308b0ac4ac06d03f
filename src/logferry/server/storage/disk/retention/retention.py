"""Retention: deletes segments that are too old or exceed the size limit, oldest first, and records that in the ledger.

A segment becomes "expired" in the ledger before its file is deleted. After a crash in between, recovery deletes the
file. Never deletes an open segment; open segments from earlier days are closed first. The size limit counts a segment
with its journal. It does not count surplus (surplus.py): lines that are stored must not make room for what may never
have been acked. Surplus goes with its segment, which is logged.
"""

import datetime
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.files.regular import size_of
from logferry.server.storage.disk.files.segment_names import segment_name
from logferry.server.storage.disk.files.surplus import delete_segment
from logferry.server.storage.disk.journals.journal import journal_path
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.segments.open_segments import OpenSegments
from logferry.server.storage.records import SegmentRow
from logferry.telemetry.log_limits import RateLimit

logger = logging.getLogger(__name__)

_MESSAGES_PER_SECOND: Final = 10

_OPEN_JOURNALS_S: Final = 60.0


class RetentionLimits(NamedTuple):
    """Keep at most `max_bytes` bytes, and segments of the last `max_days` days; 0 means no limit."""

    max_bytes: int
    max_days: int


class Retention:
    """Keeps what its limits allow.

    The writer thread uses it; before that thread starts, the thread that opens the store does. Any thread may replace
    `limits`.
    """

    def __init__(self, root: Path, ledger: Ledger, files: FileSystem, *, max_bytes: int, max_days: int) -> None:
        self._root = root
        self._ledger = ledger
        self._files = files
        self.limits = RetentionLimits(max_bytes, max_days)
        self.on_expired: Callable[[Iterable[int]], object] = lambda _: None  # with their numbers, before the deletion
        self._applied: tuple[int, datetime.date, RetentionLimits] | None = None  # the last time: see `apply`
        self._undeleted: list[SegmentRow] = []
        self._journals = _JournalSizes(root)
        self._log = RateLimit(logger, per_second=_MESSAGES_PER_SECOND, what="segments that retention deleted")

    def apply(self, today: datetime.date, opened: OpenSegments) -> bool:
        """Delete expired segments if a segment or a day has begun, or the limits have changed, since the last call.

        Returns whether one of these was so. Raises OSError.
        """
        limits = self.limits
        now = (opened.segments_begun, today, limits)
        if not any(limits) or now == self._applied:
            return False
        self._close_former_days(today, opened)
        rows = self._ledger.segments("open", "closed")
        expired = _choose(rows, today, limits, self._journals.sizes(rows) if limits.max_bytes else {})
        with self._ledger.transaction():
            self._ledger.set_segments(replace(row, state="expired") for row in expired)
        self._applied = now
        self.on_expired([row.id for row in expired])
        self._undeleted += expired
        while self._undeleted:
            path = self._root / self._undeleted[0].path
            surplus = delete_segment(path, self._files)
            row = self._undeleted.pop(0)
            with_surplus = f", and {surplus} bytes of surplus beside it" if surplus else ""
            self._log.log(logging.INFO, "retention: deleted %s, %d lines%s", path, row.lines, with_surplus)
        return True

    def close(self) -> None:
        """Log how many messages the rate limit left out."""
        self._log.flush()

    def _close_former_days(self, today: datetime.date, opened: OpenSegments) -> None:
        opened.close_days_before(today.isoformat())
        with self._ledger.transaction():
            for row in self._ledger.segments("open"):
                if _day_of(row) < today.isoformat():
                    self._ledger.set_segment(replace(row, state="closed"))


class _JournalSizes:
    """How many bytes the journals of segments have, by the numbers of the segments.

    Looks once at the journal of a closed segment, which hardly changes, and once a minute at those of open ones, and at
    those that are not there yet: a store may begin a segment thousands of times in a row. Does not count the journal
    that new segments share, because deleting segments would not make it smaller.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._of_closed: dict[int, int] = {}
        self._of_open: dict[int, int] = {}
        self._open_until = 0.0

    def sizes(self, rows: Sequence[SegmentRow]) -> Mapping[int, int]:
        """Return the sizes for these segments."""
        if time.monotonic() >= self._open_until:
            self._of_open.clear()
            self._open_until = time.monotonic() + _OPEN_JOURNALS_S
        sizes: dict[int, int] = {}
        closed: dict[int, int] = {}
        for row in rows:
            size = self._of_open.get(row.id)
            if row.state == "closed" and size != 0:
                size = self._of_closed.get(row.id)
            size = journal_bytes(self._root / row.path) if size is None else size
            known = closed if row.state == "closed" and size else self._of_open
            sizes[row.id] = known[row.id] = size
        self._of_closed = closed  # without those that are deleted
        return sizes


def journal_bytes(segment: Path) -> int:
    """Return how many bytes the journal of a segment has; 0 if it cannot be seen."""
    try:
        return size_of(journal_path(segment))
    except OSError:
        return 0


def _choose(
    rows: Sequence[SegmentRow], today: datetime.date, limits: RetentionLimits, journals: Mapping[int, int]
) -> list[SegmentRow]:
    """Return the closed segments among `rows` (oldest first) that must be deleted."""
    total = sum(row.bytes for row in rows) + sum(journals.values())
    first_day = (today - datetime.timedelta(limits.max_days)).isoformat() if limits.max_days else ""
    expired: list[SegmentRow] = []
    for row in rows:
        is_too_much = limits.max_bytes and total > limits.max_bytes
        if row.state == "closed" and (is_too_much or _day_of(row) < first_day):
            expired.append(row)
            total -= row.bytes + journals.get(row.id, 0)
    return expired


def _day_of(row: SegmentRow) -> str:
    name = segment_name(os.path.basename(row.path))
    return name.day if name else ""
