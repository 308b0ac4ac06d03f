"""What journals say about whole sources, until all of them are read: whose each is, and how far it was stored at last.

One journal may name any number of sources, so they are kept in a table of their own: in a few megabytes of memory, and
beyond that in a temporary file, which SQLite makes and which nobody else can see. Must never touch the ledger.
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from logferry.server.storage.disk.journals.journal import Journal, Origin, State

# Of one source: the last ones decide, and one of them is behind a gap at most.
_MOST_STATES: Final = 8

_PAGE: Final = 500

_SETTINGS: Final = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192;"

_TABLES: Final = """
CREATE TABLE origins (number INTEGER PRIMARY KEY, source TEXT UNIQUE, client TEXT, host TEXT, path TEXT);
CREATE TABLE states (number INTEGER PRIMARY KEY, source TEXT, committed INT, lines INT, crc32 INT);
CREATE INDEX states_of ON states (source, number);
"""


class NamedSources:
    """The sources that journals name, in the order in which they were named first. Methods raise OSError."""

    def __init__(self) -> None:
        with _as_os_error():
            self._table = sqlite3.connect("", isolation_level=None)  # a temporary one
            self._table.executescript(_SETTINGS + _TABLES)

    def close(self) -> None:
        """Forget everything."""
        self._table.close()

    def add(self, journal: Journal) -> None:
        """Take in what a piece of a journal says; it comes after those before it."""
        with _as_os_error():
            self._table.executemany(
                "INSERT INTO origins (source, client, host, path) VALUES (?, ?, ?, ?) ON CONFLICT (source) "
                "DO UPDATE SET client = excluded.client, host = excluded.host, path = excluded.path",
                ((source, *origin) for source, origin in journal.sources.items()),
            )
            self._table.executemany(
                "INSERT INTO states (source, committed, lines, crc32) VALUES (?, ?, ?, ?)",
                ((source, *state) for source, states in journal.states.items() for state in states),
            )

    def __len__(self) -> int:
        query = "SELECT count(*) FROM (SELECT source FROM origins UNION SELECT source FROM states)"
        return int(self._rows(query)[0][0])

    def origins(self) -> Iterator[tuple[str, Origin]]:
        """Yield each source that has an origin in a journal, with its last one."""
        after = 0
        query = "SELECT number, source, client, host, path FROM origins WHERE number > ? ORDER BY number LIMIT ?"
        while page := self._rows(query, after, _PAGE):
            for _, source, *origin in page:
                yield source, Origin(*origin)
            after = page[-1][0]

    def last_states(self, source: str) -> list[State]:
        """Return how far a source was stored, at the last few times that journals say."""
        query = "SELECT committed, lines, crc32 FROM states WHERE source = ? ORDER BY number DESC LIMIT ?"
        return [State(*row) for row in reversed(self._rows(query, source, _MOST_STATES))]

    def _rows(self, query: str, *values: object) -> list[Any]:
        with _as_os_error():
            return self._table.execute(query, values).fetchall()


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(errno.EIO, f"the temporary file of SQLite: {error}") from error
