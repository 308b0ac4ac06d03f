"""Segments in the ledger: what each file must hold, and whether it is open, closed or expired."""

from collections.abc import Iterable
from typing import Final

from logferry.server.storage.disk.files.segment_names import is_segment_path
from logferry.server.storage.disk.ledger.tables.checked import CheckedRows
from logferry.server.storage.records import SegmentRow, SegmentState

# In a folder, and not in one below it.
_IS_OLD_IN: Final = "path > ? AND path < ? AND log IS NULL AND instr(substr(path, ?), '/') = 0"


class SegmentRows(CheckedRows):
    """The table `segments`."""

    def add_segment(self, path: str, *, log: int | None = None) -> SegmentRow:
        """Record a new, empty segment."""
        return self.add_known_segment(SegmentRow(0, path, log=log))

    def add_known_segment(self, row: SegmentRow) -> SegmentRow:
        """Record a segment that exists already; return it with its number."""
        cursor = self._database.execute(
            "INSERT INTO segments (path, bytes, lines, crc32, state, log, compression, stored_bytes) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (row.path, row.bytes, row.lines, row.crc32, row.state, row.log, row.compression, row.stored_bytes),
        )
        assert cursor.lastrowid is not None
        return row._replace(id=cursor.lastrowid)

    def set_segment(self, row: SegmentRow) -> None:
        """Record what a segment holds."""
        self.set_segments((row,))

    def set_segments(self, rows: Iterable[SegmentRow]) -> None:
        """Record what segments hold."""
        self._database.executemany(
            "UPDATE segments SET bytes = ?, lines = ?, crc32 = ?, state = ? WHERE id = ?",
            ((row.bytes, row.lines, row.crc32, row.state, row.id) for row in rows),
        )

    def segment(self, segment_id: int) -> SegmentRow | None:
        """Return a segment by its number."""
        rows = self._query(f"SELECT {self._segment_columns} FROM segments WHERE id = ?", (segment_id,))
        return self._segment(rows[0]) if rows else None

    def has_segment(self, path: str) -> bool:
        """Whether a segment is recorded, whatever its state."""
        return is_segment_path(path) and bool(self._query("SELECT 1 FROM segments WHERE path = ?", (path,)))

    def open_segments_of(self, log: int) -> list[SegmentRow]:
        """Return the open segments of a log, oldest first."""
        query = f"SELECT {self._segment_columns} FROM segments WHERE log = ? AND state = 'open' ORDER BY id"
        return [self._segment(row) for row in self._query(query, (log,))]

    def last_segment_of(self, log: int) -> SegmentRow | None:
        """Return the newest segment of a log, whatever its state."""
        query = f"SELECT {self._segment_columns} FROM segments WHERE log = ? ORDER BY id DESC LIMIT 1"
        rows = self._query(query, (log,))
        return self._segment(rows[0]) if rows else None

    def has_old_segments(self) -> bool:
        """Whether any segment has no log: it was made before the ledger recorded logs."""
        return bool(self._query("SELECT 1 FROM segments WHERE log IS NULL LIMIT 1"))

    def old_segments_in(self, folder: str) -> list[int]:
        """Return the segments without a log that lie in a folder, oldest first, whatever their state."""
        query = f"SELECT id FROM segments WHERE {_IS_OLD_IN} ORDER BY id"
        return [number for (number,) in self._query(query, _old_in(folder))]

    def give_old_segments(self, folder: str, log: int) -> None:
        """Record that the segments without a log that lie in a folder are those of a log."""
        self._database.execute(f"UPDATE segments SET log = ? WHERE {_IS_OLD_IN}", (log, *_old_in(folder)))

    def segments(self, *states: SegmentState) -> list[SegmentRow]:
        """Return the segments in any of `states` (all segments if none is given), oldest first."""
        where = f"WHERE state IN ({', '.join('?' * len(states))}) " if states else ""
        query = f"SELECT {self._segment_columns} FROM segments {where}ORDER BY id"
        return [self._segment(row) for row in self._query(query, states)]

    def drop_segments(self, numbers: Iterable[int]) -> None:
        """Forget segments that no extent refers to, by their numbers."""
        segments = list(numbers)
        self.drop_indexes(segments)
        self._database.executemany("DELETE FROM segments WHERE id = ?", ((number,) for number in segments))

    def drop_indexes(self, numbers: Iterable[int]) -> None:
        """Forget when lines of segments were received and where members begin: nobody reads these segments any more."""
        segments = [(number,) for number in numbers]
        for table in ("times", "members"):
            self._database.executemany(f"DELETE FROM {table} WHERE segment = ?", segments)


def _old_in(folder: str) -> tuple[str, str, int]:
    """Return what paths in a folder lie between, and where names begin in them: "0" is the character after "/"."""
    return f"{folder}/", f"{folder}0", len(folder) + 2
