"""Damage in the ledger: extents whose stored bytes differ from what was recorded, and when segments were checked."""

from collections.abc import Iterable, Mapping
from typing import Final

from logferry.server.storage.disk.ledger.tables.checked import CheckedRows
from logferry.server.storage.disk.ledger.tables.extents import EXTENT_COLUMNS
from logferry.server.storage.records import DamageRow, ExtentRow, SegmentRow

# Of damage: retention has not deleted its segment.
_IS_KEPT: Final = "damage.segment IN (SELECT id FROM segments WHERE state != 'expired')"


class DamageRows(CheckedRows):
    """The tables `damage` and `checks`."""

    def add_damage(self, rows: Iterable[DamageRow]) -> int:
        """Record damaged extents; return how many were not recorded before."""
        before = self._database.total_changes
        self._database.executemany(
            "INSERT OR IGNORE INTO damage VALUES (?, ?, ?)", ((row.source, row.start, row.segment) for row in rows)
        )
        return self._database.total_changes - before

    def drop_damage(self, rows: Iterable[DamageRow]) -> int:
        """Forget that extents are damaged; return how many were recorded."""
        before = self._database.total_changes
        self._database.executemany(
            "DELETE FROM damage WHERE source = ? AND start = ?", ((row.source, row.start) for row in rows)
        )
        return self._database.total_changes - before

    def damage_between(self, after: tuple[str, int], last: tuple[str, int], segment: int | None) -> list[DamageRow]:
        """Return damage after one extent up to another, by source and start; in one segment, or in any."""
        rows = self._query(
            "SELECT source, start, segment FROM damage WHERE (source, start) > (?, ?) AND (source, start) <= (?, ?) "
            "AND segment = coalesce(?, segment)",
            (*after, *last, segment),
        )
        return [DamageRow(*row) for row in rows]

    def drop_damage_in(self, segment: int) -> None:
        """Forget all damage in a segment."""
        self._database.execute("DELETE FROM damage WHERE segment = ?", (segment,))

    def drop_damage_of_what_is_gone(self) -> None:
        """Forget damage and checks of segments that retention has deleted, and of extents that are not recorded."""
        is_recorded = "EXISTS (SELECT 1 FROM extents WHERE source = damage.source AND start = damage.start)"
        self._database.execute(f"DELETE FROM damage WHERE NOT {_IS_KEPT} OR (source != '' AND NOT {is_recorded})")
        self._database.execute(
            "DELETE FROM checks WHERE segment NOT IN (SELECT id FROM segments WHERE state != 'expired')"
        )

    def count_damage(self) -> int:
        """Return how many extents are damaged."""
        ((count,),) = self._query(f"SELECT count(*) FROM damage WHERE {_IS_KEPT}")
        return int(count)

    def damage_of(self, source_id: str, *, after: int, limit: int) -> list[ExtentRow]:
        """Return the damaged extents of a source that begin at `after` or later, in order."""
        columns = ", ".join(f"extents.{name}" for name in EXTENT_COLUMNS.split(", "))
        rows = self._query(
            f"SELECT {columns} FROM damage JOIN extents USING (source, start) "
            f"WHERE damage.source = ? AND damage.start >= ? AND {_IS_KEPT} ORDER BY damage.start LIMIT ?",
            (source_id, after, limit),
        )
        return [ExtentRow(*row) for row in rows]

    def damaged_sources(self, *, limit: int) -> dict[str, str]:
        """Return sources that have damaged extents, each with its client."""
        rows = self._query(
            f"SELECT DISTINCT source, client FROM damage JOIN sources ON sources.id = source WHERE {_IS_KEPT} LIMIT ?",
            (limit,),
        )
        return dict(rows)

    def checked_segments(self, *, after: int, limit: int) -> list[tuple[SegmentRow, float]]:
        """Return segments after a number, whatever their state, each with when it was last checked, in Unix time."""
        rows = self._query(
            f"SELECT {self._segment_columns}, coalesce(checked_at, 0) FROM segments "
            "LEFT JOIN checks ON segment = segments.id WHERE segments.id > ? ORDER BY segments.id LIMIT ?",
            (after, limit),
        )
        return [(self._segment(row), checked_at) for *row, checked_at in rows]

    def set_checked(self, checks: Mapping[int, float]) -> None:
        """Record when segments were checked, by their numbers."""
        self._database.executemany("INSERT OR REPLACE INTO checks VALUES (?, ?)", checks.items())
