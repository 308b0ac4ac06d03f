"""The sparse time index in the ledger: packed entries (packed_times.py) of each segment, a few hundred bytes a row."""

from collections.abc import Sequence

from logferry.server.storage.disk.ledger.tables.checked import CheckedRows
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry, unpacked

TimesRow = tuple[int, int, bytes]
"""The number of a segment, the position behind which its entries begin, and the packed entries."""

_SINCE_VERSION = 6


class TimeRows(CheckedRows):
    """The table `times`."""

    def set_times(self, rows: Sequence[TimesRow]) -> None:
        """Record rows of the index; each replaces the one that begins at the same position."""
        if rows:
            self._database.executemany("INSERT OR REPLACE INTO times (segment, first, data) VALUES (?, ?, ?)", rows)

    def times_of(self, segment: int, *, last_rows: int | None = None) -> list[TimeEntry]:
        """Return the entries of a segment, in the order of positions; none if any of its rows is damaged.

        Entries without lines, one at the beginning of each row, say when what follows began to be received. With
        `last_rows`, return those of the last rows. Raises OSError.
        """
        try:
            return self._times_of(segment, last_rows=last_rows)
        except ValueError:
            return []

    def end_of_times(self, segment: int) -> int:
        """Return where the entries of a segment end. Raises ValueError if they are damaged, and OSError."""
        entries = self._times_of(segment)
        return entries[-1].position if entries else 0

    def _times_of(self, segment: int, *, last_rows: int | None = None) -> list[TimeEntry]:
        if self.version < _SINCE_VERSION:
            return []
        entries: list[TimeEntry] = []
        query = "SELECT first, data FROM times WHERE segment = ? ORDER BY first DESC LIMIT ?"
        for first, data in reversed(self._query(query, (segment, -1 if last_rows is None else last_rows))):
            if type(first) is not int or type(data) is not bytes:
                raise ValueError("a row has values that no store has written")
            if entries and first < entries[-1].position:
                raise ValueError("its rows overlap")
            for number, entry in enumerate(unpacked(first, data)):
                if number and entry.position <= entries[-1].position:
                    raise ValueError("its positions do not rise")
                entries.append(entry)
        return entries
