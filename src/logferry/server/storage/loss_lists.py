"""What one source has lost, in memory: its losses and unknown windows, each once, with the rows that stand for several.

The memory store keeps these lists; a store on a replicated log makes them anew from its messages.
"""

from dataclasses import dataclass, field
from operator import itemgetter

from logferry.protocol.messages.reports import RecordPlace
from logferry.server.storage.loss_limits import joined_losses, joined_windows
from logferry.server.storage.loss_pages import LOSSES, WINDOWS, Recorded
from logferry.server.storage.records import LossRow, WindowRow


@dataclass(slots=True)
class LossLists:
    """The methods are those of `SourceRecords`, for one source."""

    losses: list[LossRow] = field(default_factory=list)
    windows: list[WindowRow] = field(default_factory=list)

    def copy(self) -> "LossLists":
        """Return lists that change independently."""
        return LossLists(list(self.losses), list(self.windows))

    def add_loss(self, loss: LossRow) -> bool:
        """See SourceRecords; likewise below."""
        is_new = loss not in self.losses
        if is_new:
            self.losses.append(loss)
        return is_new

    def add_window(self, window: WindowRow) -> bool:
        is_new = window not in self.windows
        if is_new:
            self.windows.append(window)
        return is_new

    def join_loss(self, loss: LossRow) -> bool:
        same = [row for row in self.losses if (row.reason, row.is_lost) == (loss.reason, loss.is_lost)]
        for known in same:
            self.losses.remove(known)
            loss = joined_losses(known, loss)
        self.losses.append(loss)
        return same != [loss]

    def join_window(self, window: WindowRow) -> bool:
        same = [row for row in self.windows if row.reason == window.reason]
        for known in same:
            self.windows.remove(known)
            window = joined_windows(known, window)
        self.windows.append(window)
        return same != [window]

    def recorded(self, first: RecordPlace) -> list[Recorded]:
        """Return everything from a place on, in the order of pages (rule E34)."""
        everything: list[Recorded] = [
            *((RecordPlace(LOSSES, loss.start, number), loss) for number, loss in enumerate(self.losses)),
            *((RecordPlace(WINDOWS, window.start, window.noticed), window) for window in self.windows),
        ]
        return [entry for entry in sorted(everything, key=itemgetter(0)) if entry[0] >= first]
