"""Unsynced bytes in the ledger: what was written to segments, until it is synced there (deferred_sync.py)."""

from collections.abc import Collection, Iterable

from logferry.server.storage.disk.ledger.tables.checked import CheckedRows
from logferry.server.storage.records import SegmentRow, UnsyncedRow


class UnsyncedRows(CheckedRows):
    """The table `unsynced`."""

    def add_unsynced(self, pieces: Iterable[tuple[int, int, bytes]]) -> None:
        """Keep bytes of segments until they are synced there: number of the segment, position, bytes."""
        self._database.executemany("INSERT INTO unsynced (segment, position, data) VALUES (?, ?, ?)", pieces)

    def unsynced_segments(self) -> tuple[int, list[SegmentRow]]:
        """Return the highest id of the kept bytes (0 if there are none), and the segments to which the bytes belong."""
        ((last,),) = self._query("SELECT coalesce(max(id), 0) FROM unsynced")
        query = f"SELECT {self._segment_columns} FROM segments WHERE id IN (SELECT segment FROM unsynced WHERE id <= ?)"
        return last, [self._segment(row) for row in self._query(query, (last,))]

    def unsynced_of(self, segment: int, *, last: int) -> list[UnsyncedRow]:
        """Return the kept bytes of a segment up to the id `last`, in order."""
        rows = self._query("SELECT * FROM unsynced WHERE segment = ? AND id <= ? ORDER BY id", (segment, last))
        return [UnsyncedRow(*row) for row in rows]

    def forget_unsynced(self, last: int, *, kept: Collection[int] = ()) -> None:
        """Delete the kept bytes up to the id `last`, except those of some segments: the others are synced."""
        if not kept:
            self._database.execute("DELETE FROM unsynced WHERE id <= ?", (last,))
            return
        segments = {segment.id for segment in self.unsynced_segments()[1]}.difference(kept)
        query = "DELETE FROM unsynced WHERE id <= ? AND segment = ?"
        self._database.executemany(query, ((last, segment) for segment in segments))
