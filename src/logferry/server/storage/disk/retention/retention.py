"""Retention: deletes segments that are too old or exceed the size limit, oldest first, and records that in the ledger.

A segment becomes "expired" in the ledger before its file is deleted. What expires together is deleted in steps; after a
crash in between, the next start goes on. Folders that become empty are removed. Never deletes an open segment; open
segments from earlier days are closed first. The size limit counts a segment, as large as its file is, with its journal.
It does not count surplus (surplus.py): lines that are stored must not make room for what may never have been acked.
Surplus goes with its segment, which is logged.
"""

import datetime
import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from logferry.server.storage.disk.files.emptied_folders import remove_emptied
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.files.surplus import delete_segment
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.ledger.tables.times import TimesRow
from logferry.server.storage.disk.retention.kept_segments import KeptSegments, day_of
from logferry.server.storage.disk.segments.open_segments import OpenSegments
from logferry.server.storage.records import SegmentRow
from logferry.telemetry.log_limits import RateLimit

logger = logging.getLogger(__name__)

_MESSAGES_PER_SECOND: Final = 10

# Segments that are deleted together; what is to be stored waits meanwhile. A new day may find a hundred thousand.
_DELETIONS: Final = 16

# Changed forms that are noted until the next segment begins. Without limits, nobody takes them.
_MAX_CHANGES: Final = 10_000


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
        self.on_expired: Callable[[Collection[int]], object] = lambda _: None  # with their numbers, before the deletion
        self.last_times: Callable[[Iterable[int]], Sequence[TimesRow]] = lambda _: ()  # what ends with closed segments
        self._applied: tuple[int, datetime.date, RetentionLimits] | None = None  # the last time: see `apply`
        self.undeleted = deque[SegmentRow]()  # expired in the ledger; their files are still there
        self._failed = 0  # of `undeleted`, the last ones: the next segment or day tries again
        self._kept: KeptSegments | None = None  # not read yet, or not certain after a failure
        self._changed = deque[int](
            maxlen=_MAX_CHANGES
        )  # segments that were compressed, or made plain; other threads add to it
        self._counted_bytes = 0
        self._log = RateLimit(logger, per_second=_MESSAGES_PER_SECOND, what="segments that retention deleted")

    def apply(self, today: datetime.date, opened: OpenSegments, stored_bytes: int) -> bool:
        """Find expired segments if a segment or a day has begun, or the limits have changed, since the last call.

        Deletes a few of those that are not deleted yet. `stored_bytes` is what groups have stored since the start.
        Returns whether there was something to do. Raises OSError.
        """
        limits = self.limits
        now = (opened.segments_begun, today, limits)
        is_due = any(limits) and now != self._applied
        if is_due:
            try:
                self._expire(self._up_to_date(today, limits, opened, stored_bytes), today, limits)
            except OSError:
                self._kept = None
                self.delete_some(opened)  # of what has expired before: that may be what makes room
                raise
            self._applied = now
            self._failed = 0
        has_more = self.has_more
        self.delete_some(opened)
        return is_due or has_more

    def note_change(self, segment: int) -> None:
        """Note that a segment was compressed, or made plain. Any thread may call this."""
        self._changed.append(segment)

    @property
    def has_more(self) -> bool:
        """Whether `apply` has segments to delete whatever is stored meanwhile."""
        return len(self.undeleted) > self._failed

    def delete_some(self, opened: OpenSegments) -> None:
        """Delete a few segments that have expired; what cannot be deleted waits behind the others. Raises OSError."""
        failure: OSError | None = None
        for _ in range(min(_DELETIONS, len(self.undeleted) - self._failed)):
            row = self.undeleted.popleft()
            path = self._root / row.path
            try:
                surplus = delete_segment(path, self._files, row.compression)
            except OSError as error:
                self.undeleted.append(row)
                self._failed += 1
                failure = failure or error
                continue
            opened.forget_folders(remove_emptied(self._root, os.path.dirname(row.path)))
            with_surplus = f", and {surplus} bytes of surplus beside it" if surplus else ""
            self._log.log(logging.INFO, "retention: deleted %s, %d lines%s", path, row.lines, with_surplus)
        if failure:
            raise failure

    def _up_to_date(
        self, today: datetime.date, limits: RetentionLimits, opened: OpenSegments, stored_bytes: int
    ) -> KeptSegments:
        """Return what is kept now; read it from the ledger if it is not known, or was read for other limits."""
        begun, closed = opened.take_changes()
        changed = [self._changed.popleft() for _ in range(len(self._changed))]
        if self._applied is None or self._applied[1:] != (today, limits) or self._kept is None:
            closed += self._close_former_days(today, opened)
        if self._kept is None or self._applied is None or self._applied[2] != limits:
            self._kept = KeptSegments(self._root, self._ledger, by_age=limits.max_bytes > 0, by_day=limits.max_days > 0)
        else:
            self._kept.bytes += stored_bytes - self._counted_bytes
            self._kept.begun(begun)
            self._kept.closed(closed)
            self._kept.changed(changed)
            self._kept.look()
        self._counted_bytes = stored_bytes
        return self._kept

    def _expire(self, kept: KeptSegments, today: datetime.date, limits: RetentionLimits) -> None:
        first_day = (today - datetime.timedelta(limits.max_days)).isoformat() if limits.max_days else ""
        expired = kept.expire(max_bytes=limits.max_bytes, first_day=first_day)
        if not expired:
            return
        with self._ledger.transaction():
            self._ledger.set_segments(row._replace(state="expired") for row in expired)
            self._ledger.drop_indexes(row.id for row in expired)
        self.on_expired([row.id for row in expired])
        self.undeleted += expired

    def close(self) -> None:
        """Log how many messages the rate limit left out."""
        self._log.flush()

    def _close_former_days(self, today: datetime.date, opened: OpenSegments) -> list[int]:
        """Close segments of earlier days, which are not written again; return their numbers. Raises OSError."""
        opened.close_days_before(today.isoformat())
        former = [row for row in self._ledger.segments("open") if day_of(row) < today.isoformat()]
        if former:
            with self._ledger.transaction():
                self._ledger.set_segments(row._replace(state="closed") for row in former)
                self._ledger.set_times(self.last_times(row.id for row in former))
        return [row.id for row in former]
