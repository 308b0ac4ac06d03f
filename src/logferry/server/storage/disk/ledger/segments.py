"""Segments in the ledger: what each file must hold, and whether it is open, closed or expired."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from logferry.server.storage.disk.ledger.checked import CheckedRows
from logferry.server.storage.records import SegmentRow, SegmentState

# From the index alone.
_NEWEST_IN: Final = "SELECT max(id) FROM segments WHERE path > ? AND path < ?"


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
        return replace(row, id=cursor.lastrowid)

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
        return bool(self._query("SELECT 1 FROM segments WHERE path = ?", (path,)))

    def segments_in(self, folder: str) -> list[SegmentRow]:
        """Return the segments of a folder, "<host>/<name>", oldest first, whatever their state."""
        rows = self._query(
            f"SELECT {self._segment_columns} FROM segments WHERE path > ? AND path < ? ORDER BY id", _within(folder)
        )
        return [self._segment(row) for row in rows]

    def open_segments_in(self, folder: str) -> list[SegmentRow]:
        """Return the open segments of a folder, oldest first."""
        query = (
            f"SELECT {self._segment_columns} FROM segments WHERE path > ? AND path < ? AND state = 'open' ORDER BY id"
        )
        return [self._segment(row) for row in self._query(query, _within(folder))]

    def last_segment_in(self, folder: str) -> SegmentRow | None:
        """Return the newest segment of a folder, whatever its state."""
        rows = self._query(f"SELECT {self._segment_columns} FROM segments WHERE id = ({_NEWEST_IN})", _within(folder))
        return self._segment(rows[0]) if rows else None

    def last_path_in(self, folder: str) -> str:
        """Return the path of the newest segment of a folder, whatever its state; "" if there is none."""
        rows = self._query(f"SELECT path FROM segments WHERE id = ({_NEWEST_IN})", _within(folder))
        return str(rows[0][0]) if rows else ""

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


def _within(folder: str) -> tuple[str, str]:
    """Return what lies before and after the paths in a folder: "0" is the character after "/"."""
    return f"{folder}/", f"{folder}0"
