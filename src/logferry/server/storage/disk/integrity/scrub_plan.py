"""What scrub does next: which segment is due, and when; how far it has come with comparing sizes.

Goes through the segments in the order of their numbers, a page at a time, so that a step costs the same however many
there are. Must never read a segment.
"""

import math
import time
from collections.abc import Mapping, Sequence

from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import SegmentRow


class ScrubPlan:
    """The order and the times of scrub, for its thread."""

    def __init__(self, *, interval_s: float, sizes_s: float) -> None:
        """Check each segment every `interval_s`, and the sizes of all every `sizes_s`."""
        self._interval_s = interval_s
        self._sizes_s = sizes_s
        self.sized_up_to = 0  # the number of the last segment whose size was compared in this round
        self._sizes_at = 0.0
        self._bytes = 0  # of the segments in this round
        self._total_bytes = 0  # of all segments, as of the last round
        self._after = 0  # the number of the last segment that was looked at for its check
        self._soonest_s = math.inf  # until the first check that is not due yet, as far as this round has come
        self.resume_at = 0.0  # the next segment has its turn
        self._postponed: dict[int, float] = {}  # until when, by number

    def is_sizing(self, now: float) -> bool:
        """Whether it is time to compare sizes."""
        return now >= self._sizes_at

    def has_sized(self, rows: Sequence[SegmentRow], now: float, *, is_end: bool) -> bool:
        """Note that the sizes of these segments are compared; return whether these were the last."""
        self._bytes += sum(row.bytes for row in rows if row.state != "expired")
        self.sized_up_to = 0 if is_end else rows[-1].id
        if is_end:
            self._total_bytes, self._bytes = self._bytes, 0
            self._sizes_at = now + self._sizes_s
        return is_end

    def next_due(self, ledger: Ledger, checked: Mapping[int, float], now: float, *, limit: int) -> SegmentRow | None:
        """Return the next segment that is due, among at most `limit` rows of the ledger. Raises OSError.

        `checked` is what the ledger does not have yet.
        """
        if now < self._next_turn():
            return None
        page = ledger.checked_segments(after=self._after, limit=limit)
        for row, checked_at in page:
            self._after = row.id
            due_in = self._due_in(row, checked.get(row.id, checked_at), now)
            if due_in <= 0:
                self._postponed.pop(row.id, None)
                return row
            self._soonest_s = min(self._soonest_s, due_in)
        if len(page) < limit:
            self.resume_at = now + min(self._soonest_s, self._interval_s)
            self._after, self._soonest_s = 0, math.inf
            self._postponed = {number: until for number, until in self._postponed.items() if until > now}
        return None

    def has_checked(self, row: SegmentRow, now: float) -> None:
        """Note that a segment had its turn; the next one waits, so that all are spread evenly."""
        self._soonest_s = min(self._soonest_s, self._interval_s)
        self.resume_at = now + self._interval_s * row.bytes / max(1, self._total_bytes, row.bytes)

    def postpone(self, row: SegmentRow, until: float) -> None:
        """Leave a segment alone until then; then it is due."""
        self._postponed[row.id] = until

    def wait_s(self, now: float) -> float:
        """Return how long nothing is to be done."""
        return max(0.0, min(self._next_turn(), self._sizes_at) - now)

    def _next_turn(self) -> float:
        return min(self.resume_at, *self._postponed.values(), math.inf)

    def _due_in(self, row: SegmentRow, checked_at: float, now: float) -> float:
        """Return in how many seconds a segment must be checked; a clock that was set back delays nothing."""
        if row.state == "expired":
            return math.inf
        if row.id in self._postponed:
            return self._postponed[row.id] - now
        return min(checked_at + self._interval_s - time.time(), self._interval_s)
