"""Logs in the ledger: the folder below `segments` in which the lines of a host and path are.

A log keeps its folder, and no two logs share one: log_names.py proposes a folder, and the one that is recorded here
counts. Segments from before version 6 have no log.
"""

from typing import Final

from logferry.server.storage.disk.ledger.tables.checked import CheckedRows
from logferry.server.storage.records import LogRow

_COLUMNS: Final = "id, folder, identity, host, path"


class LogRows(CheckedRows):
    """The table `logs`."""

    def add_log(self, folder: str, identity: str, host: str, path: str) -> LogRow:
        """Record a new log."""
        values = (folder, identity, host, path)
        cursor = self._database.execute("INSERT INTO logs (folder, identity, host, path) VALUES (?, ?, ?, ?)", values)
        assert cursor.lastrowid is not None
        return LogRow(cursor.lastrowid, *values)

    def find_log(self, identity: str, host: str, path: str) -> LogRow | None:
        """Return the log of a host and path; None if it has none yet."""
        where = "identity = ? AND host = ? AND path = ?"
        rows = self._query(f"SELECT {_COLUMNS} FROM logs WHERE {where}", (identity, host, path))
        return self._log(rows[0]) if rows else None

    def log(self, number: int) -> LogRow | None:
        """Return a log by its number."""
        rows = self._query(f"SELECT {_COLUMNS} FROM logs WHERE id = ?", (number,))
        return self._log(rows[0]) if rows else None

    def log_in(self, folder: str) -> LogRow | None:
        """Return the log that has a folder."""
        rows = self._query(f"SELECT {_COLUMNS} FROM logs WHERE folder = ?", (folder,))
        return self._log(rows[0]) if rows else None

    def logs(self) -> list[LogRow]:
        """Return all logs, by their numbers. Raises OSError for a ledger before version 6."""
        return [self._log(row) for row in self._query(f"SELECT {_COLUMNS} FROM logs ORDER BY id")]
