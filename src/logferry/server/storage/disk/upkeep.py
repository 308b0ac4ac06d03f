"""What the writer does between two groups: tidies segments, deletes expired segments, forgets rows that nobody needs.

Owns that a failure of these does no harm: it is logged once, and the next segment or day tries again. Used by the
writer thread, and before that thread starts by the one that opens the store; any thread may ask to tidy a segment.
"""

import datetime
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from logferry.errors import cause_of
from logferry.server.storage.disk.retention.expired_rows import ExpiredRows
from logferry.server.storage.disk.retention.retention import Retention
from logferry.server.storage.disk.retention.unused_sources import UnusedSources
from logferry.server.storage.disk.segments.segments import Segments
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# What fails, for the limit of log messages.
_RETENTION: Final = "retention"
_UNUSED_ROWS: Final = "unused rows"


class Upkeep:
    """See above."""

    def __init__(self, segments: Segments, retention: Retention, today: Callable[[], datetime.date]) -> None:
        self._segments = segments
        self._retention = retention
        self._today = today
        self.stored_bytes: Callable[[], int] = lambda: 0  # by groups, since the start
        self.walks: Sequence[UnusedSources | ExpiredRows] = ()  # through the ledger, a little after each group
        self._to_tidy: deque[int] = deque()  # repairs add to it, the writer thread takes from it
        self._repeats = RepeatLimit(logger)

    def tidy_soon(self, segment: int) -> None:
        """Have an open segment tidied after the next group."""
        self._to_tidy.append(segment)

    @property
    def has_more(self) -> bool:
        """Whether `after_group` has something to do although no group was stored."""
        return self._retention.has_more

    def after_group(self) -> None:
        """Do what is due. Never raises OSError."""
        self.apply()
        try:
            for walk in self.walks:
                walk.forget_some()
        except OSError as error:
            message = "cannot delete from the ledger what nobody needs any more, trying again later: %s"
            self._repeats.log(logging.WARNING, _UNUSED_ROWS, message, cause_of(error, with_path=True))

    def make_room(self) -> bool:
        """Do what deletes a few expired segments; return whether there are more. Never raises OSError."""
        self.apply()
        return self.has_more

    def delete_expired(self) -> None:
        """Delete a few segments that have expired already, and touch nothing else, because a group is half stored.

        Never raises OSError.
        """
        try:
            self._retention.delete_some(self._segments.opened)
        except OSError as error:
            self._report_undeleted(error)

    def apply(self) -> None:
        """Tidy segments, and delete a few expired segments. Never raises OSError."""
        try:
            while self._to_tidy:
                self._segments.opened.tidy(self._to_tidy.popleft())
            if self._retention.apply(self._today(), self._segments.opened, self.stored_bytes()):
                self._repeats.all_over()
        except OSError as error:
            self._report_undeleted(error)

    def _report_undeleted(self, error: OSError) -> None:
        message = "cannot delete expired segments, trying again with the next one: %s"
        self._repeats.log(logging.WARNING, _RETENTION, message, cause_of(error, with_path=True))
