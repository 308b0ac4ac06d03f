"""SQL over stored lines, by DuckDB (the extra `logferry[sql]`): the view `logs` has what is committed, nothing else.

DuckDB reads through a file system of ours, in which the committed bytes of each log are files: their folders name the
receipt, the host and the path, so that DuckDB opens only what a query asks for. A query reaches no other file and no
network, cannot change settings, and has a limit of memory. Never writes.
"""

import datetime
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from logferry.errors import LogferryError
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.disk.segments import Piece
from logferry.reading.stored import Log

_PROTOCOL: Final = "stored"

# What was received together is a file, if that makes few files. If not, a file has at least this much of a log, unless
# the log has less, and there are at most about this many files.
_FEW_FILES: Final = 1_000
_LEAST_FILE_BYTES: Final = 8 * 1024 * 1024
_MOST_FILES: Final = 4_000

# A server takes records of at most 16 MiB.
_MOST_RECORD_BYTES: Final = 17 * 1024 * 1024

# Before a value in a folder's name: an empty one would be none. `host=_web-1`.
_MARK: Final = "_"

_NEVER: Final = -1

_VIEW: Final = f"""
    CREATE VIEW logs AS SELECT
        substr(host, 2) AS host,
        substr(path, 2) AS path,
        CASE WHEN received = {_NEVER} THEN NULL ELSE epoch_ms(received) END AS received_at,
        json->>'$.level' AS level,
        json->>'$.timestamp' AS timestamp,
        json->>'$.message' AS message,
        json_merge_patch(json, '{{"level": null, "message": null, "timestamp": null}}') AS fields
    FROM read_ndjson_objects(
        '{_PROTOCOL}://**', hive_partitioning = true, ignore_errors = true,
        maximum_object_size = {_MOST_RECORD_BYTES},
        hive_types = {{'received': BIGINT, 'host': VARCHAR, 'path': VARCHAR}}
    )
"""

_EMPTY_VIEW: Final = """
    CREATE VIEW logs AS SELECT '' AS host, '' AS path, NULL::TIMESTAMP AS received_at, '' AS level, '' AS timestamp,
    '' AS message, NULL::JSON AS fields WHERE false
"""


class SqlError(LogferryError):
    """A query cannot be answered: what DuckDB says of it, or that DuckDB is missing."""


class StoredFile(NamedTuple):
    """Committed bytes of a log, which were received at the latest at `received` (milliseconds; None: unknown)."""

    log: Log
    piece: Piece
    received: int | None

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.piece.end - self.piece.start

    def name(self, number: int) -> str:
        """Return its path in the file system."""
        host, path = (quote(_MARK + part, safe="") for part in (self.log.host, self.log.path))
        return f"received={_NEVER if self.received is None else self.received}/host={host}/path={path}/{number}.ndjson"


def files_of(stored: DiskLogs) -> list[StoredFile]:
    """Return what is committed as files: each has lines that were received within a short time, if that is known."""
    pieces = [(log, piece) for log in stored.logs() for piece in stored.pieces(log)]
    size = max(_LEAST_FILE_BYTES, sum(piece.end - piece.start for _, piece in pieces) // _MOST_FILES)
    if sum(len(piece.marks) for _, piece in pieces) <= _FEW_FILES:
        size = 0
    return [
        StoredFile(log, part, part.marks[-1][1].last if part.marks else None)
        for log, piece in pieces
        for part in _divided(piece, size)
    ]


def _divided(piece: Piece, size: int) -> Iterator[Piece]:
    """Yield parts of a piece that begin where lines were received later than those before."""
    start, marks = piece.start, list(piece.marks[:1])
    for position, received in piece.marks[1:]:
        if position - start >= size:
            yield piece._replace(start=start, end=position, marks=marks)
            start, marks = position, []
        marks.append((position, received))
    yield piece._replace(start=start, marks=marks)


class Query:
    """A connection of DuckDB to a store. Used by one thread; DuckDB has its own, which read one at a time."""

    def __init__(self, stored: DiskLogs, *, memory_bytes: int, may_reach_others: bool = False) -> None:
        """`may_reach_others`: queries may read other files, and use the network. Raises SqlError and OSError."""
        self._duckdb = _module("duckdb")
        files = {file.name(number): file for number, file in enumerate(files_of(stored))}
        self._connection = self._duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
        self._connection.register_filesystem(_file_system(files, stored))
        for setting in _settings(memory_bytes, may_reach_others=may_reach_others):
            self._connection.execute(f"SET {setting}")
        self._connection.execute(_VIEW if files else _EMPTY_VIEW)
        self._connection.execute("SET lock_configuration = true")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def rows(self, text: str, *, at_once: int = 1000) -> tuple[Sequence[str], Iterator[Sequence[tuple[Any, ...]]]]:
        """Return the names of the columns of a result, and its rows, some at a time. Raises SqlError, also later."""
        result = self._asked(lambda: self._connection.execute(text))
        columns = [str(column[0]) for column in result.description or ()]
        return columns, self._batches(result, at_once)

    def _batches(self, result: Any, at_once: int) -> Iterator[Sequence[tuple[Any, ...]]]:
        while batch := self._asked(lambda: result.fetchmany(at_once)):
            yield batch

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except self._duckdb.Error as error:
            raise SqlError(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    """Return what DuckDB says; of an exception in what it called, only the last line."""
    lines = [line for line in str(error).splitlines() if line.strip()] or ["it says nothing more"]
    return lines[-1] if lines[0].startswith("Traceback") else "; ".join(line.strip() for line in lines[:2])


def _settings(memory_bytes: int, *, may_reach_others: bool) -> list[str]:
    settings = [f"memory_limit = '{memory_bytes // 1000} kB'", "temp_directory = ''", "TimeZone = 'UTC'"]
    if not may_reach_others:
        settings += [f"allowed_directories = ['{_PROTOCOL}://']", "enable_external_access = false"]
    return settings


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise SqlError(f"SQL needs {name}, which is not installed: pip install 'logferry[sql]'") from None


def _file_system(files: dict[str, StoredFile], stored: DiskLogs) -> Any:
    """Return the file system that DuckDB reads. Its class comes from fsspec, which only this command needs."""
    lock = threading.Lock()

    class _StoredFiles(_module("fsspec").AbstractFileSystem):  # type: ignore[misc]
        protocol = _PROTOCOL

        def glob(self, path: str, **_: Any) -> list[str]:
            return list(files)

        def exists(self, path: str, **_: Any) -> bool:
            return self._name(path) in files

        def isdir(self, path: str) -> bool:
            return False

        def info(self, path: str, **_: Any) -> dict[str, Any]:
            name = self._name(path)
            if name not in files:
                raise FileNotFoundError(name)
            return {"name": name, "size": files[name].size, "type": "file"}

        def modified(self, path: str) -> datetime.datetime:
            return datetime.datetime.fromtimestamp(0, datetime.UTC)

        def open(self, path: str, mode: str = "rb", **_: Any) -> io.RawIOBase:
            name = self._name(path)
            if mode != "rb" or name not in files:
                raise PermissionError(f"{name} cannot be opened")
            return _Reader(files[name], stored, lock)

        def _name(self, path: str) -> str:
            return str(self._strip_protocol(path))

    return _StoredFiles()


class _Reader(io.RawIOBase):
    """A file that is open. DuckDB positions and reads it."""

    def __init__(self, file: StoredFile, stored: DiskLogs, lock: threading.Lock) -> None:
        super().__init__()
        self._file = file
        self._stored = stored
        self._lock = lock
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(self._file.size - self._at, 0)
        wanted = left if size < 0 else min(size, left)
        with self._lock:
            data = (
                self._stored.bytes_of(self._file.piece.row, self._file.piece.start + self._at, wanted)
                if wanted
                else b""
            )
        if len(data) < wanted:  # DuckDB gives up where a file is shorter than it was: empty lines are none
            data = data[: data.rfind(b"\n") + 1].ljust(wanted, b"\n")
        self._at += len(data)
        return data
