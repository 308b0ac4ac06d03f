"""The format of `ledger.sqlite3`, version 6 (PRAGMA user_version), and the migration of earlier versions.

    store      one row: the id of the store, random, made with the ledger and kept in every copy of it; since version 2
    sources    how far each source is stored: offset, lines, CRC-32 of all its NDJSON; its client, host and path
    segments   how long each segment is, its lines and its CRC-32; open, closed or expired; since version 6 also its log
               (NULL if it was made before: the folder is `<host>/<name>`, and may have lines of several paths), and the
               compression ('', 'gzip' or 'zstd') and size of its file. The path is always that of the plain file
    logs       the folder of each log, below `segments`; identity ("" for the common tree), host and path as the client
               gave them, path "" for lines of the plain protocol; since version 6
    times      when the lines of a segment were received, and the times in them: packed entries, by the position of the
               first; since version 6
    members    where the members of a compressed segment begin: packed entries, by the position of the first; since
               version 6
    starts     when the server started, and what it found (starts.py), the last thousand; since version 6
    extents    where each range of bytes of a source is: segment and position
    losses     bytes of a source that are not stored as they were, with the reason; since version 4 with `is_lost`:
               0 for bytes that nobody asked for, or that are stored elsewhere; since version 5 each only once
    windows    when bytes may have been written to a source that its client never saw; since version 4
    unsynced   bytes that were written to segments but are not synced there yet (deferred_sync.py)
    damage     extents whose stored bytes differ from `extents`, until they are repaired (damage.py); since version 3
    checks     when each segment was last compared with the ledger (scrub.py); since version 3

Limits: offsets and lengths up to 2^63 - 1. An extent has at most 4 MiB of lines plus one batch, or 256 MiB if its
segment is expired (expired_rows.py). A new version adds a step to `_STEPS`. A server that opens an earlier version
migrates it in one transaction: a crash leaves the earlier version as it was. A reader reads earlier versions as they
are. A later version is refused, and stays as it is.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

# The statements that make each version from the one before it; the first one makes version 1.
_STEPS: Final[Sequence[Sequence[str]]] = (
    (
        """
        CREATE TABLE sources (
            id TEXT PRIMARY KEY, client TEXT NOT NULL, host TEXT NOT NULL, path TEXT NOT NULL,
            committed INTEGER NOT NULL, lines INTEGER NOT NULL, crc32 INTEGER NOT NULL, opened_at REAL NOT NULL
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE segments (
            id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE,
            bytes INTEGER NOT NULL, lines INTEGER NOT NULL, crc32 INTEGER NOT NULL, state TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE extents (
            source TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, lines INTEGER NOT NULL,
            crc32 INTEGER NOT NULL, segment INTEGER NOT NULL, position INTEGER NOT NULL, bytes INTEGER NOT NULL,
            PRIMARY KEY (source, start)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE losses (
            source TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, reason TEXT NOT NULL,
            noted_at REAL NOT NULL
        )
        """,
        "CREATE INDEX losses_of_source ON losses (source, start)",
    ),
    (
        # The first ledgers of version 1 lack the table of unsynced bytes.
        """
        CREATE TABLE IF NOT EXISTS unsynced (
            id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, position INTEGER NOT NULL, data BLOB NOT NULL
        )
        """,
        "CREATE TABLE store (id TEXT NOT NULL)",
        "INSERT INTO store VALUES (lower(hex(randomblob(8))))",
    ),
    (
        """
        CREATE TABLE damage (
            source TEXT NOT NULL, start INTEGER NOT NULL, segment INTEGER NOT NULL, PRIMARY KEY (source, start)
        ) WITHOUT ROWID
        """,
        "CREATE TABLE checks (segment INTEGER PRIMARY KEY, checked_at REAL NOT NULL)",
    ),
    (
        "ALTER TABLE losses ADD COLUMN is_lost INTEGER NOT NULL DEFAULT 1",
        """
        CREATE TABLE windows (
            source TEXT NOT NULL, start INTEGER NOT NULL, last_look INTEGER NOT NULL, noticed INTEGER NOT NULL,
            reason TEXT NOT NULL, noted_at REAL NOT NULL, PRIMARY KEY (source, start, noticed)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX sources_of_path ON sources (host, path)",
    ),
    (
        """
        DELETE FROM losses WHERE rowid NOT IN (
            SELECT number FROM (
                SELECT rowid AS number, max(is_lost) FROM losses GROUP BY source, start, end, reason
            )
        )
        """,
        "DROP INDEX losses_of_source",
        "CREATE UNIQUE INDEX losses_of_source ON losses (source, start, end, reason)",
    ),
    (
        """
        CREATE TABLE logs (
            id INTEGER PRIMARY KEY, folder TEXT NOT NULL UNIQUE, identity TEXT NOT NULL, host TEXT NOT NULL,
            path TEXT NOT NULL, UNIQUE (identity, host, path)
        )
        """,
        "ALTER TABLE segments ADD COLUMN log INTEGER",
        "ALTER TABLE segments ADD COLUMN compression TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE segments ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX segments_of_log ON segments (log, id)",
        """
        CREATE TABLE times (
            segment INTEGER NOT NULL, first INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (segment, first)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE members (
            segment INTEGER NOT NULL, first INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (segment, first)
        ) WITHOUT ROWID
        """,
        "CREATE TABLE starts (at INTEGER NOT NULL, moved_bytes INTEGER NOT NULL, too_short INTEGER NOT NULL)",
    ),
)

VERSION: Final = len(_STEPS)


def version_of(database: sqlite3.Connection) -> int:
    """Return the version of a ledger; 0 if it is new or not a ledger. Raises sqlite3.Error."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def is_new(database: sqlite3.Connection) -> bool:
    """Whether a ledger has no content yet. Raises sqlite3.Error."""
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables


def migrate(database: sqlite3.Connection, version: int) -> None:
    """Bring a ledger from `version` to VERSION, in one transaction. Raises sqlite3.Error; then it is as it was."""
    database.execute("BEGIN IMMEDIATE")
    try:
        for step in _STEPS[version:]:
            for statement in step:
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
