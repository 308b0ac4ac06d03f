"""Which values the ledger may have, and what becomes of a row with others.

SQLite takes any value in any column, and its own check finds nothing wrong with one. A row of a segment is checked
whenever it is read, because its path is that of a file to read, cut or delete, and so is one of a log; `fsck` checks
all rows of all tables.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

from logferry.server.storage.disk.files.segment_names import is_log_folder, is_segment_path
from logferry.server.storage.disk.ledger.database.database import LedgerDatabase, damaged
from logferry.server.storage.records import Compression, LogRow, SegmentRow, SegmentState

_STATES: Final = get_args(SegmentState)
_COMPRESSIONS: Final = get_args(Compression)

# What a segment has since version 6, and stands for it in ledgers before that.
_COLUMNS: Final = ("id", "path", "bytes", "lines", "crc32", "state")
_NEW_COLUMNS: Final = {"log": "NULL", "compression": "''", "stored_bytes": "0"}
_NEW_SINCE: Final = 6


def _wrong(*, numbers: str = "", texts: str = "", blobs: str = "") -> str:
    """Return the condition that is true for rows in which one of these columns has a value that it must not have."""
    bad_numbers = (f"typeof({name}) != 'integer' OR {name} < 0" for name in numbers.split())
    bad_texts = (f"typeof({name}) != 'text'" for name in texts.split())
    return " OR ".join((*bad_numbers, *bad_texts, *(f"typeof({name}) != 'blob'" for name in blobs.split())))


def _in(values: Iterable[str]) -> str:
    return f"IN ({', '.join(map(repr, values))})"


_WRONG_VALUES: Final = {
    "sources": _wrong(numbers="committed lines crc32", texts="id client host path"),
    "segments": _wrong(numbers="id bytes lines crc32", texts="path") + f" OR state NOT {_in(_STATES)}",
    "extents": _wrong(numbers="start end lines crc32 segment position bytes", texts="source") + " OR end < start",
    "losses": _wrong(numbers="start end", texts="source reason") + " OR end < start",
    "windows": _wrong(numbers="start last_look noticed", texts="source reason"),
    "damage": _wrong(numbers="start segment", texts="source"),
    "logs": _wrong(numbers="id", texts="folder identity host path"),
    "times": _wrong(numbers="segment first", blobs="data"),
    "starts": _wrong(numbers="at moved_bytes too_short"),
    "members": _wrong(numbers="segment first", blobs="data"),
}
_WRONG_NEW_VALUES: Final = (
    f"(log IS NOT NULL AND ({_wrong(numbers='log')})) OR compression NOT {_in(_COMPRESSIONS)} OR "
    + _wrong(numbers="stored_bytes")
)


class CheckedRows(LedgerDatabase):
    """A ledger whose rows of segments and logs are checked."""

    @property
    def _segment_columns(self) -> str:
        """What to select of the table `segments`, in the order of SegmentRow."""
        new = _NEW_COLUMNS if self.version >= _NEW_SINCE else _NEW_COLUMNS.values()
        return ", ".join((*(f"segments.{name}" for name in _COLUMNS), *new))

    def _segment(self, values: Sequence[Any]) -> SegmentRow:
        """Return a row of a segment. Raises DamagedLedger: nothing is read, cut or deleted because of a forged row."""
        row = SegmentRow(*values)
        numbers = (row.id, row.bytes, row.lines, row.crc32, row.stored_bytes, 0 if row.log is None else row.log)
        is_whole = {*map(type, numbers)} == {int} and min(numbers) >= 0
        is_known = row.state in _STATES and row.compression in _COMPRESSIONS
        if not is_whole or not is_known or type(row.path) is not str or not is_segment_path(row.path):
            raise damaged(self.path, f"segment {row.id!r} has values that no store has written")
        return row

    def _log(self, values: Sequence[Any]) -> LogRow:
        """Return a row of a log. Raises DamagedLedger: no folder is made because of a forged row."""
        row = LogRow(*values)
        are_texts = {*map(type, (row.folder, row.identity, row.host, row.path))} == {str}
        if type(row.id) is not int or row.id < 0 or not are_texts or not is_log_folder(row.folder):
            raise damaged(self.path, f"log {row.id!r} has values that no store has written")
        return row

    def wrong_values(self) -> list[str]:
        """Return which tables have rows with values that no store has written. Reads all rows. Raises OSError."""
        found = []
        for table, conditions in _WRONG_VALUES.items():
            if not self._query("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)):
                continue  # of an earlier version
            if table == "segments" and self.version >= _NEW_SINCE:
                conditions = f"{conditions} OR {_WRONG_NEW_VALUES}"
            ((count,),) = self._query(f"SELECT count(*) FROM {table} WHERE {conditions}")
            if count:
                found.append(f"{count} rows of the table {table} have values that no store has written")
        return found
