"""Losses and unknown windows in the ledger: what of a source is not stored as it was, or may not be.

Both are bounded for each source: loss_limits.py decides when a row stands for several of them.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

from logferry.server.storage.disk.ledger.database.database import LedgerDatabase
from logferry.server.storage.loss_limits import joined_losses, joined_windows
from logferry.server.storage.records import LossRow, WindowRow

_LOSS_COLUMNS: Final = "source, start, end, reason, is_lost, rowid"


class LossRows(LedgerDatabase):
    """The tables `losses` and `windows`."""

    def add_loss(self, loss: LossRow) -> bool:
        """Record bytes that are not stored as they were; return whether they were not recorded before."""
        values = (loss.source, loss.start, loss.end, loss.reason, time.time(), int(loss.is_lost))
        if self._database.execute("INSERT OR IGNORE INTO losses VALUES (?, ?, ?, ?, ?, ?)", values).rowcount:
            return True
        if loss.is_lost:
            same = "source = ? AND start = ? AND end = ? AND reason = ?"
            self._database.execute(f"UPDATE losses SET is_lost = 1 WHERE {same} AND is_lost = 0", values[:4])
        return False

    def has_loss(self, loss: LossRow) -> bool:
        """Whether a loss is recorded by itself."""
        query = "SELECT 1 FROM losses WHERE source = ? AND start = ? AND end = ? AND reason = ?"
        return bool(self._query(query, (loss.source, loss.start, loss.end, loss.reason)))

    def count_losses(self, source_id: str, most: int) -> int:
        """Return how many losses of a source are recorded, at most `most`."""
        return self._count("losses", source_id, most)

    def count_windows(self, source_id: str, most: int) -> int:
        """Return how many unknown windows of a source are recorded, at most `most`."""
        return self._count("windows", source_id, most)

    def _count(self, table: str, source_id: str, most: int) -> int:
        query = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE source = ? LIMIT ?)"
        ((count,),) = self._query(query, (source_id, most))
        return int(count)

    def join_loss(self, loss: LossRow) -> bool:
        """Record a row that stands for several losses of a source: see loss_limits.py, and records.py."""
        same = "source = ? AND reason = ? AND is_lost = ?"
        query = f"SELECT {_LOSS_COLUMNS} FROM losses WHERE {same}"
        known = list(map(_loss, self._query(query, (loss.source, loss.reason, int(loss.is_lost)))))
        for row in known:
            loss = joined_losses(row, loss)
        if known == [loss]:
            return False
        self._database.executemany("DELETE FROM losses WHERE rowid = ?", ((row.number,) for row in known))
        return self.add_loss(loss)

    def join_window(self, window: WindowRow) -> bool:
        """Record a row that stands for several unknown windows of a source: see loss_limits.py."""
        same = "source = ? AND reason = ?"
        query = f"SELECT source, start, last_look, noticed, reason FROM windows WHERE {same}"
        known = [WindowRow(*row) for row in self._query(query, (window.source, window.reason))]
        for row in known:
            window = joined_windows(row, window)
        if known == [window]:
            return False
        keys = ((row.source, row.start, row.noticed) for row in known)
        self._database.executemany("DELETE FROM windows WHERE source = ? AND start = ? AND noticed = ?", keys)
        return self.add_window(window)

    def add_window(self, window: WindowRow) -> bool:
        """Record an unknown window; return whether it was not recorded before."""
        values = (window.source, window.start, window.last_look, window.noticed, window.reason, time.time())
        return self._database.execute("INSERT OR IGNORE INTO windows VALUES (?, ?, ?, ?, ?, ?)", values).rowcount > 0

    def losses(self, source_id: str, *, first: Sequence[int] = (0, 0), limit: int) -> list[LossRow]:
        """Return losses of a source, in order of start and number, from these two on.

        Raises OSError for a ledger before version 4, like the two functions below.
        """
        rows = self._query(
            f"SELECT {_LOSS_COLUMNS} FROM losses WHERE source = ? AND (start, rowid) >= (?, ?) "
            "ORDER BY start, rowid LIMIT ?",
            (source_id, *first, limit),
        )
        return list(map(_loss, rows))

    def losses_before_skips(self, source_id: str, *, limit: int) -> list[LossRow]:
        """Return losses of a source, those first that are lost and not only skipped."""
        query = f"SELECT {_LOSS_COLUMNS} FROM losses WHERE source = ? ORDER BY is_lost DESC, start LIMIT ?"
        return list(map(_loss, self._query(query, (source_id, limit))))

    def windows(self, source_id: str, *, first: Sequence[int] = (0, 0), limit: int) -> list[WindowRow]:
        """Return unknown windows of a source, in order of start and time of notice, from these two on."""
        query = (
            "SELECT source, start, last_look, noticed, reason FROM windows "
            "WHERE source = ? AND (start, noticed) >= (?, ?) ORDER BY start, noticed LIMIT ?"
        )
        return [WindowRow(*row) for row in self._query(query, (source_id, *first, limit))]


def _loss(row: Sequence[Any]) -> LossRow:
    source, start, end, reason, is_lost, number = row
    return LossRow(source, start, end, reason, bool(is_lost), number)
