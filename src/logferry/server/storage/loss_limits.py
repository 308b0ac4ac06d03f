"""How much is recorded as lost of one source: each loss and unknown window by itself up to a limit, the rest together.

Owns the limits, and the row that stands for what is beyond them. Whatever a client reports, the work for a group is in
proportion to the group, and what a ledger keeps of a source is bounded; nothing that is lost goes unrecorded.
"""

from collections.abc import Iterable
from typing import Final

from logferry.server.storage.records import LossRow, SourceRecords, WindowRow

# A file that is rotated away unread every hour has this many losses in six weeks, all of which `verify` lists. A ledger
# keeps about 200 bytes of each.
MAX_LOSSES: Final = 1000
MAX_WINDOWS: Final = 1000

# Sources whose numbers are kept in memory, about 100 bytes each.
MAX_COUNTS: Final = 20_000

# The reasons of rows that stand for several. A client may send the same texts, so nothing may be lost when a row of its
# own is taken for such a row.
REASON: Final = "these and other bytes: the source has more losses than are kept one by one"
WINDOW_REASON: Final = "the first and the last of several: the source has more than are kept one by one"


class LossCounts:
    """How many losses and unknown windows are recorded of sources: counting them again takes a thousand rows."""

    def __init__(self) -> None:
        self.losses: dict[str, int] = {}
        self.windows: dict[str, int] = {}

    def update(self, later: "LossCounts") -> None:
        """Add what a group has recorded. Beyond a bound, what was added first is counted again when it is needed."""
        for known, new in ((self.losses, later.losses), (self.windows, later.windows)):
            known.update(new)
            while len(known) > MAX_COUNTS:
                del known[next(iter(known))]


class LossLimits:
    """Records the losses and windows of a group. Counts what a source has once, however many the group adds.

    `counts` has the numbers that this group leaves; `known` those that are recorded before it, as far as it has them.
    """

    def __init__(self, records: SourceRecords, known: LossCounts | None = None) -> None:
        self._records = records
        self._known = known or LossCounts()
        self.counts = LossCounts()
        self._further_losses: dict[tuple[str, bool], LossRow] = {}
        self._further_windows: dict[str, WindowRow] = {}

    def add_loss(self, loss: LossRow) -> bool:
        """Record a loss; return whether it is the first report of it that is recorded by itself."""
        count = self.counts.losses.get(loss.source, self._known.losses.get(loss.source))
        if count is None:
            count = self._records.count_losses(loss.source, MAX_LOSSES)
        is_new = count < MAX_LOSSES and self._records.add_loss(loss)
        self.counts.losses[loss.source] = count + is_new
        if count >= MAX_LOSSES and not self._records.has_loss(loss):
            key = loss.source, loss.is_lost
            self._further_losses[key] = joined_losses(self._further_losses.get(key), loss)
        return is_new

    def add_window(self, window: WindowRow) -> bool:
        """Record an unknown window; return as above."""
        count = self.counts.windows.get(window.source, self._known.windows.get(window.source))
        if count is None:
            count = self._records.count_windows(window.source, MAX_WINDOWS)
        is_new = count < MAX_WINDOWS and self._records.add_window(window)
        self.counts.windows[window.source] = count + is_new
        if count >= MAX_WINDOWS:
            self._further_windows[window.source] = joined_windows(self._further_windows.get(window.source), window)
        return is_new

    def finish(self) -> None:
        """Record what is beyond the limits: one row for each source."""
        for loss in self._further_losses.values():
            self._records.join_loss(loss)
        for window in self._further_windows.values():
            self._records.join_window(window)


def joined_losses(known: LossRow | None, loss: LossRow) -> LossRow:
    """Return the row that stands for two losses of a source; the first may be such a row already."""
    both: Iterable[LossRow] = (known, loss) if known else (loss,)
    return LossRow(loss.source, min(row.start for row in both), max(row.end for row in both), REASON, loss.is_lost)


def joined_windows(known: WindowRow | None, window: WindowRow) -> WindowRow:
    """Return the row that stands for two windows, as above."""
    both: Iterable[WindowRow] = (known, window) if known else (window,)
    return WindowRow(
        window.source,
        min(row.start for row in both),
        min(row.last_look for row in both),
        max(row.noticed for row in both),
        WINDOW_REASON,
    )
