"""The ledger: what the store holds, from which source, in which segment. One SQLite file, written by the writer thread.

ledger_format.py describes the file, and migrates earlier versions of it.

A group of deliveries is one transaction, committed after its segments are synced and before its acks are sent. So what
a segment holds beyond its length in the ledger was never acked, unless the ledger has lost transactions: nothing is
deleted because the ledger lacks it. A segment is recorded before its first byte is written.

After a crash the last transaction is either complete or absent: SQLite reads its log (`ledger.sqlite3-wal`) when it
opens the file again, and recovery.py then makes the segments agree. If that log is lost, the journals of the segments
have what it had (lost_transactions.py); if the ledger is lost, rebuild.py makes it anew from them. With `fsync`, a
committed transaction is on the disk (WAL, synchronous=FULL). Otherwise a power cut may undo the last transactions, but
the file stays intact (synchronous=NORMAL).
"""

import errno
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from logferry.errors import DamagedLedger, StoreError
from logferry.server.storage.disk.ledger_format import VERSION, is_new, migrate, version_of
from logferry.server.storage.loss_limits import joined_losses, joined_windows
from logferry.server.storage.owners import Owner
from logferry.server.storage.records import (
    DamageRow,
    ExtentRow,
    LossRow,
    SegmentRow,
    SegmentState,
    SourceRow,
    UnsyncedRow,
    WindowRow,
)

FILE_NAME: Final = "ledger.sqlite3"

_BUSY_S: Final = 10.0  # readers (fsck, report) hold a lock only briefly

# SQLite moves its log into the file once the log has this many pages (8 MiB): little for any disk, and rare compared
# with transactions. Most unsynced rows are deleted before that, so they are never written to the file itself.
_CHECKPOINT_PAGES: Final = 2048

# Result codes of SQLite that mean that the content of the file is not that of a ledger.
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_MAX_PROBLEMS: Final = 10

# Segments that one query names by their numbers.
_MAX_NAMED: Final = 500

_EXTENT_COLUMNS: Final = "start, end, lines, crc32, segment, position, bytes"

_LOSS_COLUMNS: Final = "source, start, end, reason, is_lost, rowid"

# Of damage: retention has not deleted its segment.
_IS_KEPT: Final = "damage.segment IN (SELECT id FROM segments WHERE state != 'expired')"


class Ledger:
    """An open ledger, used by one thread at a time.

    The writer thread has the ledger object that records groups. The deferred sync thread has its own, which only
    deletes rows from `unsynced`, and the registry of damage has one, which only writes `damage` and `checks`. All
    others are read-only. SQLite serialises the writes.
    """

    def __init__(self, data_dir: Path, *, durable: bool, read_only: bool = False, is_checked: bool = False) -> None:
        """Open or create the file.

        `is_checked` has SQLite check it first. Raises StoreError if it is damaged or not a ledger, or a ledger of
        another version.
        """
        self.path = data_dir / FILE_NAME
        try:
            self._database = _connect(self.path, read_only=read_only)
            try:
                self._open(read_only=read_only, durable=durable, is_checked=is_checked)
            except BaseException:
                self._database.close()
                raise
        except sqlite3.Error as error:
            raise _cannot_open(self.path, error) from error

    def _open(self, *, read_only: bool, durable: bool, is_checked: bool) -> None:
        version = version_of(self._database)
        oldest = 0 if not read_only and is_new(self._database) else 1
        if not oldest <= version <= VERSION:
            raise StoreError(
                f"cannot use the ledger {self.path}: its version is {version}, and this server reads versions "
                f"1 to {VERSION}"
            )
        if is_checked and (problems := self._problems()):
            raise _damaged(self.path, problems[0])
        if not read_only:
            self._prepare(durable=durable)
            if version < VERSION:
                migrate(self._database, version)

    def problems(self) -> list[str]:
        """Return what SQLite finds wrong with the file, at most ten problems: 0.8 s for 300 MB. Raises OSError."""
        try:
            return self._problems()
        except sqlite3.Error as error:
            raise self._os_error(error) from error

    def interrupt(self) -> None:
        """End what another thread does with this ledger, with an OSError there."""
        with suppress(sqlite3.ProgrammingError):  # closed
            self._database.interrupt()

    def _problems(self) -> list[str]:
        try:
            found = [str(problem) for (problem,) in self._database.execute(f"PRAGMA quick_check({_MAX_PROBLEMS})")]
        except sqlite3.Error as error:
            if _kind(error) not in _DAMAGE:
                raise
            return [str(error)]
        return [] if found == ["ok"] else [" ".join(problem.split()) for problem in found]

    def _prepare(self, *, durable: bool) -> None:
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._database.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def store_id(self) -> str:
        """The id of the store, the same in every copy of the ledger. Raises OSError for a ledger of version 1."""
        ((store_id,),) = self._query("SELECT id FROM store")
        return str(store_id)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever recorded."""
        query = "SELECT EXISTS (SELECT 1 FROM segments) + EXISTS (SELECT 1 FROM sources)"
        return bool(self._query(query) == [(0,)])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Record everything or nothing. A transaction within another one is part of it.

        Raises OSError if the disk refuses; then nothing has changed.
        """
        if self._database.in_transaction:
            yield
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            with suppress(sqlite3.Error):
                # On a full disk the log must reuse its pages; a checkpoint makes that possible and needs no new ones.
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            raise self._os_error(error) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")

    def _query(self, query: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        """Return the rows. Raises OSError."""
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._os_error(error) from error

    def _os_error(self, error: sqlite3.Error) -> OSError:
        """Return the OSError for a database error: callers see one error for a full disk, wherever it occurs."""
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return OSError(None, str(error), str(self.path))

    # --- sources

    def source(self, source_id: str) -> SourceRow | None:
        """Return the position of a source; None if the ledger does not have it. Raises OSError."""
        rows = self._query("SELECT host, path, committed, lines, crc32, client FROM sources WHERE id = ?", (source_id,))
        if not rows:
            return None
        last = self._query(
            f"SELECT {_EXTENT_COLUMNS} FROM extents WHERE source = ? ORDER BY start DESC LIMIT 1", (source_id,)
        )
        host, path, committed, lines, crc32, owner = rows[0]
        return SourceRow(source_id, host, path, committed, lines, crc32, ExtentRow(*last[0]) if last else None, owner)

    def positions(self, source_ids: Sequence[str]) -> list[tuple[str, int, int, int]]:
        """Return id, offset, lines and CRC-32 of those of the sources that the ledger has. Raises OSError."""
        marks = ", ".join("?" * len(source_ids))
        return self._query(f"SELECT id, committed, lines, crc32 FROM sources WHERE id IN ({marks})", source_ids)

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

    def set_extents(self, extents: Iterable[tuple[str, ExtentRow]]) -> None:
        """Record extents, each with the id of its source. An extent replaces one with the same start."""
        self._database.executemany(
            "INSERT OR REPLACE INTO extents VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (source_id, row.start, row.end, row.lines, row.crc32, row.segment, row.position, row.bytes)
                for source_id, row in extents
            ),
        )

    def add_loss(self, loss: LossRow) -> bool:
        """Record bytes that are not stored as they were; return whether they were not recorded before."""
        values = (loss.source, loss.start, loss.end, loss.reason, time.time(), int(loss.is_lost))
        if self._database.execute("INSERT OR IGNORE INTO losses VALUES (?, ?, ?, ?, ?, ?)", values).rowcount:
            return True
        if loss.is_lost:
            same = "source = ? AND start = ? AND end = ? AND reason = ?"
            self._database.execute(f"UPDATE losses SET is_lost = 1 WHERE {same} AND is_lost = 0", values[:4])
        return False

    def has_loss(self, loss: LossRow) -> bool:
        """Whether a loss is recorded by itself."""
        query = "SELECT 1 FROM losses WHERE source = ? AND start = ? AND end = ? AND reason = ?"
        return bool(self._query(query, (loss.source, loss.start, loss.end, loss.reason)))

    def count_losses(self, source_id: str, most: int) -> int:
        """Return how many losses of a source are recorded, at most `most`."""
        return self._count("losses", source_id, most)

    def count_windows(self, source_id: str, most: int) -> int:
        """Return how many unknown windows of a source are recorded, at most `most`."""
        return self._count("windows", source_id, most)

    def _count(self, table: str, source_id: str, most: int) -> int:
        query = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE source = ? LIMIT ?)"
        ((count,),) = self._query(query, (source_id, most))
        return int(count)

    def join_loss(self, loss: LossRow) -> bool:
        """Record a row that stands for several losses of a source: see loss_limits.py, and records.py."""
        same = "source = ? AND reason = ? AND is_lost = ?"
        query = f"SELECT {_LOSS_COLUMNS} FROM losses WHERE {same}"
        known = list(map(_loss, self._query(query, (loss.source, loss.reason, int(loss.is_lost)))))
        for row in known:
            loss = joined_losses(row, loss)
        if known == [loss]:
            return False
        self._database.execute(f"DELETE FROM losses WHERE {same}", (loss.source, loss.reason, int(loss.is_lost)))
        return self.add_loss(loss)

    def join_window(self, window: WindowRow) -> bool:
        """Record a row that stands for several unknown windows of a source: see loss_limits.py."""
        same = "source = ? AND reason = ?"
        query = f"SELECT source, start, last_look, noticed, reason FROM windows WHERE {same}"
        known = [WindowRow(*row) for row in self._query(query, (window.source, window.reason))]
        for row in known:
            window = joined_windows(row, window)
        if known == [window]:
            return False
        self._database.execute(f"DELETE FROM windows WHERE {same}", (window.source, window.reason))
        return self.add_window(window)

    def add_window(self, window: WindowRow) -> bool:
        """Record an unknown window; return whether it was not recorded before."""
        values = (window.source, window.start, window.last_look, window.noticed, window.reason, time.time())
        return self._database.execute("INSERT OR IGNORE INTO windows VALUES (?, ?, ?, ?, ?, ?)", values).rowcount > 0

    def extents(self, source_id: str, *, after: int, limit: int) -> list[ExtentRow]:
        """Return the extents of a source that begin at `after` or later, in order."""
        rows = self._query(
            f"SELECT {_EXTENT_COLUMNS} FROM extents WHERE source = ? AND start >= ? ORDER BY start LIMIT ?",
            (source_id, after, limit),
        )
        return [ExtentRow(*row) for row in rows]

    def losses(self, source_id: str, *, first: Sequence[int] = (0, 0), limit: int) -> list[LossRow]:
        """Return losses of a source, in order of start and number, from these two on.

        Raises OSError for a ledger before version 4, like the two functions below.
        """
        rows = self._query(
            f"SELECT {_LOSS_COLUMNS} FROM losses WHERE source = ? AND (start, rowid) >= (?, ?) "
            "ORDER BY start, rowid LIMIT ?",
            (source_id, *first, limit),
        )
        return list(map(_loss, rows))

    def losses_before_skips(self, source_id: str, *, limit: int) -> list[LossRow]:
        """Return losses of a source, those first that are lost and not only skipped."""
        query = f"SELECT {_LOSS_COLUMNS} FROM losses WHERE source = ? ORDER BY is_lost DESC, start LIMIT ?"
        return list(map(_loss, self._query(query, (source_id, limit))))

    def windows(self, source_id: str, *, first: Sequence[int] = (0, 0), limit: int) -> list[WindowRow]:
        """Return unknown windows of a source, in order of start and time of notice, from these two on."""
        query = (
            "SELECT source, start, last_look, noticed, reason FROM windows "
            "WHERE source = ? AND (start, noticed) >= (?, ?) ORDER BY start, noticed LIMIT ?"
        )
        return [WindowRow(*row) for row in self._query(query, (source_id, *first, limit))]

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

    # --- segments

    def add_segment(self, path: str) -> SegmentRow:
        """Record a new, empty segment."""
        cursor = self._database.execute(
            "INSERT INTO segments (path, bytes, lines, crc32, state) VALUES (?, 0, 0, 0, 'open')", (path,)
        )
        assert cursor.lastrowid is not None
        return SegmentRow(cursor.lastrowid, path)

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
        rows = self._query("SELECT * FROM segments WHERE id = ?", (segment_id,))
        return SegmentRow(*rows[0]) if rows else None

    def has_segment(self, path: str) -> bool:
        """Whether a segment is recorded, whatever its state."""
        return bool(self._query("SELECT 1 FROM segments WHERE path = ?", (path,)))

    def segments_in(self, folder: str) -> list[SegmentRow]:
        """Return the segments of a folder, "<host>/<name>", oldest first, whatever their state."""
        rows = self._query("SELECT * FROM segments WHERE path > ? AND path < ? ORDER BY id", _within(folder))
        return [SegmentRow(*row) for row in rows]

    def last_segment_in(self, folder: str) -> SegmentRow | None:
        """Return the newest segment of a folder, whatever its state."""
        query = "SELECT * FROM segments WHERE path > ? AND path < ? ORDER BY id DESC LIMIT 1"
        rows = self._query(query, _within(folder))
        return SegmentRow(*rows[0]) if rows else None

    def segments(self, *states: SegmentState) -> list[SegmentRow]:
        """Return the segments in any of `states` (all segments if none is given), oldest first."""
        where = f"WHERE state IN ({', '.join('?' * len(states))}) " if states else ""
        return [SegmentRow(*row) for row in self._query(f"SELECT * FROM segments {where}ORDER BY id", states)]

    def add_known_segment(self, row: SegmentRow) -> SegmentRow:
        """Record a segment that exists already; return it with its number."""
        added = replace(row, id=self.add_segment(row.path).id)
        self.set_segment(added)
        return added

    # --- what a ledger is made anew from, and what is written down for that

    def set_store_id(self, store_id: str) -> None:
        """Give the store the id that it had before."""
        self._database.execute("UPDATE store SET id = ?", (store_id,))

    def extents_by_segment(self, segments: Collection[int]) -> Iterator[tuple[str, ExtentRow]]:
        """Yield the extents in these segments, each with its source, ordered by segment and position. Raises OSError.

        It reads all extents once, and sorts those of the segments; of more than 500, those from the first on.
        """
        are_few = len(segments) <= _MAX_NAMED
        where = f"segment IN ({', '.join('?' * len(segments))})" if are_few else "segment >= ?"
        values = tuple(segments) if are_few else (min(segments),)
        try:
            for source, *row in self._database.execute(
                f"SELECT source, {_EXTENT_COLUMNS} FROM extents WHERE {where} ORDER BY segment, position", values
            ):
                if row[4] in segments:
                    yield source, ExtentRow(*row)
        except sqlite3.Error as error:
            raise self._os_error(error) from error

    def extents_from(self, first: tuple[str, int], *, limit: int) -> list[tuple[str, ExtentRow, bool]]:
        """Return extents from one on, by source and start, each with whether retention has deleted its segment."""
        rows = self._query(
            f"SELECT source, {_EXTENT_COLUMNS}, "
            "EXISTS (SELECT 1 FROM segments WHERE id = extents.segment AND state = 'expired') "
            "FROM extents WHERE (source, start) >= (?, ?) ORDER BY source, start LIMIT ?",
            (*first, limit),
        )
        return [(source, ExtentRow(*row), bool(is_deleted)) for source, *row, is_deleted in rows]

    def drop_extents(self, extents: Iterable[tuple[str, int]]) -> None:
        """Forget extents, by source and start."""
        self._database.executemany("DELETE FROM extents WHERE source = ? AND start = ?", extents)

    def drop_segments(self, numbers: Iterable[int]) -> None:
        """Forget segments that no extent refers to, by their numbers."""
        self._database.executemany("DELETE FROM segments WHERE id = ?", ((number,) for number in numbers))

    def drop_extents_after(self, source_id: str, committed: int) -> int:
        """Forget the extents of a source that end after an offset; return how many."""
        query = "DELETE FROM extents WHERE source = ? AND end > ?"
        return self._database.execute(query, (source_id, committed)).rowcount

    # --- damage

    def extents_in(self, segment: int, *, after: tuple[str, int], limit: int) -> list[tuple[str, ExtentRow]]:
        """Return extents in a segment, each with its source, in the order of sources, after one of them.

        There is no index for this question: it is asked only about a damaged segment.
        """
        rows = self._query(
            f"SELECT source, {_EXTENT_COLUMNS} FROM extents WHERE (source, start) > (?, ?) AND segment = ? "
            "ORDER BY source, start LIMIT ?",
            (*after, segment, limit),
        )
        return [(source, ExtentRow(*row)) for source, *row in rows]

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
        columns = ", ".join(f"extents.{name}" for name in _EXTENT_COLUMNS.split(", "))
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

    def owner_of(self, source_id: str) -> str | None:
        """Return who owns a source, "" if that is not recorded; None if the ledger does not have the source."""
        rows = self._query("SELECT client FROM sources WHERE id = ?", (source_id,))
        return str(rows[0][0]) if rows else None

    def checked_segments(self, *, after: int, limit: int) -> list[tuple[SegmentRow, float]]:
        """Return segments after a number, whatever their state, each with when it was last checked, in Unix time."""
        rows = self._query(
            "SELECT segments.*, coalesce(checked_at, 0) FROM segments LEFT JOIN checks ON segment = segments.id "
            "WHERE segments.id > ? ORDER BY segments.id LIMIT ?",
            (after, limit),
        )
        return [(SegmentRow(*row), checked_at) for *row, checked_at in rows]

    def set_checked(self, checks: Mapping[int, float]) -> None:
        """Record when segments were checked, by their numbers."""
        self._database.executemany("INSERT OR REPLACE INTO checks VALUES (?, ?)", checks.items())

    # --- bytes that are not synced yet

    def add_unsynced(self, pieces: Iterable[tuple[int, int, bytes]]) -> None:
        """Keep bytes of segments until they are synced there: number of the segment, position, bytes."""
        self._database.executemany("INSERT INTO unsynced (segment, position, data) VALUES (?, ?, ?)", pieces)

    def unsynced_segments(self) -> tuple[int, list[SegmentRow]]:
        """Return the highest id of the kept bytes (0 if there are none), and the segments to which the bytes belong."""
        ((last,),) = self._query("SELECT coalesce(max(id), 0) FROM unsynced")
        rows = self._query("SELECT * FROM segments WHERE id IN (SELECT segment FROM unsynced WHERE id <= ?)", (last,))
        return last, [SegmentRow(*row) for row in rows]

    def unsynced_of(self, segment: int, *, last: int) -> list[UnsyncedRow]:
        """Return the kept bytes of a segment up to the id `last`, in order."""
        rows = self._query("SELECT * FROM unsynced WHERE segment = ? AND id <= ? ORDER BY id", (segment, last))
        return [UnsyncedRow(*row) for row in rows]

    def forget_unsynced(self, last: int) -> None:
        """Delete the kept bytes up to the id `last`: their segments are synced."""
        self._database.execute("DELETE FROM unsynced WHERE id <= ?", (last,))


def _within(folder: str) -> tuple[str, str]:
    """Return what lies before and after the paths in a folder: "0" is the character after "/"."""
    return f"{folder}/", f"{folder}0"


def sort_in(folder: Path) -> None:
    """Have SQLite keep in `folder` what it sorts and what does not fit into memory, in files without a name.

    Otherwise it needs /tmp or another folder that everybody may write to, and a server may have none: a container
    whose file system is read-only. Concerns all ledgers of the process: call it before other threads use one. Where
    it is not possible, SQLite looks for a folder as before.
    """
    name = str(folder.absolute()).replace("'", "''")
    with suppress(sqlite3.Error, UnicodeError), closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"PRAGMA temp_store_directory = '{name}'")


def _loss(row: Sequence[Any]) -> LossRow:
    source, start, end, reason, is_lost, number = row
    return LossRow(source, start, end, reason, bool(is_lost), number)


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open the database, for explicit transactions, and for use in a thread other than the one that opens it."""
    mode = "rwc"
    if read_only:
        # SQLite reads a ledger in this mode through files beside it. Where it could not create them (a volume that is
        # mounted read-only) and no server has, nobody writes, and the ledger may be read alone.
        has_log = path.with_name(f"{path.name}-wal").exists()
        mode = "ro" if has_log or os.access(path.parent, os.W_OK) else "ro&immutable=1"
    name = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(name, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def _kind(error: sqlite3.Error) -> int:
    """Return the primary result code of SQLite; 0 if there is none."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _cannot_open(path: Path, error: sqlite3.Error) -> StoreError:
    """Return what to do about a ledger that cannot be opened. Only damage is a reason to make another one."""
    if _kind(error) in _DAMAGE:
        return _damaged(path, str(error))
    return StoreError(
        f"cannot open the ledger {path}: {error}. It is as it was: do not move or restore it, but remove the cause "
        "(a full disk, missing permissions, another program that uses it), and start again"
    )


def _damaged(path: Path, problem: str) -> DamagedLedger:
    return DamagedLedger(
        f"the ledger {path} is damaged: {problem}. The segments are as they were. `logferry fsck --rebuild` makes the "
        "ledger anew from the journals beside them, and keeps the damaged one",
        problem,
    )
