"""Which folder each log has: the one that the ledger records, or the first proposed one that is free.

Owns the rule what is free. A folder in which segments without a log lie (they are older than version 6 of the ledger)
belongs to nobody else, except that the lines of a plain-protocol peer go on in their old folder. Used by the writer
thread; never touches a file.
"""

from typing import Final

from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.log_names import LogName, proposed_folders
from logferry.server.storage.records import LogRow

_NEW: Final = 0


class LogFolders:
    """The folders of logs. Methods raise OSError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._has_old = ledger.has_old_segments()

    def of(self, log: LogName) -> LogRow:
        """Return the row of a log. One that is not recorded has the number 0: create its folder, then `record` it."""
        known = self._ledger.find_log(log.identity, log.host, log.path)
        if known:
            return known
        folder = next(folder for folder in proposed_folders(log) if self._is_free(folder, log))
        return LogRow(_NEW, folder, log.identity, log.host, log.path)

    def record(self, row: LogRow) -> LogRow:
        """Return the row as the ledger has it from now on."""
        if row.id != _NEW:
            return row
        with self._ledger.transaction():
            added = self._ledger.add_log(row.folder, row.identity, row.host, row.path)
            if self._has_old and not row.path:
                self._ledger.give_old_segments(row.folder, added.id)
        return added

    def _is_free(self, folder: str, log: LogName) -> bool:
        if self._ledger.log_in(folder):
            return False
        return not (self._has_old and log.path and self._ledger.old_segments_in(folder))
