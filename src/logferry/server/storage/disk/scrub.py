"""Scrub: compares every segment with the ledger in the background, again and again, and records what is damaged.

Owns the order and the pace. Each segment is read once per `interval_s`, evenly spread, at most `max_bytes_per_s` fast,
with the lowest priority that the system offers. Missing and short files are found sooner, by their size. Of a damaged
segment, the extents whose bytes differ are recorded (damage.py), so that clients can repair them (repair.py). Reads
only, except for what a closed segment holds beyond its length in the ledger: that is moved aside (surplus.py).
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from logferry.errors import StoreError, cause_of
from logferry.printable import quoted
from logferry.server.storage.disk.damage import DamageRegistry
from logferry.server.storage.disk.fsck import segment_problem
from logferry.server.storage.disk.idle_priority import lower_priority
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.repair import SegmentRepair, is_damaged
from logferry.server.storage.disk.segment_names import FOLDER_NAME
from logferry.server.storage.records import DamageRow, SegmentRow
from logferry.telemetry.log_limits import RateLimit, RepeatLimit
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# How often the sizes of all files are compared with the ledger: a system call for each segment.
_SIZES_S: Final = 600.0

_RETRY_S: Final = 60.0  # after a failure of the disk or of the ledger

_PAGE: Final = 500  # extents that are compared before what was found is recorded
_MESSAGES_PER_SECOND: Final = 10


class _Stopped(Exception):
    """The thread was asked to stop in the middle of a segment."""


class Scrub:
    """The thread that checks segments. Only `start`, the stops and `bytes_read` are for other threads."""

    def __init__(
        self,
        data_dir: Path,
        registry: DamageRegistry,
        repair: SegmentRepair,
        *,
        interval_s: float,
        max_bytes_per_s: int,
    ) -> None:
        self._data_dir = data_dir
        self._registry = registry
        self._repair = repair
        self._interval_s = interval_s
        self._bytes_per_s = max_bytes_per_s
        self._noted: dict[int, int] = {}  # segments that are too short, with the size for which that was recorded
        self._resume_at = 0.0  # the next segment has its turn
        self._sizes_at = 0.0
        self._failures = RepeatLimit(logger)
        self._log = RateLimit(logger, per_second=_MESSAGES_PER_SECOND, what="damaged segments")
        self.bytes_read = 0
        self._worker = Worker(self._run, name="logferry-scrub")

    def start(self) -> None:
        """Begin to check."""
        self._worker.start()

    def ask_to_stop(self) -> None:
        """Ask the thread to end."""
        self._worker.ask_to_stop()

    def stop(self, timeout_s: float) -> bool:
        """Stop within a block; return whether the thread has ended in time."""
        self._worker.ask_to_stop()
        return self._worker.wait_for_end(timeout_s)

    def _run(self, worker: Worker) -> None:
        lower_priority(threading.get_native_id())
        while not worker.is_stopping:
            try:
                wait_s = self._step(worker)
                self._failures.all_over("scrub works again")
            except _Stopped:
                break
            except (OSError, StoreError) as error:
                cause = cause_of(error, with_path=True) if isinstance(error, OSError) else str(error)
                self._failures.log(logging.WARNING, cause, "scrub cannot continue, trying again in a minute: %s", cause)
                wait_s = min(_RETRY_S, self._interval_s)
            except Exception:  # the top of a worker: a bug here must not end the server
                logger.exception("scrub has failed; segments are not checked any more until the next start")
                return
            worker.wait(wait_s)
        self._log.flush()

    def _step(self, worker: Worker) -> float:
        """Check what is due, at most one segment besides those that are too short; return how long to wait."""
        ledger = Ledger(self._data_dir, durable=False, read_only=True)
        try:
            rows = ledger.segments("open", "closed")
            now = time.monotonic()
            if now >= self._sizes_at:
                self._sizes_at = now + min(_SIZES_S, self._interval_s)
                for row, size in self._too_short(rows):
                    self._check(ledger, row, worker)
                    self._noted[row.id] = size
            if now >= self._resume_at:
                self._resume_at = now + self._check_oldest(ledger, rows, worker)
        finally:
            ledger.close()
        return max(0.0, min(self._resume_at, self._sizes_at) - time.monotonic())

    def _check_oldest(self, ledger: Ledger, rows: Sequence[SegmentRow], worker: Worker) -> float:
        """Check the segment that was checked longest ago, if it is due; return the time until the next one's turn."""
        checks = ledger.checks()
        due_in = {row.id: _due_in(row, checks, self._interval_s) for row in rows}
        row = min(rows, key=lambda row: due_in[row.id], default=None)
        if row is None or due_in[row.id] > 0:
            return due_in[row.id] if row else self._interval_s
        self._check(ledger, row, worker)
        return self._interval_s * row.bytes / max(1, sum(row.bytes for row in rows))

    def _too_short(self, rows: Sequence[SegmentRow]) -> Iterator[tuple[SegmentRow, int]]:
        """Yield segments whose files are missing or too short, with their sizes, unless that is recorded already."""
        for row in rows:
            size = _size(self._data_dir / FOLDER_NAME / row.path)
            if size >= row.bytes:
                self._noted.pop(row.id, None)
            elif self._noted.get(row.id) != size:
                yield row, size

    def _check(self, ledger: Ledger, row: SegmentRow, worker: Worker) -> None:
        """Compare one segment with the ledger, and record the result. Raises OSError, StoreError or _Stopped."""

        def pace(size: int) -> None:
            self.bytes_read += size
            end = time.monotonic() + size / self._bytes_per_s
            while not worker.is_stopping and (left := end - time.monotonic()) > 0:
                worker.wait(left)
            if worker.is_stopping:
                raise _Stopped

        problem = segment_problem(self._data_dir, row, on_block=pace)
        now = ledger.segment(row.id)
        if not problem or now is None or now.state == "expired":
            self._registry.is_sound(row.id)
        elif not self._repair.trim(now) or segment_problem(self._data_dir, now, on_block=pace):
            self._note_damage(ledger, now, problem)
        self._registry.is_checked(row.id, time.time())

    def _note_damage(self, ledger: Ledger, row: SegmentRow, problem: str) -> None:
        path = self._data_dir / FOLDER_NAME / row.path
        damaged = new = 0
        for rows in self._damaged_extents(ledger, row, path):
            damaged += len(rows)
            new += self._registry.note(rows)
        if not damaged:
            new = self._registry.note([DamageRow("", row.id, row.id)])
        if new:
            what = f"{damaged} extents of it" if damaged else "lines without a source, which no client can repair"
            message = "%s is damaged: it %s; recorded %s; clients that have the lines repair them (see `logferry fsck`)"
            self._log.log(logging.ERROR, message, quoted(str(path)), problem, what)

    def _damaged_extents(self, ledger: Ledger, row: SegmentRow, path: Path) -> Iterator[list[DamageRow]]:
        """Yield the damaged extents of a segment, some at a time."""
        after = ("", -1)
        while page := ledger.extents_in(row.id, after=after, limit=_PAGE):
            after = (page[-1][0], page[-1][1].start)
            found = [
                DamageRow(source, extent.start, row.id)
                for source, extent in page
                if extent.position + extent.bytes <= row.bytes and is_damaged(path, extent)
            ]
            if found:
                yield found


def _due_in(row: SegmentRow, checks: Mapping[int, float], interval_s: float) -> float:
    """Return in how many seconds a segment must be checked again; a clock that was set back delays nothing."""
    return min(checks.get(row.id, 0.0) + interval_s - time.time(), interval_s)


def _size(path: Path) -> int:
    """Return the size of a file; a missing file has none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
