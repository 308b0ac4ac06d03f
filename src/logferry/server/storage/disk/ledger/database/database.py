"""The SQLite file of the ledger: opens, checks and closes it, and makes transactions and queries of it.

Owns the connection, and what becomes of SQLite's errors: a damaged file is a DamagedLedger when it is opened, and what
the disk refuses is an OSError. Knows no table but that of the store's id; the modules beside it have one subject each.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from logferry.errors import DamagedLedger, StoreError
from logferry.server.storage.disk.files.regular import kind_of
from logferry.server.storage.disk.ledger.database.file_format import VERSION, is_new, migrate, version_of

FILE_NAME: Final = "ledger.sqlite3"

_BUSY_S: Final = 10.0  # readers (fsck, report) hold a lock only briefly

# SQLite moves its log into the file once the log has this many pages (8 MiB): little for any disk, and rare compared
# with transactions. Most unsynced rows are deleted before that, so they are never written to the file itself.
_CHECKPOINT_PAGES: Final = 2048

# Result codes of SQLite that mean that the content of the file is not that of a ledger.
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_MAX_PROBLEMS: Final = 10


class LedgerDatabase:
    """An open ledger, used by one thread at a time."""

    def __init__(self, data_dir: Path, *, durable: bool, read_only: bool = False, is_checked: bool = False) -> None:
        """Open or create the file.

        `is_checked` has SQLite check it first. Raises StoreError if it is damaged or not a ledger, or a ledger of
        another version.
        """
        self.path = data_dir / FILE_NAME
        self.version = VERSION
        _refuse_other_kinds(self.path)
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
            raise damaged(self.path, problems[0])
        if not read_only:
            self._prepare(durable=durable)
            if version < VERSION:
                migrate(self._database, version)
        else:
            self.version = version

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

    def move_log_into_file(self) -> None:
        """Write everything that the log has into the file. Raises OSError, also if others use the ledger."""
        ((is_busy, pages, _),) = self._query("PRAGMA wal_checkpoint(TRUNCATE)")
        if is_busy or pages:
            raise OSError(None, "its log cannot be moved into it", str(self.path))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def store_id(self) -> str:
        """The id of the store, the same in every copy of the ledger. Raises OSError for a ledger of version 1."""
        ((store_id,),) = self._query("SELECT id FROM store")
        return str(store_id)

    def set_store_id(self, store_id: str) -> None:
        """Give the store the id that it had before."""
        self._database.execute("UPDATE store SET id = ?", (store_id,))

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


def sort_in(folder: Path) -> None:
    """Have SQLite keep in `folder` what it sorts and what does not fit into memory, in files without a name.

    Otherwise it needs /tmp or another folder that everybody may write to, and a server may have none: a container
    whose file system is read-only. Concerns all ledgers of the process: call it before other threads use one. Where
    it is not possible, SQLite looks for a folder as before.
    """
    name = str(folder.absolute()).replace("'", "''")
    with suppress(sqlite3.Error, UnicodeError), closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"PRAGMA temp_store_directory = '{name}'")


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


def _refuse_other_kinds(path: Path) -> None:
    """Raise StoreError if the ledger, or a file that SQLite keeps beside it, is not a file.

    SQLite would wait for the other end of a named pipe.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        name = path.with_name(f"{path.name}{suffix}")
        try:
            kind = kind_of(name.stat().st_mode)
        except OSError:
            continue
        if kind:
            raise StoreError(f"cannot open the ledger: {name} is {kind}, not a file")


def _kind(error: sqlite3.Error) -> int:
    """Return the primary result code of SQLite; 0 if there is none."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _cannot_open(path: Path, error: sqlite3.Error) -> StoreError:
    """Return what to do about a ledger that cannot be opened. Only damage is a reason to make another one."""
    if _kind(error) in _DAMAGE:
        return damaged(path, str(error))
    return StoreError(
        f"cannot open the ledger {path}: {error}. It is as it was: do not move or restore it, but remove the cause "
        "(a full disk, missing permissions, another program that uses it), and start again"
    )


def damaged(path: Path, problem: str) -> DamagedLedger:
    """Return the error for a ledger that is damaged, with what to do about it."""
    return DamagedLedger(
        f"the ledger {path} is damaged: {problem}. The segments are as they were. `logferry fsck --rebuild` makes the "
        "ledger anew from the journals beside them, and keeps the damaged one",
        problem,
    )
