"""What the ledger knows of the history of a file: its sources, what was stored of them and where, and what was lost.

Only reads. What an earlier version of the ledger does not have is left out.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from logferry.server.storage.disk.ledger.tables.checked import CheckedRows
from logferry.server.storage.disk.ledger.tables.extents import EXTENT_COLUMNS
from logferry.server.storage.records import ExtentRow, SegmentRow

_LOSSES_SINCE: Final = 4
_DAMAGE_SINCE: Final = 3


class SourceFacts(NamedTuple):
    """A source of a file: whose it is, how far it is stored, and when it was opened (milliseconds of Unix time)."""

    id: str
    client: str
    committed: int
    lines: int
    opened: int


class StoredExtent(NamedTuple):
    """An extent with its segment; `is_damaged` if its bytes were found to be others, and are not repaired yet."""

    source: str
    extent: ExtentRow
    segment: SegmentRow
    is_damaged: bool


class NotedLoss(NamedTuple):
    """Bytes of a source that are not stored as they were, and when that was noted (milliseconds)."""

    source: str
    start: int
    end: int
    reason: str
    is_lost: bool
    noted: int


class NotedWindow(NamedTuple):
    """A time in which bytes from `start` on may have been written unseen (milliseconds)."""

    source: str
    start: int
    last_look: int
    noticed: int
    reason: str


class HistoryRows(CheckedRows):
    """What several tables say of one file."""

    def sources_of_file(self, host: str, path: str, *, limit: int) -> list[SourceFacts]:
        """Return the sources of a file, oldest first."""
        rows = self._query(
            "SELECT id, client, committed, lines, opened_at * 1000 FROM sources WHERE host = ? AND path = ? "
            "ORDER BY opened_at, id LIMIT ?",
            (host, path, limit),
        )
        return [SourceFacts(str(row[0]), str(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in rows]

    def extent_at(self, sources: Sequence[str], segment: int, position: int) -> tuple[str, ExtentRow] | None:
        """Return the extent of one of these sources that has a byte of a segment."""
        for source in sources:
            rows = self._query(
                f"SELECT {EXTENT_COLUMNS} FROM extents WHERE source = ? AND segment = ? AND position <= ? "
                "AND position + bytes > ?",
                (source, segment, position, position),
            )
            if rows:
                return source, ExtentRow(*rows[0])
        return None

    def lines_before(self, source: str, start: int) -> int:
        """Return how many lines of a source are stored before a byte of it."""
        ((lines,),) = self._query(
            "SELECT coalesce(sum(lines), 0) FROM extents WHERE source = ? AND start < ?", (source, start)
        )
        return int(lines)

    def extents_between(self, source: str, start: int, end: int, *, limit: int) -> list[StoredExtent]:
        """Return the extents of a source that have bytes in a range, in order."""
        columns = ", ".join(f"extents.{name}" for name in EXTENT_COLUMNS.split(", "))
        damaged = "EXISTS (SELECT 1 FROM damage WHERE damage.source = extents.source AND damage.start = extents.start)"
        rows = self._query(
            f"SELECT {columns}, {damaged if self.version >= _DAMAGE_SINCE else '0'} FROM extents "
            "WHERE source = ? AND end > ? AND start < ? ORDER BY start LIMIT ?",
            (source, start, end, limit),
        )
        found = []
        for *values, is_damaged in rows:
            extent = ExtentRow(*values)
            segment = self.segment_numbered(extent.segment)
            if segment:
                found.append(StoredExtent(source, extent, segment, bool(is_damaged)))
        return found

    def segment_numbered(self, number: int) -> SegmentRow | None:
        """Return a segment by its number, whatever its state."""
        rows = self._query(f"SELECT {self._segment_columns} FROM segments WHERE id = ?", (number,))
        return self._segment(rows[0]) if rows else None

    def losses_noted(self, source: str, *, limit: int) -> list[NotedLoss]:
        """Return the losses of a source, in order."""
        is_lost = "is_lost" if self.version >= _LOSSES_SINCE else "1"
        rows = self._query(
            f"SELECT source, start, end, reason, {is_lost}, noted_at * 1000 FROM losses WHERE source = ? "
            "ORDER BY start LIMIT ?",
            (source, limit),
        )
        return [
            NotedLoss(str(row[0]), int(row[1]), int(row[2]), str(row[3]), bool(row[4]), int(row[5])) for row in rows
        ]

    def windows_noted(self, source: str, *, limit: int) -> list[NotedWindow]:
        """Return the unknown windows of a source, in order."""
        if self.version < _LOSSES_SINCE:
            return []
        rows = self._query(
            "SELECT source, start, last_look, noticed, reason FROM windows WHERE source = ? ORDER BY start LIMIT ?",
            (source, limit),
        )
        return [NotedWindow(str(row[0]), int(row[1]), int(row[2]), int(row[3]), str(row[4])) for row in rows]
