"""A `Source` over a data folder: questions of the console become searches in `reading`, and sums of the ledger.

Each question opens the store for itself, because it has a thread of its own; what the header and the tabs ask again and
again is kept for a moment. Must never keep a ledger open between questions.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final, Generic, TypeVar

from logferry.console.source import (
    Counted,
    Counts,
    FileCheck,
    FileInfo,
    Followed,
    Gap,
    HostInfo,
    Line,
    Proof,
    Query,
    Stop,
    Storage,
    UnknownPlace,
)
from logferry.console.stored.checking import check_file
from logferry.console.stored.isolated import isolated
from logferry.console.stored.proving import proof_of
from logferry.console.stored.searches import as_line, count_by, count_lines, follow_lines, known_places, search_lines
from logferry.console.stored.usage import storage_of
from logferry.console.stored.wanted import selection_of
from logferry.reading.counting.client_states import client_states, state_in_utc
from logferry.reading.counting.hosts import hosts_of
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.query.context import lines_at, lines_before
from logferry.reading.stored import Log, LogSize, place_at

_T = TypeVar("_T")

# Every page that is open asks every few seconds.
_KEPT_S: Final = 2.0


class _Kept(Generic[_T]):
    """A value that is made again when it is older than a moment, by one thread at a time."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: _T | None = None
        self._made_at = 0.0

    def get(self) -> _T:
        """Return the value, made at most a moment ago, or four times as long ago as making it takes."""
        with self._lock:
            began = time.monotonic()
            if self._value is None or began >= self._made_at:
                self._value = self._make()
                now = time.monotonic()
                self._made_at = now + max(_KEPT_S, 4 * (now - began))
            return self._value


class StoredSource:
    """See Source. Raises StoreError when it is made if there is no store."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._sizes = _Kept(self._read_sizes)
        self._proof = _Kept(lambda: proof_of(data_dir))
        self._storage = _Kept(lambda: storage_of(data_dir))
        with self._opened():
            pass

    def hosts(self) -> Sequence[HostInfo]:
        """See Source; likewise below."""
        return [
            HostInfo(
                *(host.name, host.files, host.lines, host.bytes, host.first_received, host.last_received),
                *(state_in_utc(host.client), host.segments),
            )
            for host in hosts_of(self._sizes.get(), client_states(self._data_dir))
        ]

    def files(self) -> Sequence[FileInfo]:
        by_file: dict[tuple[str, str], list[LogSize]] = {}
        for log, size in self._sizes.get():
            by_file.setdefault((log.host, log.path), []).append(size)
        return [FileInfo(host, path, *_sums(sizes)) for (host, path), sizes in sorted(by_file.items())]

    def search(self, query: Query, *, from_place: str, is_backward: bool, stop: Stop) -> Iterator[Line]:
        return self._run(search_lines, query, stop, from_place=from_place, is_backward=is_backward)

    def counts(self, query: Query, *, since: int, bucket_ms: int, buckets: int, stop: Stop) -> Iterator[Counts]:
        return self._run(count_lines, query, stop, since=since, bucket_ms=bucket_ms, buckets=buckets)

    def follow(self, query: Query, *, after: str, stop: Stop) -> Iterator[Followed]:
        return self._run(follow_lines, query, stop, is_tail=True, after=after)

    def _run(
        self, ask: Callable[..., Iterator[_T]], query: Query, stop: Stop, *, is_tail: bool = False, **more: object
    ) -> Iterator[_T]:
        """Ask in this thread, or, with a regular expression, in a process of its own."""
        if any(word.is_regex for word in query.words):
            return isolated(ask, (self._data_dir, query), more, stop, is_tail=is_tail)
        return ask(self._data_dir, query, stop, **more)

    def gaps(self, query: Query) -> Sequence[Gap]:
        selection = selection_of(replace(query, words=()))
        with self._opened() as logs:
            wanted = [log for log in logs.logs() if selection.has_log(log)]
            found = logs.lacking(wanted, selection.span)
        return [
            Gap(
                *(each.log.host, each.log.path, each.first, each.last),
                *("lost" if each.is_lost else "unknown", each.reason, each.bytes),
            )
            for each in found
        ]

    def context(self, place: str, *, before: int, after: int, stop: Stop) -> Sequence[Line]:
        with self._opened() as logs, known_places():
            at = place_at(place)
            log = logs.log_at(at)
            lines = [*lines_before(logs, log, at, before), *lines_at(logs, log, at, after + 1)]
        return [as_line(line) for line in lines]

    def raw(self, place: str, *, stop: Stop) -> bytes:
        with self._opened() as logs, known_places():
            at = place_at(place)
            lines = lines_at(logs, logs.log_at(at), at, 1)
        if not lines:
            raise UnknownPlace
        return lines[0].data

    def proof(self) -> Proof:
        return self._proof.get()

    def statistics(self, query: Query, *, by: str, with_patterns: bool, stop: Stop) -> Iterator[Counted]:
        more = {"by": by, "with_patterns": with_patterns}
        return isolated(count_by, (self._data_dir, query), more, stop)

    def check(self, host: str, path: str, *, stop: Stop) -> Iterator[FileCheck]:
        return isolated(check_file, (self._data_dir, host, path), {}, stop)

    def storage(self) -> Storage:
        return self._storage.get()

    def _opened(self) -> "closing[DiskLogs]":
        return closing(DiskLogs(self._data_dir))

    def _read_sizes(self) -> Sequence[tuple[Log, LogSize]]:
        with self._opened() as logs:
            return logs.sizes()


def _sums(sizes: Sequence[LogSize]) -> tuple[int, int, int | None, int | None]:
    """Return lines, bytes, and when the first and the last line were received."""
    first = [size.first_received for size in sizes if size.first_received is not None]
    last = [size.last_received for size in sizes if size.last_received is not None]
    return (
        sum(size.lines for size in sizes),
        sum(size.bytes for size in sizes),
        min(first, default=None),
        max(last, default=None),
    )
