"""Sources in the ledger: whose each is, and how far it is stored."""

import time
from collections.abc import Iterable, Sequence

from logferry.server.storage.disk.ledger.database.database import LedgerDatabase
from logferry.server.storage.disk.ledger.tables.extents import EXTENT_COLUMNS
from logferry.server.storage.owners import Owner
from logferry.server.storage.records import ExtentRow, SourceRow


class SourceRows(LedgerDatabase):
    """The table `sources`."""

    def source(self, source_id: str) -> SourceRow | None:
        """Return the position of a source; None if the ledger does not have it. Raises OSError."""
        rows = self._query("SELECT host, path, committed, lines, crc32, client FROM sources WHERE id = ?", (source_id,))
        if not rows:
            return None
        last = self._query(
            f"SELECT {EXTENT_COLUMNS} FROM extents WHERE source = ? ORDER BY start DESC LIMIT 1", (source_id,)
        )
        host, path, committed, lines, crc32, owner = rows[0]
        return SourceRow(source_id, host, path, committed, lines, crc32, ExtentRow(*last[0]) if last else None, owner)

    def positions(self, source_ids: Sequence[str]) -> list[tuple[str, int, int, int]]:
        """Return id, offset, lines and CRC-32 of those of the sources that the ledger has. Raises OSError."""
        marks = ", ".join("?" * len(source_ids))
        return self._query(f"SELECT id, committed, lines, crc32 FROM sources WHERE id IN ({marks})", source_ids)

    def owners_of(self, source_ids: Sequence[str]) -> dict[str, str]:
        """Return who owns those of the sources that the ledger has, "" if that is not recorded. Raises OSError."""
        marks = ", ".join("?" * len(source_ids))
        return dict(self._query(f"SELECT id, client FROM sources WHERE id IN ({marks})", source_ids))

    def add_sources(self, rows: Iterable[SourceRow]) -> None:
        """Record new sources, each with its owner as the client."""
        now = time.time()
        self._database.executemany(
            "INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((row.id, row.owner, row.host, row.path, row.committed, row.lines, row.crc32, now) for row in rows),
        )

    def set_owners(self, rows: Iterable[SourceRow]) -> None:
        """Record the owners of sources that had none."""
        self._database.executemany(
            "UPDATE sources SET client = ? WHERE id = ? AND client = ''", ((row.owner, row.id) for row in rows)
        )

    def set_sources(self, rows: Iterable[SourceRow]) -> None:
        """Record new positions of sources."""
        self._database.executemany(
            "UPDATE sources SET committed = ?, lines = ?, crc32 = ? WHERE id = ?",
            ((row.committed, row.lines, row.crc32, row.id) for row in rows),
        )

    def sources_of(
        self, host: str, path: str, *, after: str, limit: int, owner: Owner | None = None
    ) -> list[tuple[SourceRow, float]]:
        """Return the sources of a host that had a path, by id, from the first after `after`, and when they began.

        With an `owner`, only those that are open to it, by the ids that it knows.
        """
        own_id, is_open = "id", ""
        values: dict[str, object] = {"host": host, "path": path, "after": after, "limit": limit}
        if owner is not None:
            prefix = owner.recorded_id("")
            own_id = "CASE WHEN substr(id, 1, :length) = :prefix THEN substr(id, :length + 1) ELSE id END"
            is_open = "AND client IN ('', :name, :client)"
            values |= {"prefix": prefix, "length": len(prefix), "name": owner.name, "client": owner.client}
        rows = self._query(
            f"SELECT {own_id} AS own_id, committed, lines, crc32, opened_at FROM sources "
            f"WHERE host = :host AND path = :path {is_open} AND own_id > :after ORDER BY own_id LIMIT :limit",
            values,
        )
        return [(SourceRow(row[0], host, path, *row[1:4]), row[4]) for row in rows]

    def unused_sources(self, *, after: str, limit: int, before: float) -> list[tuple[str, bool]]:
        """Return the ids of sources after one of them, each with whether nothing was ever recorded of it.

        What was opened since the time `before` is not counted as unused. Raises OSError.
        """
        is_missing = " AND ".join(
            f"NOT EXISTS (SELECT 1 FROM {table} WHERE source = sources.id)"
            for table in ("extents", "losses", "windows")
        )
        rows = self._query(
            f"SELECT id, committed = 0 AND opened_at < ? AND {is_missing} FROM sources WHERE id > ? "
            "ORDER BY id LIMIT ?",
            (before, after, limit),
        )
        return [(source, bool(is_unused)) for source, is_unused in rows]

    def drop_sources(self, source_ids: Iterable[str]) -> None:
        """Forget sources, within a transaction."""
        self._database.executemany("DELETE FROM sources WHERE id = ?", ((source,) for source in source_ids))
