"""Scrub: compares every segment with the ledger in the background, again and again, and records what is damaged.

Owns the order and the pace. Each segment is read once per `interval_s`, evenly spread, at most `max_bytes_per_s` fast,
when nobody else uses the disk. Missing and short files are found sooner, by their size. Of a damaged segment, the
extents whose bytes differ are recorded (damage.py), so that clients can repair them (repair.py). Reads only, except for
what a closed segment holds beyond its length in the ledger: that is moved aside (surplus.py).

Works in steps: at most `_ROWS` rows of the ledger, or one block of a segment, at a time. Must never hold a lock, or a
transaction of the ledger, while it reads a segment or waits.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from logferry.errors import StoreError, cause_of
from logferry.printable import quoted
from logferry.server.storage.disk.content.stored_segments import StoredSegments
from logferry.server.storage.disk.files.idle_priority import reading_when_idle
from logferry.server.storage.disk.files.segment_forms import stored_path
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME
from logferry.server.storage.disk.integrity.damage import DamageRegistry, Judged
from logferry.server.storage.disk.integrity.judgement import Judgement, OnBlock, judge_extent, judge_segment
from logferry.server.storage.disk.integrity.repair import SegmentRepair
from logferry.server.storage.disk.integrity.scrub_plan import ScrubPlan
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import DamageRow, SegmentRow
from logferry.telemetry.log_limits import RateLimit, RepeatLimit
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# How often the sizes of all files are compared with the ledger: a system call for each segment.
_SIZES_S: Final = 600.0

_RETRY_S: Final = 60.0  # after a failure of the disk or of the ledger

_ROWS: Final = 200  # of the ledger that are read at a time
_MESSAGES_PER_SECOND: Final = 10

# Checks are recorded together: a restart repeats at most these.
_CHECKS: Final = 50
_CHECKS_S: Final = 5.0


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
        self._root = data_dir / FOLDER_NAME
        self._registry = registry
        self._repair = repair
        self._interval_s = interval_s
        self._bytes_per_s = max_bytes_per_s
        self.plan = ScrubPlan(interval_s=interval_s, sizes_s=min(_SIZES_S, interval_s))
        self._noted: dict[int, float] = {}  # segments that are too short, with the size for which that was recorded
        self._checked: dict[int, float] = {}  # when segments were checked, unless the ledger has it
        self._flush_at = 0.0
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
        while not worker.is_stopping:
            try:
                wait_s = self._step()
            except _Stopped:
                break
            except (OSError, StoreError) as error:
                self._log_failure(error)
                wait_s = min(_RETRY_S, self._interval_s)
            except Exception:  # the top of a worker: a bug here must not end the server
                logger.exception("scrub has failed; segments are not checked any more until the next start")
                return
            worker.wait(wait_s)
        try:
            self._flush_checks()
        except (OSError, StoreError) as error:
            logger.debug("cannot record what was checked: %s", error)
        self._log.flush()

    def _step(self) -> float:
        """Compare some sizes with the ledger, or one segment; return how long to wait."""
        plan = self.plan
        ledger = Ledger(self._data_dir, durable=False, read_only=True)
        try:
            now = time.monotonic()
            if plan.is_sizing(now):
                self._compare_sizes(ledger)
            elif row := plan.next_due(ledger, self._checked, now, limit=_ROWS):
                self._check_or_postpone(ledger, row)
                plan.has_checked(row, now)
            if self._checked and (len(self._checked) >= _CHECKS or time.monotonic() >= self._flush_at):
                self._flush_checks()
        finally:
            ledger.close()
        return plan.wait_s(time.monotonic())

    def _compare_sizes(self, ledger: Ledger) -> None:
        """Compare the sizes of some files; check those that are too short, unless that is recorded."""
        rows = [row for row, _ in ledger.checked_segments(after=self.plan.sized_up_to, limit=_ROWS)]
        for row in rows:
            expected = row.stored_bytes if row.compression else row.bytes
            size = _size(stored_path(self._root / row.path, row.compression)) if row.state != "expired" else expected
            if size >= expected:
                self._noted.pop(row.id, None)
            elif self._noted.get(row.id) != size and self._check_or_postpone(ledger, row):
                self._noted[row.id] = size
            if self._worker.is_stopping:
                raise _Stopped
        if self.plan.has_sized(rows, time.monotonic(), is_end=len(rows) < _ROWS):
            self._registry.forget_what_is_gone()

    def _check_or_postpone(self, ledger: Ledger, row: SegmentRow) -> bool:
        """Check a segment; if that fails, leave it for later, and let the others have their turn."""
        try:
            self._check(ledger, row)
            self._failures.all_over("scrub works again")
            return True
        except (OSError, StoreError) as error:
            self._log_failure(error)
            self.plan.postpone(row, time.monotonic() + _RETRY_S)
            return False

    def _check(self, ledger: Ledger, row: SegmentRow) -> None:
        """Compare one segment with the ledger, and record the result. Raises OSError, StoreError or _Stopped."""
        with StoredSegments(self._root, ledger) as stored:
            judged = self._judged(stored, row)
        now = ledger.segment(row.id)
        if not judged.problem or now is None or now.state == "expired":
            self._registry.is_sound(row.id)
        elif not judged.is_damage:
            self._log.log(logging.ERROR, "%s %s", quoted(str(self._root / row.path)), judged.problem)
            self.plan.postpone(row, time.monotonic() + _RETRY_S)
            return
        else:
            self._trim_or_note(ledger, now, judged.problem)
        if not self._checked:
            self._flush_at = time.monotonic() + _CHECKS_S
        self._checked[row.id] = time.time()

    def _trim_or_note(self, ledger: Ledger, row: SegmentRow, problem: str) -> None:
        is_trimmed = self._repair.trim(row)
        now = ledger.segment(row.id)  # what was compressed may be plain now
        if now and now.state != "expired":
            with StoredSegments(self._root, ledger) as stored:
                if not is_trimmed or self._judged(stored, now).problem:
                    self._note_damage(ledger, stored, now, problem)

    def _note_damage(self, ledger: Ledger, stored: StoredSegments, row: SegmentRow, problem: str) -> None:
        damaged = new = 0
        for judged in self._judged_extents(ledger, stored, row):
            new += self._registry.note(judged)
            damaged += len(judged.damaged)
            self._forget_healed(ledger, stored, row, judged.damaged)
        if not damaged:
            new = self._note_lines_without_source(ledger, stored, row)
        if new:
            what = f"{damaged} extents of it" if damaged else "lines without a source, which no client can repair"
            message = "%s is damaged: it %s; recorded %s; clients that have the lines repair them (see `logferry fsck`)"
            path = quoted(str(self._root / row.path))
            self._log.log(logging.ERROR, message, path, problem, what)

    def _note_lines_without_source(self, ledger: Ledger, stored: StoredSegments, row: SegmentRow) -> int:
        """Record a segment that is damaged although its extents are whole, unless it was repaired meanwhile."""
        now = ledger.segment(row.id)
        if now is None or now.state == "expired" or not self._judged(stored, now).is_damage:
            self._registry.is_sound(row.id)
            return 0
        plain = DamageRow("", row.id, row.id)
        return self._registry.note(Judged(("", row.id - 1), ("", row.id), [plain], row.id))

    def _judged_extents(self, ledger: Ledger, stored: StoredSegments, row: SegmentRow) -> Iterator[Judged]:
        """Yield what has become of the extents of a segment, some at a time."""
        after = ("", -1)
        while page := ledger.extents_in(row.id, after=after, limit=_ROWS):
            last = (page[-1][0], page[-1][1].start)
            with reading_when_idle():
                damaged = [
                    DamageRow(source, extent.start, row.id)
                    for source, extent in page
                    if extent.position + extent.bytes <= row.bytes
                    and judge_extent(stored, row, extent, on_block=self._pace).is_damage
                ]
            yield Judged(after, last, damaged, row.id)
            after = last

    def _forget_healed(
        self, ledger: Ledger, stored: StoredSegments, row: SegmentRow, damaged: Sequence[DamageRow]
    ) -> None:
        """Forget damage that was repaired after it was found and before it was recorded."""
        for one in damaged:
            extent = next(iter(ledger.extents(one.source, after=one.start, limit=1)), None)
            if extent and extent.start == one.start:
                with reading_when_idle():
                    judged = judge_extent(stored, row, extent, on_block=self._pace)
                if not judged.problem:
                    self._registry.is_repaired(one.source, one.start, now=False)

    def _judged(self, stored: StoredSegments, row: SegmentRow) -> Judgement:
        with reading_when_idle():
            return judge_segment(stored, row, on_block=self._pace)

    @property
    def _pace(self) -> OnBlock:
        """What is called with the size of each block that was read, and waits as long as the block may take."""

        def pace(size: int) -> None:
            self.bytes_read += size
            end = time.monotonic() + size / self._bytes_per_s
            while not self._worker.is_stopping and (left := end - time.monotonic()) > 0:
                self._worker.wait(left)
            if self._worker.is_stopping:
                raise _Stopped

        return pace

    def _flush_checks(self) -> None:
        if self._checked:
            self._registry.are_checked(self._checked)
            self._checked = {}

    def _log_failure(self, error: OSError | StoreError) -> None:
        cause = cause_of(error, with_path=True) if isinstance(error, OSError) else str(error)
        self._failures.log(logging.WARNING, cause, "scrub cannot continue, trying again in a minute: %s", cause)


def _size(path: Path) -> float:
    """Return the size of a file; a missing file has none. One that cannot be looked at is left for its turn."""
    try:
        return path.lstat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError:
        return math.inf
