"""Extents in the ledger: where each range of bytes of a source is stored."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from logferry.server.storage.disk.ledger.database.database import LedgerDatabase
from logferry.server.storage.records import ExtentRow

EXTENT_COLUMNS: Final = "start, end, lines, crc32, segment, position, bytes"

# Segments that one query names by their numbers.
_MAX_NAMED: Final = 500


class ExtentRows(LedgerDatabase):
    """The table `extents`."""

    def set_extents(self, extents: Iterable[tuple[str, ExtentRow]]) -> None:
        """Record extents, each with the id of its source. An extent replaces one with the same start."""
        self._database.executemany(
            "INSERT OR REPLACE INTO extents VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (source_id, row.start, row.end, row.lines, row.crc32, row.segment, row.position, row.bytes)
                for source_id, row in extents
            ),
        )

    def extents(self, source_id: str, *, after: int, limit: int) -> list[ExtentRow]:
        """Return the extents of a source that begin at `after` or later, in order."""
        rows = self._query(
            f"SELECT {EXTENT_COLUMNS} FROM extents WHERE source = ? AND start >= ? ORDER BY start LIMIT ?",
            (source_id, after, limit),
        )
        return [ExtentRow(*row) for row in rows]

    def extents_from(self, first: tuple[str, int], *, limit: int) -> list[tuple[str, ExtentRow, bool]]:
        """Return extents from one on, by source and start, each with whether retention has deleted its segment."""
        rows = self._query(
            f"SELECT source, {EXTENT_COLUMNS}, "
            "EXISTS (SELECT 1 FROM segments WHERE id = extents.segment AND state = 'expired') "
            "FROM extents WHERE (source, start) >= (?, ?) ORDER BY source, start LIMIT ?",
            (*first, limit),
        )
        return [(source, ExtentRow(*row), bool(is_deleted)) for source, *row, is_deleted in rows]

    def extents_by_segment(self, segments: Collection[int]) -> Iterator[tuple[str, ExtentRow]]:
        """Yield the extents in these segments, each with its source, ordered by segment and position. Raises OSError.

        It reads all extents once, and sorts those of the segments; of more than 500, those from the first on.
        """
        are_few = len(segments) <= _MAX_NAMED
        where = f"segment IN ({', '.join('?' * len(segments))})" if are_few else "segment >= ?"
        values = tuple(segments) if are_few else (min(segments),)
        try:
            for source, *row in self._database.execute(
                f"SELECT source, {EXTENT_COLUMNS} FROM extents WHERE {where} ORDER BY segment, position", values
            ):
                if row[4] in segments:
                    yield source, ExtentRow(*row)
        except sqlite3.Error as error:
            raise self._os_error(error) from error

    def extents_in(self, segment: int, *, after: tuple[str, int], limit: int) -> list[tuple[str, ExtentRow]]:
        """Return extents in a segment, each with its source, in the order of sources, after one of them.

        There is no index for this question: it is asked only about a damaged segment.
        """
        rows = self._query(
            f"SELECT source, {EXTENT_COLUMNS} FROM extents WHERE (source, start) > (?, ?) AND segment = ? "
            "ORDER BY source, start LIMIT ?",
            (*after, segment, limit),
        )
        return [(source, ExtentRow(*row)) for source, *row in rows]

    def drop_extents(self, extents: Iterable[tuple[str, int]]) -> None:
        """Forget extents, by source and start."""
        self._database.executemany("DELETE FROM extents WHERE source = ? AND start = ?", extents)

    def drop_extents_after(self, source_id: str, committed: int) -> int:
        """Forget the extents of a source that end after an offset; return how many."""
        query = "DELETE FROM extents WHERE source = ? AND end > ?"
        return self._database.execute(query, (source_id, committed)).rowcount
