"""Which values the ledger may have, and what becomes of a row with others.

SQLite takes any value in any column, and its own check finds nothing wrong with one. A row of a segment is checked
whenever it is read, because its path is that of a file to read, cut or delete; `fsck` checks all rows of all tables.
"""

from collections.abc import Sequence
from typing import Any, Final, get_args

from logferry.server.storage.disk.files.segment_names import is_segment_path
from logferry.server.storage.disk.ledger.database import LedgerDatabase, damaged
from logferry.server.storage.records import SegmentRow, SegmentState

_STATES: Final = get_args(SegmentState)


def _wrong(*, numbers: str, texts: str) -> str:
    """Return the condition that is true for rows in which one of these columns has a value that it must not have."""
    bad_numbers = (f"typeof({name}) != 'integer' OR {name} < 0" for name in numbers.split())
    return " OR ".join((*bad_numbers, *(f"typeof({name}) != 'text'" for name in texts.split())))


_WRONG_VALUES: Final = {
    "sources": _wrong(numbers="committed lines crc32", texts="id client host path"),
    "segments": _wrong(numbers="id bytes lines crc32", texts="path")
    + f" OR state NOT IN ({', '.join(map(repr, _STATES))})",
    "extents": _wrong(numbers="start end lines crc32 segment position bytes", texts="source") + " OR end < start",
    "losses": _wrong(numbers="start end", texts="source reason") + " OR end < start",
    "windows": _wrong(numbers="start last_look noticed", texts="source reason"),
    "damage": _wrong(numbers="start segment", texts="source"),
}


class CheckedRows(LedgerDatabase):
    """A ledger whose rows of segments are checked."""

    def _segment(self, values: Sequence[Any]) -> SegmentRow:
        """Return a row of a segment. Raises DamagedLedger: nothing is read, cut or deleted because of a forged row."""
        number, path, *sizes, state = values
        is_whole = all(type(value) is int and value >= 0 for value in (number, *sizes))
        if not is_whole or state not in _STATES or type(path) is not str or not is_segment_path(path):
            raise damaged(self.path, f"segment {number!r} has values that no store has written")
        return SegmentRow(*values)

    def wrong_values(self) -> list[str]:
        """Return which tables have rows with values that no store has written. Reads all rows. Raises OSError."""
        found = []
        for table, conditions in _WRONG_VALUES.items():
            if not self._query("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)):
                continue  # of an earlier version
            ((count,),) = self._query(f"SELECT count(*) FROM {table} WHERE {conditions}")
            if count:
                found.append(f"{count} rows of the table {table} have values that no store has written")
        return found
