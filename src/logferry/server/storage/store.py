"""The store: everything that is acked is here. One thread writes; any thread submits.

On disk, under DATA_DIR:

    lock                                    held by the one server that uses the folder; holds its process id
    ledger.sqlite3                          what is stored, of which source, in which segment: see ledger.py
    segments/<host>/<name>/<date>-<n>.ndjson    the lines: see segments.py

Group commit: the writer takes all deliveries that have gathered, decides which batches are to be stored (sources.py),
appends segment by segment, syncs each segment once (`durability` fsync; small writes to many of them go another way,
see settling.py), enters it all into the ledger in one transaction, and then says so for all at once. While it does, the
next group gathers. So the cost of a sync is shared by everybody who waits for it, and no clock or batch size has to be
tuned.

What a crash leaves: of the group that was being written, any part, none of it acked and none of it in the ledger; it is
cut off at the next start (recovery.py).

When the disk refuses (full, read-only, an error): what the group has written so far is cut off again, the
group stays in memory, and is tried again every 0.1 to 2 seconds until it works or the server stops. After a failed
sync the system may have dropped the written pages and would report success the next time; that is why the
group is always written again from memory, never only synced again. When only the ledger refuses, the segments are
synced already and stay as they are: a commit that has failed may still be found on the disk after a crash.

The queue has no limit of its own: `submit` never waits. Whoever submits must stop at some amount of
unstored bytes (server.py does: MEMORY_LIMIT_BYTES for all clients together).
"""

import contextlib
import datetime
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar

from logferry.durable import FolderInUse, lock_folder, sync_folder
from logferry.errors import StoreError
from logferry.protocol.delivery import BatchRequest
from logferry.server.storage.admission import Claim, Draft, Sources
from logferry.server.storage.deferred_sync import Settler
from logferry.server.storage.file_ops import Files
from logferry.server.storage.ledger import Ledger
from logferry.server.storage.recovery import recover
from logferry.server.storage.retention import Retention
from logferry.server.storage.segments import FOLDER_NAME, MAX_OPEN_SEGMENTS, Payload, Placement, Segments
from logferry.server.storage.stream_names import Stream

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
    """Lines that are to be stored together: `pieces` joined is NDJSON of `lines` lines and `size` bytes.

    With a `claim` they are of a source, and whether and where they are stored is decided by the writer.
    """

    stream: Stream
    pieces: list[bytes]
    lines: int
    size: int
    claim: Claim | None = field(default=None, kw_only=True)


AnyDelivery = TypeVar("AnyDelivery", bound=Delivery)
Result = TypeVar("Result")


def no_crash(_: str) -> None:
    """Pass a crash point; tests end the process there instead."""


class Store(Generic[AnyDelivery]):
    """Keeps deliveries in the order in which they are submitted, and says when they are safe.

    `on_stored` is called in the writer thread with each group, in order, when it is stored as durably as
    `durability` ("fsync", "os" or "none") says, each claim with its outcome; `on_failure` when the writer thread has
    died of a bug. `echo` is called after that with each piece that was stored.
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
        retention_bytes: int = 0,
        retention_days: int = 0,
        files: Files | None = None,
        today: Callable[[], datetime.date] = utc_today,
        max_open_segments: int = MAX_OPEN_SEGMENTS,
        first_retry_s: float = FIRST_RETRY_S,
        crash_point: Callable[[str], None] = no_crash,
    ) -> None:
        self._data_dir = data_dir
        self._durable = durability == "fsync"
        self._segment_bytes = segment_bytes
        self._on_stored = on_stored
        self._on_failure = on_failure
        self._echo = echo
        self._retention_bytes = retention_bytes
        self._retention_days = retention_days
        self._files = files or Files()
        self._today = today
        self._first_retry_s = first_retry_s
        self._crash_point = crash_point
        self.max_open_segments: Final = max_open_segments
        self._lock: int | None = None
        self._ledger: Ledger | None = None
        self._segments: Segments
        self._sources: Sources
        self._settler: Settler | None = None
        self._retention: Retention
        self._thread = threading.Thread(target=self._run, name="logferry-store", daemon=True)
        self._gathered = threading.Condition()
        self._queue: deque[AnyDelivery] = deque()
        self._closing = False
        self._give_up = threading.Event()
        self._lines_let_go = 0
        self._recovered_bytes = 0  # at the start
        self.lines_stored = 0
        self.bytes_stored = 0
        self.repeats = 0  # batches that were stored before
        self.groups = 0
        self.syncs = 0
        self.failing = False  # the disk refuses, and the writer tries again
        self.has_died = False  # of a bug: nothing will be stored any more

    @property
    def recovered_bytes(self) -> int:
        """How many bytes that were never acked have been cut off segments."""
        return self._recovered_bytes + (self._segments.recovered_bytes if self._ledger else 0)

    def open(self) -> None:
        """Lock the folder, recover, and start the writer. Raises StoreError."""
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self._data_dir)
            self._open_ledger()
        except FolderInUse as error:
            raise StoreError(
                f"cannot use the data folder {self._data_dir}: another server (process {error.holder}) is using it"
            ) from None
        except OSError as error:
            self._release()
            raise StoreError(f"cannot use the data folder {self._data_dir}: {_cause(error)}") from error
        except StoreError:
            self._release()
            raise
        if self._settler:
            self._settler.start()
        self._thread.start()

    def _open_ledger(self) -> None:
        root = self._data_dir / FOLDER_NAME
        ledger = self._ledger = Ledger(self._data_dir, durable=self._durable)
        if self._durable:
            sync_folder(self._data_dir)
        self._sources = Sources(ledger)
        self._segments = Segments(
            root,
            ledger,
            segment_bytes=self._segment_bytes,
            durable=self._durable,
            files=self._files,
            today=self._today,
            max_open=self.max_open_segments,
        )
        self._retention = Retention(
            root, ledger, self._files, max_bytes=self._retention_bytes, max_days=self._retention_days
        )
        self._recovered_bytes = recover(root, ledger, self._files)
        if self._durable:
            self._settler = Settler(self._data_dir, root, self._files)
        self._retain()

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
        if self._settler:
            self._settler.stop(_LAST_WAIT_S)
        self._release()
        return self._lines_let_go

    def _release(self) -> None:
        if self._ledger:
            self._segments.close()
            self._ledger.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _run(self) -> None:
        try:
            while group := self._take_group():
                stored = self._store(group)
                if stored is None:
                    self._let_go(group)
                    return
                self._on_stored(group)
                self._echo_all(stored)
                self._retain()
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
                if len(streams) > self.max_open_segments:
                    break
                group.append(self._queue.popleft())
            return group

    def _store(self, group: Sequence[AnyDelivery]) -> Sequence[AnyDelivery] | None:
        """Write and sync a group and enter it into the ledger, however often that takes; return what was stored.

        None when the server stops before it succeeds.
        """
        written = self._insist(lambda: self._write(group), group)
        if written is None:
            return None
        draft, stored = written
        if self._insist(lambda: self._enter(draft), group) is None:
            return None
        self._segments.commit()
        self._sources.accept(draft)
        self.repeats += draft.repeats
        self.groups += bool(stored)
        self.lines_stored += sum(delivery.lines for delivery in stored)
        self.bytes_stored += sum(delivery.size for delivery in stored)
        self._crash_point("after transaction")
        return stored

    def _insist(self, step: Callable[[], Result], group: Sequence[AnyDelivery]) -> Result | None:
        """Return what `step` returns once it raises no OSError any more; None when the server stops before."""
        retry_s = self._first_retry_s
        failing_since: float | None = None
        while True:
            try:
                result = step()
                break
            except OSError as error:
                if failing_since is None:
                    failing_since = time.monotonic()
                    self._report_failure(error, group)
            if self._give_up.wait(retry_s):
                return None
            retry_s = min(retry_s * 2, self._first_retry_s * _RETRY_GROWTH)
        if failing_since is not None:
            self.failing = False
            logger.info("writing to %s again, after %.1f s", self._data_dir, time.monotonic() - failing_since)
        return result

    def _write(self, group: Sequence[AnyDelivery]) -> tuple[Draft, Sequence[AnyDelivery]]:
        """Judge, append and sync a group; after a failure nothing of it stays. Raises OSError."""
        try:
            self._segments.undo_if_needed()
            draft = self._sources.draft()
            stored = [delivery for delivery in group if _is_to_be_stored(delivery, draft)]
            self._crash_point("before append")
            self._append(stored, draft)
            self._crash_point("after append")
            self.syncs += self._segments.sync()
            self._crash_point("after fsync")
        except OSError:
            with contextlib.suppress(OSError):  # tried again above, before anything is written
                self._segments.undo_if_needed()
            raise
        return draft, stored

    def _append(self, stored: Sequence[AnyDelivery], draft: Draft) -> None:
        by_stream: dict[Stream, list[int]] = {}
        for number, delivery in enumerate(stored):
            by_stream.setdefault(_stream_of(delivery), []).append(number)
        self._segments.prepare(by_stream)
        placements: dict[int, Placement] = {}
        for stream, numbers in by_stream.items():
            payloads = [_payload_of(stored[number]) for number in numbers]
            placements.update(zip(numbers, self._segments.append(stream, payloads), strict=True))
        for number, delivery in enumerate(stored):
            if delivery.claim:
                draft.place(delivery.claim, placements[number])

    def _enter(self, draft: Draft) -> bool:
        """Enter what was written into the ledger. Raises OSError."""
        rows = self._segments.changed_rows
        if rows or draft.changes_ledger:
            assert self._ledger
            with self._ledger.transaction():
                self._ledger.set_segments(rows)
                self._ledger.add_unsynced(self._segments.kept)
                draft.save(self._ledger)
            if self._segments.kept and self._settler:
                self._settler.wake(sum(len(data) for _, _, data in self._segments.kept))
        return True

    def _retain(self) -> None:
        """Delete what retention does not keep; a failure does no harm and is made up for the next time."""
        try:
            self._retention.apply(self._today(), self._segments)
        except OSError as error:
            logger.warning("cannot delete what is old: %s", _cause(error))

    def _report_failure(self, error: OSError, group: Sequence[AnyDelivery]) -> None:
        self.failing = True
        with self._gathered:
            lines = sum(delivery.lines for delivery in itertools.chain(group, self._queue))
        logger.error("cannot write %s: acks wait, %d lines in memory", _cause(error), lines)

    def _let_go(self, group: Sequence[AnyDelivery]) -> None:
        with self._gathered:
            self._lines_let_go = sum(delivery.lines for delivery in itertools.chain(group, self._queue))
        logger.error("let go of %d lines that were never acked; their clients still have them", self._lines_let_go)

    def _echo_all(self, stored: Sequence[AnyDelivery]) -> None:
        if self._echo is None:
            return
        try:
            for delivery in stored:
                for piece in delivery.pieces:
                    self._echo(piece)
        except (OSError, ValueError) as error:  # a closed file is a ValueError
            self._echo = None
            logger.warning("cannot echo any more: %s", error)


def _is_to_be_stored(delivery: Delivery, draft: Draft) -> bool:
    return draft.decide(delivery.claim) if delivery.claim else bool(delivery.pieces)


def _payload_of(delivery: Delivery) -> Payload:
    request = delivery.claim and delivery.claim.request
    return Payload(delivery.pieces, delivery.lines, request.crc32 if isinstance(request, BatchRequest) else None)


def _stream_of(delivery: Delivery) -> Stream:
    return (delivery.claim and delivery.claim.stream) or delivery.stream


def _cause(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"
