"""Starts of the server in the ledger, with what each found: `logferry explain` shows them where they happened."""

from typing import Final, NamedTuple

from logferry.server.storage.disk.ledger.database.database import LedgerDatabase

# A server that a supervisor starts again and again fills no more.
MOST_STARTS: Final = 1000

_SINCE: Final = 6


class StartRow(NamedTuple):
    """A start (milliseconds of Unix time): bytes that were moved aside, and segments that held less than was acked."""

    at: int
    moved_bytes: int
    too_short: int


class StartRows(LedgerDatabase):
    """The table `starts`."""

    def note_start(self, row: StartRow) -> None:
        """Record a start, and forget the oldest beyond the last thousand. Raises OSError."""
        with self.transaction():
            self._database.execute("INSERT INTO starts VALUES (?, ?, ?)", row)
            self._database.execute(
                "DELETE FROM starts WHERE rowid NOT IN (SELECT rowid FROM starts ORDER BY rowid DESC LIMIT ?)",
                (MOST_STARTS,),
            )

    def starts_between(self, since: int, until: int, *, limit: int) -> list[StartRow]:
        """Return the starts between two times, oldest first. Raises OSError."""
        if self.version < _SINCE:
            return []
        query = "SELECT at, moved_bytes, too_short FROM starts WHERE at BETWEEN ? AND ? ORDER BY at LIMIT ?"
        return [StartRow(int(row[0]), int(row[1]), int(row[2])) for row in self._query(query, (since, until, limit))]
