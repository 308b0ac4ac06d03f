"""The ledger: what the store holds, of which source, in which segment. SQLite, in one file, owned by the writer thread.

    sources    how far each source is stored: offset, lines, CRC-32 of all its NDJSON
    segments   how long each segment file is, its lines and its CRC-32, and whether it is open, closed or expired
    extents    which bytes of which source lie where in which segment
    losses     bytes of a source that are not stored as they were, with the reason
    unsynced   what was written to segments and may not be on their disk yet, byte for byte (see settling.py)

A group of deliveries is one transaction. It is committed after the segments are synced and before the acks, so data
and ledger cannot disagree: what a segment holds beyond its length here was never acked, and recovery cuts it off. A
segment is entered before its first byte is written; a file that is not in the ledger is none of the store's.

Under `fsync` a commit is on the disk (WAL with synchronous=FULL). Otherwise the system may lose the last commits in a
power cut, which is what the lesser promise says, but the file stays whole (synchronous=NORMAL).
"""

import errno
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from logferry.errors import StoreError

FILE_NAME: Final = "ledger.sqlite3"

_VERSION: Final = 1
_BUSY_S: Final = 10.0  # a reader (fsck, report) holds a lock for moments only

# The log beside the file is emptied into it after so many pages (8 MiB): small beside any disk, rare beside commits,
# and more than what is unsynced at a time, so that most of that is never written anywhere else.
_CHECKPOINT_PAGES: Final = 2048

_SCHEMA: Final = """
CREATE TABLE sources (
    id TEXT PRIMARY KEY, client TEXT NOT NULL, host TEXT NOT NULL, path TEXT NOT NULL,
    committed INTEGER NOT NULL, lines INTEGER NOT NULL, crc32 INTEGER NOT NULL, opened_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE segments (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL, lines INTEGER NOT NULL, crc32 INTEGER NOT NULL, state TEXT NOT NULL
);
CREATE TABLE extents (
    source TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, lines INTEGER NOT NULL, crc32 INTEGER NOT NULL,
    segment INTEGER NOT NULL, position INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (source, start)
) WITHOUT ROWID;
CREATE TABLE losses (
    source TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, reason TEXT NOT NULL, noted_at REAL NOT NULL
);
CREATE INDEX losses_of_source ON losses (source, start);
"""

# Not part of the first ledgers.
_UNSYNCED: Final = """
CREATE TABLE IF NOT EXISTS unsynced (
    id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, position INTEGER NOT NULL, data BLOB NOT NULL
)
"""


_EXTENT_COLUMNS: Final = "start, end, lines, crc32, segment, position, bytes"


@dataclass(frozen=True, slots=True)
class ExtentRow:
    """Bytes `[start, end)` of a source: `lines` lines, `bytes` bytes of NDJSON, at `position` in a segment."""

    start: int
    end: int
    lines: int
    crc32: int
    segment: int
    position: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SourceRow:
    """How far a source is stored, and its last extent, which the next batch may prolong."""

    id: str
    host: str
    path: str
    committed: int = 0
    lines: int = 0
    crc32: int = 0
    last: ExtentRow | None = None


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """What a segment file must hold; `state` is "open", "closed" or "expired". `path` is relative to `segments`."""

    id: int
    path: str
    bytes: int = 0
    lines: int = 0
    crc32: int = 0
    state: str = "open"


@dataclass(frozen=True, slots=True)
class UnsyncedRow:
    """Bytes that a segment has at `position`; rows with a higher `id` were entered later."""

    id: int
    segment: int
    position: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LossRow:
    """Bytes `[start, end)` of a source are not stored as they were."""

    source: str
    start: int
    end: int
    reason: str


class Ledger:
    """The open ledger. One thread uses it; others open their own, read-only."""

    def __init__(self, data_dir: Path, *, durable: bool, read_only: bool = False) -> None:
        """Open or create it. Raises StoreError when the file is no ledger, or of a newer version."""
        self.path = data_dir / FILE_NAME
        try:
            self._database = _connect(self.path, read_only=read_only)
            if not read_only:
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._database.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
                self._create()
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise StoreError(
                f"cannot open the ledger {self.path}: {error}. Without it the server does not know what it has stored; "
                "restore it, or move it away: the segments stay, and clients send again what they still have"
            ) from error
        if version != _VERSION:
            raise StoreError(
                f"cannot use the ledger {self.path}: its version is {version}, this server knows {_VERSION}"
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever entered."""
        query = "SELECT EXISTS (SELECT 1 FROM segments) + EXISTS (SELECT 1 FROM sources)"
        return bool(self._query(query) == [(0,)])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; within another one, a part of that. Raises OSError when the disk does not take it.

        Nothing is changed then.
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
                # On a full disk the log must use its pages again; this needs no new ones.
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            raise self._os_error(error) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")

    def _query(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Return the rows. Raises OSError."""
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._os_error(error) from error

    def _os_error(self, error: sqlite3.Error) -> OSError:
        """Say it as the system would: whoever waits for room should not have to know two words for a full disk."""
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return OSError(None, str(error), str(self.path))

    # --- sources

    def source(self, source_id: str) -> SourceRow | None:
        """Return what is stored of a source."""
        rows = self._query("SELECT host, path, committed, lines, crc32 FROM sources WHERE id = ?", (source_id,))
        if not rows:
            return None
        last = self._query(
            f"SELECT {_EXTENT_COLUMNS} FROM extents WHERE source = ? ORDER BY start DESC LIMIT 1", (source_id,)
        )
        host, path, committed, lines, crc32 = rows[0]
        return SourceRow(source_id, host, path, committed, lines, crc32, ExtentRow(*last[0]) if last else None)

    def add_sources(self, rows: Iterable[tuple[SourceRow, str]]) -> None:
        """Enter new sources, each with the id of its client."""
        now = time.time()
        self._database.executemany(
            "INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((row.id, client, row.host, row.path, row.committed, row.lines, row.crc32, now) for row, client in rows),
        )

    def set_sources(self, rows: Iterable[SourceRow]) -> None:
        """Say how far sources are stored now."""
        self._database.executemany(
            "UPDATE sources SET committed = ?, lines = ?, crc32 = ? WHERE id = ?",
            ((row.committed, row.lines, row.crc32, row.id) for row in rows),
        )

    def set_extents(self, extents: Iterable[tuple[str, ExtentRow]]) -> None:
        """Enter extents, each with the id of its source, or prolong those that have the same start."""
        self._database.executemany(
            "INSERT OR REPLACE INTO extents VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (source_id, row.start, row.end, row.lines, row.crc32, row.segment, row.position, row.bytes)
                for source_id, row in extents
            ),
        )

    def add_loss(self, loss: LossRow) -> None:
        """Enter bytes that are not stored as they were, once however often it is said."""
        values = (loss.source, loss.start, loss.end, loss.reason)
        known = self._database.execute(
            "SELECT 1 FROM losses WHERE source = ? AND start = ? AND end = ? AND reason = ?", values
        ).fetchone()
        if not known:
            self._database.execute("INSERT INTO losses VALUES (?, ?, ?, ?, ?)", (*values, time.time()))

    def extents(self, source_id: str, *, after: int, limit: int) -> list[ExtentRow]:
        """Return the extents of a source that begin at `after` or later, in order."""
        rows = self._query(
            f"SELECT {_EXTENT_COLUMNS} FROM extents WHERE source = ? AND start >= ? ORDER BY start LIMIT ?",
            (source_id, after, limit),
        )
        return [ExtentRow(*row) for row in rows]

    def losses(self, source_id: str, *, limit: int) -> list[LossRow]:
        """Return what is known to be lost of a source."""
        rows = self._query(
            "SELECT source, start, end, reason FROM losses WHERE source = ? ORDER BY start LIMIT ?", (source_id, limit)
        )
        return [LossRow(*row) for row in rows]

    # --- segments

    def add_segment(self, path: str) -> SegmentRow:
        """Enter a new, empty segment."""
        cursor = self._database.execute(
            "INSERT INTO segments (path, bytes, lines, crc32, state) VALUES (?, 0, 0, 0, 'open')", (path,)
        )
        assert cursor.lastrowid is not None
        return SegmentRow(cursor.lastrowid, path)

    def set_segment(self, row: SegmentRow) -> None:
        """Say what a segment holds now."""
        self.set_segments((row,))

    def set_segments(self, rows: Iterable[SegmentRow]) -> None:
        """Say what segments hold now."""
        self._database.executemany(
            "UPDATE segments SET bytes = ?, lines = ?, crc32 = ?, state = ? WHERE id = ?",
            ((row.bytes, row.lines, row.crc32, row.state, row.id) for row in rows),
        )

    def segment(self, segment_id: int) -> SegmentRow | None:
        """Return a segment by its number."""
        rows = self._query("SELECT * FROM segments WHERE id = ?", (segment_id,))
        return SegmentRow(*rows[0]) if rows else None

    def segments_in(self, folder: str) -> list[SegmentRow]:
        """Return the segments of a folder, "<host>/<name>", oldest first, whatever their state."""
        # "0" is the character after "/".
        rows = self._query(
            "SELECT * FROM segments WHERE path > ? AND path < ? ORDER BY id", (f"{folder}/", f"{folder}0")
        )
        return [SegmentRow(*row) for row in rows]

    def segments(self, *states: str) -> list[SegmentRow]:
        """Return the segments in any of `states` (all when none is given), oldest first."""
        rows = self._query("SELECT * FROM segments ORDER BY id")
        return [row for row in (SegmentRow(*values) for values in rows) if not states or row.state in states]

    # --- what is not synced yet

    def add_unsynced(self, pieces: Iterable[tuple[int, int, bytes]]) -> None:
        """Keep pieces of segments: number, position, bytes."""
        self._database.executemany("INSERT INTO unsynced (segment, position, data) VALUES (?, ?, ?)", pieces)

    def unsynced_segments(self) -> tuple[int, list[SegmentRow]]:
        """Return the highest id of what is kept (0: nothing), and the segments that it is of."""
        ((last,),) = self._query("SELECT coalesce(max(id), 0) FROM unsynced")
        rows = self._query("SELECT * FROM segments WHERE id IN (SELECT segment FROM unsynced WHERE id <= ?)", (last,))
        return last, [SegmentRow(*row) for row in rows]

    def unsynced_of(self, segment: int, *, last: int) -> list[UnsyncedRow]:
        """Return what is kept of a segment up to the id `last`, in order."""
        rows = self._query("SELECT * FROM unsynced WHERE segment = ? AND id <= ? ORDER BY id", (segment, last))
        return [UnsyncedRow(*row) for row in rows]

    def forget_unsynced(self, last: int) -> None:
        """What was kept up to the id `last` is on the disk where it belongs."""
        self._database.execute("DELETE FROM unsynced WHERE id <= ?", (last,))

    def _create(self) -> None:
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        self._database.execute(_UNSYNCED)


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open the database. Transactions are begun by hand; the writer thread is not the one that opens it."""
    name = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    return sqlite3.connect(name, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
