"""The members of compressed segments in the ledger, and the change of a segment's form.

Rows of the table are packed by content/members.py. Changes are guarded: they happen only if the segment still is what
the caller thinks it is.
"""

from collections.abc import Iterable

from logferry.server.storage.disk.ledger.tables.checked import CheckedRows
from logferry.server.storage.records import SegmentRow

_SINCE_VERSION = 6


class MemberRows(CheckedRows):
    """The table `members`."""

    def members_of(self, segment: int) -> list[tuple[int, bytes]]:
        """Return the rows of a segment, in order: the position of the first member, and the packed entries."""
        if self.version < _SINCE_VERSION:
            return []
        return self._query("SELECT first, data FROM members WHERE segment = ? ORDER BY first", (segment,))

    def add_members(self, segment: int, rows: Iterable[tuple[int, bytes]]) -> None:
        """Record where the members of a segment begin."""
        self._database.executemany("INSERT INTO members VALUES (?, ?, ?)", ((segment, *row) for row in rows))

    def change_form(self, before: SegmentRow, after: SegmentRow, members: Iterable[tuple[int, bytes]] = ()) -> bool:
        """Record another form of a closed segment, in a transaction; return whether it was as `before` until then."""
        same = "id = ? AND path = ? AND bytes = ? AND lines = ? AND crc32 = ? AND state = 'closed' AND compression = ?"
        values = (before.id, before.path, before.bytes, before.lines, before.crc32, before.compression)
        query = f"UPDATE segments SET compression = ?, stored_bytes = ? WHERE {same}"
        changed = self._database.execute(query, (after.compression, after.stored_bytes, *values)).rowcount
        if changed:
            self._database.execute("DELETE FROM members WHERE segment = ?", (before.id,))
            self.add_members(before.id, members)
        return bool(changed)

    def to_compress(self, *, after: int, limit: int) -> list[SegmentRow]:
        """Return plain closed segments after a number that hold something, whose bytes are all synced and undamaged."""
        where = "state = 'closed' AND compression = '' AND bytes > 0 AND id > ?"
        free = " AND ".join(f"id NOT IN (SELECT segment FROM {table})" for table in ("unsynced", "damage"))
        query = f"SELECT {self._segment_columns} FROM segments WHERE {where} AND {free} ORDER BY id LIMIT ?"
        return [self._segment(row) for row in self._query(query, (after, limit))]
