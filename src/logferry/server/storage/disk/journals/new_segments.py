"""New segments: their entries are in the shared journal until each gets a journal of its own.

Owns when that is: once a segment is closed or has many entries, or once the shared journal is large. Also makes the
shared journal small again. Must never remove from it what is not in an own journal yet.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logferry.server.storage.disk.journals.journal import NOTHING, begin_entry, log_entry, open_journal, settled_entry
from logferry.server.storage.disk.journals.shared_journal import SHARED_NAME, Pieces, SharedJournal, write_whole
from logferry.server.storage.disk.journals.waiting_entries import Waiting
from logferry.server.storage.log_names import LogName
from logferry.server.storage.records import SegmentRow

# A new segment gets its own journal once the shared one has this much about it, and all do once that is large. Then it
# has a few thousand segments. A server that begins more than its thread can settle makes a file for each again.
_OWN_AT_BYTES: Final = 64 * 1024
_SHARED_AT_BYTES: Final = 2 * 1024 * 1024
_MAX_SHARED_BYTES: Final = 2 * _SHARED_AT_BYTES

# A store that is closed with at most this many new segments gives them their own journals: a few cost nothing, and a
# folder that is taken elsewhere then has all beside its segments. Otherwise the next start does.
_MAX_AT_CLOSE: Final = 64

# The writer waits at most for this many at a time: a few milliseconds.
AT_A_TIME: Final = 32


@dataclass(slots=True)
class _New:
    """A segment whose entries are in the shared journal: what that has about it."""

    path: str
    begin: bytes  # the entry before each addition
    sources: set[str] = field(default_factory=set)
    size: int = 0
    is_closed: bool = False


class NewSegments:
    """The segments whose entries are in the shared journal. `settle` takes the lock; callers of all others hold it."""

    def __init__(
        self,
        root: Path,
        store_id: str,
        *,
        lock: threading.Lock,
        wake: Callable[[], object],
        pause: Callable[[], object],
        on_failure: Callable[[OSError], object],
        on_closed: Callable[[int, str], object],
    ) -> None:
        """`wake` has `settle` called soon; `pause` lets other threads run, between two pieces of work.

        `on_closed` gets each closed segment that has its own journal now.
        """
        self._root = root
        self._store_id = store_id
        self._lock = lock
        self._wake = wake
        self._pause = pause
        self._on_failure = on_failure
        self._on_closed = on_closed
        self._shared = SharedJournal(root)
        self._new: dict[int, _New] = {}
        self._ripe: set[int] = set()  # those that must get their own journals
        self._keeps_shared = os.path.lexists(root / SHARED_NAME)  # the start could not settle what it has

    def __contains__(self, segment: int) -> bool:
        return segment in self._new

    def has_begun(self, row: SegmentRow, log: LogName) -> bool:
        """Begin a segment in the shared journal; return whether that worked. Otherwise it needs its own journal."""
        self._new.pop(row.id, None)  # of a transaction that was rolled back
        if self._shared.size > _MAX_SHARED_BYTES:
            return False
        begin = begin_entry(self._store_id, row.path)
        with contextlib.suppress(OSError):
            self._shared.append(begin + log_entry(log) + NOTHING)
            self._new[row.id] = _New(row.path, begin, size=len(begin))
            return True
        return False

    def write(self, waiting: Mapping[int, Waiting]) -> None:
        """Write what waits of new segments, all at once. Raises OSError; then nothing is written."""
        chunks = {segment: self._chunk(self._new[segment], found) for segment, found in waiting.items()}
        try:
            self._shared.append(b"".join(chunks.values()))
        except OSError:
            for segment in waiting:
                self._new[segment].sources.clear()
            raise
        for segment, chunk in chunks.items():
            self._note_written(segment, self._new[segment], len(chunk), waiting[segment].row)

    def forget(self, segments: Iterable[int]) -> None:
        """Never write again about segments that are about to be deleted."""
        if gone := [new.path for segment in segments if (new := self._new.pop(segment, None))]:
            self._note_settled(gone)

    def settle(self, *, end: float, is_last: bool) -> None:
        """Give new segments their own journals, until a time of the monotonic clock. Never raises OSError."""
        with self._lock:
            size = self._shared.size
            is_all = size > _SHARED_AT_BYTES or (is_last and len(self._new) <= _MAX_AT_CLOSE)
            segments = list(self._new if is_all else self._ripe)
        try:
            pieces = self._shared.read(0, size, pause=self._pause) if segments else {}
            for start in range(0, len(segments), AT_A_TIME):
                with self._lock:
                    self._settle_some(segments[start : start + AT_A_TIME], pieces, size)
                if time.monotonic() > end:
                    self._wake()
                    break
                self._pause()
            with self._lock:
                self._shorten_shared(pieces, size)
        except OSError as error:
            self._on_failure(error)
            self._wake()

    def close(self) -> None:
        """Close the shared journal."""
        self._shared.close()

    @staticmethod
    def _chunk(new: _New, waiting: Waiting) -> bytes:
        return b"".join((new.begin, *waiting.entries(new.sources)))

    def _note_written(self, segment: int, new: _New, size: int, row: SegmentRow) -> None:
        new.size += size
        new.is_closed = row.state != "open"
        if new.is_closed or new.size > _OWN_AT_BYTES:
            self._ripe.add(segment)
        if segment in self._ripe or self._shared.size > _SHARED_AT_BYTES:
            self._wake()

    def _settle_some(self, segments: Iterable[int], pieces: Pieces, size: int) -> None:
        """Write what the shared journal has about segments into their own journals. Raises OSError."""
        later = self._shared.read(size, self._shared.size)
        settled: list[str] = []
        for segment in segments:
            new = self._new.get(segment)
            if new and not self._has_own(new, [*pieces.get(new.path, ()), *later.get(new.path, ())]):
                self._wake()
                continue
            self._ripe.discard(segment)
            if new:
                del self._new[segment]
                settled.append(new.path)
                if new.is_closed:
                    self._on_closed(segment, new.path)
        if settled:
            self._note_settled(settled)

    def _has_own(self, new: _New, lines: Sequence[bytes]) -> bool:
        """Give a segment its own journal; return whether that worked."""
        try:
            descriptor, size = open_journal(self._root, new.path)
            try:
                write_whole(descriptor, b"".join(lines), size=size)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._on_failure(error)
            return False
        return True

    def _note_settled(self, paths: Iterable[str]) -> None:
        """Note in the shared journal that it has nothing about segments; without that, it repeats their journals."""
        with contextlib.suppress(OSError):
            self._shared.append(b"".join(map(settled_entry, paths)))

    def _shorten_shared(self, pieces: Pieces, size: int) -> None:
        """Let the shared journal have new segments alone. Raises OSError."""
        if self._keeps_shared or not self._shared.size:
            return
        live = sum(new.size for new in self._new.values())
        if self._new and self._shared.size <= max(_SHARED_AT_BYTES, 2 * live):
            return
        later = self._shared.read(size, self._shared.size)
        paths = [new.path for new in self._new.values()]
        lines = [line for path in paths for line in (*pieces.get(path, ()), *later.get(path, ()))]
        self._shared.replace(lines)
