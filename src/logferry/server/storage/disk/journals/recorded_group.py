"""What one group records: passed on to the ledger, and remembered for the journals of segments (journals.py).

The writer thread owns it, for one group. Never writes to a file.
"""

from collections.abc import Iterable, Mapping

from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import ExtentRow, LossRow, SourceRecords, SourceRow, WindowRow


class RecordedGroup(SourceRecords):
    """Passes what a group records on to the ledger, and remembers it for the journals."""

    def __init__(self, ledger: Ledger, known: Mapping[str, SourceRow] | None = None) -> None:
        """`known` has sources as the ledger has them, so that they need not be looked up."""
        self._ledger = ledger
        self._known = known or {}
        self.sources: dict[str, SourceRow] = {}
        self.moved: list[str] = []
        self.extents: list[tuple[str, ExtentRow]] = []
        self.losses: list[LossRow] = []
        self.windows: list[WindowRow] = []

    def row(self, source_id: str) -> SourceRow | None:
        """Return a source as it is once the group is recorded. Raises OSError."""
        return self.sources.get(source_id) or self._known.get(source_id) or self._ledger.source(source_id)

    def source(self, source_id: str, /) -> SourceRow | None:
        """See SourceRecords; likewise below."""
        return self._ledger.source(source_id)

    def add_sources(self, rows: Iterable[SourceRow], /) -> None:
        new = list(rows)
        self.sources.update((row.id, row) for row in new)
        self._ledger.add_sources(new)

    def set_owners(self, rows: Iterable[SourceRow], /) -> None:
        self._ledger.set_owners(rows)

    def set_sources(self, rows: Iterable[SourceRow], /) -> None:
        moved = list(rows)
        self.sources.update((row.id, row) for row in moved)
        self.moved = [row.id for row in moved]
        self._ledger.set_sources(moved)

    def set_extents(self, extents: Iterable[tuple[str, ExtentRow]], /) -> None:
        self.extents = list(extents)
        self._ledger.set_extents(self.extents)

    def add_loss(self, loss: LossRow, /) -> bool:
        is_new = self._ledger.add_loss(loss)
        if is_new:
            self.losses.append(loss)
        return is_new

    def add_window(self, window: WindowRow, /) -> bool:
        is_new = self._ledger.add_window(window)
        if is_new:
            self.windows.append(window)
        return is_new

    def count_losses(self, source_id: str, most: int, /) -> int:
        return self._ledger.count_losses(source_id, most)

    def count_windows(self, source_id: str, most: int, /) -> int:
        return self._ledger.count_windows(source_id, most)

    def has_loss(self, loss: LossRow, /) -> bool:
        return self._ledger.has_loss(loss)

    def join_loss(self, loss: LossRow, /) -> bool:
        is_new = self._ledger.join_loss(loss)
        if is_new:
            self.losses.append(loss)
        return is_new

    def join_window(self, window: WindowRow, /) -> bool:
        is_new = self._ledger.join_window(window)
        if is_new:
            self.windows.append(window)
        return is_new
