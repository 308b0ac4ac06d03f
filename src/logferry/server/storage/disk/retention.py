"""Retention: deletes whole segments that are too old or too much, oldest first, and records that in the ledger.

A segment becomes "expired" in the ledger first, then its file is deleted. A crash in between leaves the file of an
expired segment; recovery deletes it. Never deletes an open segment; one of a former day is closed first.
"""

import datetime
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from logferry.server.storage.disk.file_system import FileSystem, naming
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.open_segments import OpenSegments
from logferry.server.storage.disk.segment_names import segment_name
from logferry.server.storage.records import SegmentRow
from logferry.telemetry.log_limits import RateLimit

logger = logging.getLogger(__name__)

_MESSAGES_PER_SECOND: Final = 10


class Retention:
    """Keeps at most `max_bytes` bytes, and segments of the last `max_days` days; 0 sets no limit.

    Used by the writer thread, and before that starts by the thread that opens the store.
    """

    def __init__(self, root: Path, ledger: Ledger, files: FileSystem, *, max_bytes: int, max_days: int) -> None:
        self._root = root
        self._ledger = ledger
        self._files = files
        self._max_bytes = max_bytes
        self._max_days = max_days
        self._begun = -1  # segments begun when it was last applied
        self._day: datetime.date | None = None
        self._undeleted: list[SegmentRow] = []
        self._log = RateLimit(logger, per_second=_MESSAGES_PER_SECOND, what="segments that retention deleted")

    def apply(self, today: datetime.date, opened: OpenSegments) -> bool:
        """Delete what is not kept, if a segment or a day has begun since the last time; return whether one had.

        Raises OSError.
        """
        if not (self._max_bytes or self._max_days) or (opened.segments_begun, today) == (self._begun, self._day):
            return False
        self._close_former_days(today, opened)
        expired = self._choose(self._ledger.segments("open", "closed"), today)
        with self._ledger.transaction():
            self._ledger.set_segments(replace(row, state="expired") for row in expired)
        self._begun, self._day = opened.segments_begun, today
        self._undeleted += expired
        while self._undeleted:
            path = self._root / self._undeleted[0].path
            with naming(path):
                self._files.delete(path)
            row = self._undeleted.pop(0)
            self._log.log(logging.INFO, "retention: deleted %s, %d lines", path, row.lines)
        return True

    def close(self) -> None:
        """Log what was left out of the log."""
        self._log.flush()

    def _close_former_days(self, today: datetime.date, opened: OpenSegments) -> None:
        opened.close_days_before(today.isoformat())
        with self._ledger.transaction():
            for row in self._ledger.segments("open"):
                if _day_of(row) < today.isoformat():
                    self._ledger.set_segment(replace(row, state="closed"))

    def _choose(self, rows: Sequence[SegmentRow], today: datetime.date) -> list[SegmentRow]:
        """Return the closed ones of `rows` (oldest first) that are not to be kept."""
        total = sum(row.bytes for row in rows)
        first_day = (today - datetime.timedelta(self._max_days)).isoformat() if self._max_days else ""
        expired: list[SegmentRow] = []
        for row in rows:
            is_too_much = self._max_bytes and total > self._max_bytes
            if row.state == "closed" and (is_too_much or _day_of(row) < first_day):
                expired.append(row)
                total -= row.bytes
        return expired


def _day_of(row: SegmentRow) -> str:
    name = segment_name(os.path.basename(row.path))
    return name.day if name else ""
