"""The store: everything that is acked is here. One thread writes; any thread submits.

On disk, under DATA_DIR:

    lock                                    held by the one server that uses the folder; holds its process id
    segments/<host>/<name>/<date>-<n>.ndjson    see segments.py for the format, the limits and what recovery does

Group commit: the writer takes all deliveries that have gathered, appends them segment by segment, syncs each segment
once (`durability` fsync), and then says so for all at once. While it syncs, the next group gathers. So the cost of
a sync is shared by everybody who waits for it, and no clock or batch size has to be tuned.

What a crash leaves: of the group that was being written, any part, none of it acked; whole lines of it stay (their
clients send them again: at least once), an unfinished last line is cut off at the next start.

When the disk refuses (full, read-only, an error): what the group has written so far is cut off again, the
group stays in memory, and is tried again every 0.1 to 2 seconds until it works or the server stops. After a failed
sync the system may have dropped the written pages and would report success the next time; that is why the
group is always written again from memory, never only synced again.

The queue has no limit of its own: `submit` never waits. Whoever submits must stop at some amount of
unstored bytes (server.py does: MEMORY_LIMIT_BYTES for all clients together).
"""

import contextlib
import datetime
import fcntl
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from logferry.errors import StoreError
from logferry.server.segments import MAX_OPEN_SEGMENTS, Files, Segments, Stream

logger = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 2.0
_RETRY_GROWTH: Final = LAST_RETRY_S / FIRST_RETRY_S

# A stuck disk is asked once more to let go of the writer thread for this long, then the process ends without it.
_LAST_WAIT_S: Final = 0.5


def utc_today() -> datetime.date:
    """Return today's date in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


@dataclass(slots=True, eq=False)
class Delivery:
    """Lines that are to be stored together: `pieces` joined is NDJSON of `lines` lines and `size` bytes."""

    stream: Stream
    pieces: list[bytes]
    lines: int
    size: int


AnyDelivery = TypeVar("AnyDelivery", bound=Delivery)


class Store(Generic[AnyDelivery]):
    """Keeps deliveries in the order in which they are submitted, and says when they are safe.

    `on_stored` is called in the writer thread with each group, in order, when it is stored as durably as
    `durability` ("fsync", "os" or "none") says; `on_failure` when the writer thread has died of a bug.
    `echo` is called after that with each piece.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durability: str,
        segment_bytes: int,
        on_stored: Callable[[Sequence[AnyDelivery]], None],
        on_failure: Callable[[], None] = lambda: None,
        echo: Callable[[bytes], None] | None = None,
        files: Files | None = None,
        today: Callable[[], datetime.date] = utc_today,
        max_open_segments: int = MAX_OPEN_SEGMENTS,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self._data_dir = data_dir
        self._on_stored = on_stored
        self._on_failure = on_failure
        self._echo = echo
        self._first_retry_s = first_retry_s
        self._segments = Segments(
            data_dir / "segments",
            segment_bytes=segment_bytes,
            durable=durability == "fsync",
            files=files or Files(),
            today=today,
            max_open=max_open_segments,
        )
        self._lock: int | None = None
        self._thread = threading.Thread(target=self._run, name="logferry-store", daemon=True)
        self._gathered = threading.Condition()
        self._queue: deque[AnyDelivery] = deque()
        self._closing = False
        self._give_up = threading.Event()
        self._lines_let_go = 0
        self.lines_stored = 0
        self.bytes_stored = 0
        self.groups = 0
        self.syncs = 0
        self.failing = False  # the disk refuses, and the writer tries again
        self.has_died = False  # of a bug: nothing will be stored any more

    def open(self) -> None:
        """Lock the folder, recover, and start the writer. Raises StoreError."""
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(self._data_dir)
            self._segments.recover()
        except OSError as error:
            self._release()
            raise StoreError(f"cannot use the data folder {self._data_dir}: {_cause(error)}") from error
        self._thread.start()

    def submit(self, delivery: AnyDelivery) -> None:
        """Queue a delivery. An empty one is no work, but keeps its place in the order."""
        with self._gathered:
            self._queue.append(delivery)
            self._gathered.notify()

    def close(self, timeout_s: float) -> int:
        """Store what was submitted, within `timeout_s`, then close; return how many lines had to be let go."""
        with self._gathered:
            self._closing = True
            self._gathered.notify()
        self._thread.join(timeout_s)
        self._give_up.set()
        self._thread.join(_LAST_WAIT_S)
        if self._thread.is_alive():
            # The lock stays until the process ends: that thread may still write.
            logger.error("the writer of %s does not answer; leaving it behind", self._data_dir)
            return sum(delivery.lines for delivery in self._queue)
        self._release()
        return self._lines_let_go

    def _release(self) -> None:
        self._segments.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _run(self) -> None:
        try:
            while group := self._take_group():
                if not self._store(group):
                    self._let_go(group)
                    return
                self._on_stored(group)
                self._echo_group(group)
        except Exception:
            logger.exception("the writer of %s has failed", self._data_dir)
            self.has_died = True
            self._on_failure()

    def _take_group(self) -> list[AnyDelivery]:
        """Wait for deliveries; return all that have gathered, for as many streams as may be open; [] at the end."""
        with self._gathered:
            while not self._queue and not self._closing:
                self._gathered.wait()
            streams: set[Stream] = set()
            group: list[AnyDelivery] = []
            while self._queue:
                streams.add(self._queue[0].stream)
                if len(streams) > self._segments.max_open:
                    break
                group.append(self._queue.popleft())
            return group

    def _store(self, group: Sequence[AnyDelivery]) -> bool:
        """Write and sync a group, however often that takes; False when the server stops before it succeeds."""
        retry_s = self._first_retry_s
        failing_since: float | None = None
        while True:
            try:
                self._segments.undo_if_needed()
                self._append(group)
                break
            except OSError as error:
                with contextlib.suppress(OSError):  # tried again above, before anything is written
                    self._segments.undo_if_needed()
                if failing_since is None:
                    failing_since = time.monotonic()
                    self._report_failure(error, group)
            if self._give_up.wait(retry_s):
                return False
            retry_s = min(retry_s * 2, self._first_retry_s * _RETRY_GROWTH)
        if failing_since is not None:
            self.failing = False
            logger.info("writing to %s again, after %.1f s", self._data_dir, time.monotonic() - failing_since)
        return True

    def _append(self, group: Sequence[AnyDelivery]) -> None:
        by_stream: dict[Stream, list[list[bytes]]] = {}
        for delivery in group:
            if delivery.pieces:
                by_stream.setdefault(delivery.stream, []).append(delivery.pieces)
        for stream, deliveries in by_stream.items():
            self._segments.append(stream, deliveries)
        self.syncs += self._segments.sync()
        self._segments.commit()
        self.groups += bool(by_stream)
        self.lines_stored += sum(delivery.lines for delivery in group)
        self.bytes_stored += sum(delivery.size for delivery in group)

    def _report_failure(self, error: OSError, group: Sequence[AnyDelivery]) -> None:
        self.failing = True
        with self._gathered:
            lines = sum(delivery.lines for delivery in itertools.chain(group, self._queue))
        logger.error("cannot write %s: acks wait, %d lines in memory", _cause(error), lines)

    def _let_go(self, group: Sequence[AnyDelivery]) -> None:
        with self._gathered:
            self._lines_let_go = sum(delivery.lines for delivery in itertools.chain(group, self._queue))
        try:
            self._segments.undo_if_needed()
        except OSError as error:
            logger.warning("cannot cut back %s; whole lines that were never acked may stay", _cause(error))
        logger.error("let go of %d lines that were never acked; their clients still have them", self._lines_let_go)

    def _echo_group(self, group: Sequence[AnyDelivery]) -> None:
        if self._echo is None:
            return
        try:
            for delivery in group:
                for piece in delivery.pieces:
                    self._echo(piece)
        except (OSError, ValueError) as error:  # a closed file is a ValueError
            self._echo = None
            logger.warning("cannot echo any more: %s", error)


def _cause(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


def _take_lock(data_dir: Path) -> int:
    """Lock a folder for this process. Raises StoreError that names the holder, or OSError."""
    descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreError(
            f"cannot use the data folder {data_dir}: another server (process {holder}) is using it"
        ) from None
    except OSError:
        # A full disk takes no process id; the lock holds without it.
        logger.warning("cannot write the process id into %s", data_dir / "lock")
    return descriptor
