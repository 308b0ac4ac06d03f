"""The store on this machine's disk: creates, opens, recovers and closes its parts.

On disk, under the data folder:

    lock, .lock                                 locked by the server that uses the folder; hold its process id
    ledger.sqlite3-check-first                  the ledger was found damaged: see ledger/soundness.py
    ledger.sqlite3-unsynced                     a server that does not sync uses it: see previous_runs.py
    ledger.sqlite3                              what is stored, from which source, in which segment: see ledger/
    segments/<host>/<log>/<date>-<n>.ndjson     the lines: see segments.py
                          ....ndjson.journal    what the ledger has about a segment: see journal.py
    segments/.new-segments.journal              the same about new segments, in one file: see shared_journal.py
                          ....ndjson.surplus-*  what a segment held and the ledger does not have: see surplus.py
    damaged/<host>/<log>/...                    what repaired segments held instead: see repair.py

Threads: any thread may submit. The writer thread (writer.py) owns the ledger, the segments and the positions. Another
thread syncs what was deferred (deferred_sync.py); the two share only the ledger, each through its own connection.
A third thread writes what waits for the journals of segments (journals.py), and a fourth one scrubs (scrub.py).
Reports, positions and repairs use further connections.
"""

import contextlib
import datetime
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from logferry.durable import sync_folder
from logferry.errors import StoreError, cause_of
from logferry.folder_lock import FolderInUse
from logferry.permissions import Privacy
from logferry.protocol.delivery_answers import Position
from logferry.protocol.delivery_repairs import DamagePage, RepairOutcome, StoredContent
from logferry.protocol.delivery_reports import LossPage, ReportPage, SourcesPage
from logferry.protocol.delivery_requests import Content, Losses, Repair, SourcesOf
from logferry.server.storage.deliveries import AnyDelivery, Delivery, OnStored
from logferry.server.storage.disk.files.data_lock import LOCK_NAMES, lock_data_folder
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.files.free_space import FreeSpace
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME
from logferry.server.storage.disk.integrity import source_report
from logferry.server.storage.disk.integrity.damage import DamageRegistry, Judged
from logferry.server.storage.disk.integrity.damaged_folder import DAMAGED_FOLDER
from logferry.server.storage.disk.integrity.repair import SegmentRepair, stored_content
from logferry.server.storage.disk.integrity.scrub import Scrub
from logferry.server.storage.disk.journals.journals import Journals
from logferry.server.storage.disk.ledger import FILE_NAME as LEDGER_NAME
from logferry.server.storage.disk.ledger import Ledger, sort_in
from logferry.server.storage.disk.ledger.soundness import LedgerCheck, forget_mark, is_due_at_start
from logferry.server.storage.disk.recovery import previous_runs
from logferry.server.storage.disk.recovery.lost_ledger import refuse_if_empty, refuse_if_missing
from logferry.server.storage.disk.recovery.recovery import recover
from logferry.server.storage.disk.retention.expired_rows import ExpiredRows, RecentReports
from logferry.server.storage.disk.retention.retention import Retention, RetentionLimits
from logferry.server.storage.disk.retention.unused_sources import UnusedSources
from logferry.server.storage.disk.segments.deferred_sync import DeferredSync
from logferry.server.storage.disk.segments.open_segments import MAX_OPEN_SEGMENTS
from logferry.server.storage.disk.segments.segments import Segments
from logferry.server.storage.disk.writing.group_commit import CrashPoint, GroupCommit, no_crash
from logferry.server.storage.disk.writing.writer import FIRST_RETRY_S, LAST_WAIT_S, Writer
from logferry.server.storage.log_names import LogName
from logferry.server.storage.owners import Owner
from logferry.server.storage.store import (
    OnDamage,
    OnFailure,
    OnHeld,
    RecoveryReport,
    StoreHealth,
    StoreLimits,
    StoreState,
    no_notices,
)
from logferry.server.storage.store_state import StateTracker
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# Lines are for the server and its group.
_RECORDS: Final = (*LOCK_NAMES, FOLDER_NAME, DAMAGED_FOLDER)
PRIVACY: Final = Privacy(0o750, 0o640, lambda name: name in _RECORDS or name.startswith(LEDGER_NAME))

# What fails, for the limit of log messages.
_RETENTION: Final = "retention"
_UNUSED_ROWS: Final = "unused rows"


def utc_today() -> datetime.date:
    """Return today's date in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskStoreSettings:
    """Where a disk store keeps lines, how safely, how many, how long, and how often it checks them.

    0 means no limit to retention.
    """

    data_dir: Path
    durability: str
    segment_bytes: int
    retention_bytes: int = 0
    retention_days: int = 0
    max_open_segments: int = MAX_OPEN_SEGMENTS
    first_retry_s: float = FIRST_RETRY_S
    scrub_interval_s: float = 0.0  # 0: never
    scrub_rate: int = 16 * 1024 * 1024  # bytes per second
    min_free_bytes: int = 0  # store nothing new while the disk has less than this


@dataclass(frozen=True, slots=True)
class _Opened:
    """The parts of an open store; closing `resources` closes its files, its ledger and its lock."""

    store_id: str
    segments: Segments
    retention: Retention
    commit: GroupCommit
    deferred_sync: DeferredSync | None
    journals: Journals
    writer: Writer
    recovery: RecoveryReport
    damage: DamageRegistry
    repair: SegmentRepair
    scrub: Scrub | None
    ledger_check: LedgerCheck | None
    free_space: FreeSpace
    resources: contextlib.ExitStack


class DiskStore:
    """A `Store` in one folder.

    Tests replace `file_system`, `today` and `crash_point`. The thread that opens the store writes `_opened`, once,
    before any other thread can use the store.
    """

    limits: Final = StoreLimits()

    def __init__(
        self,
        settings: DiskStoreSettings,
        *,
        file_system: FileSystem | None = None,
        today: Callable[[], datetime.date] = utc_today,
        crash_point: CrashPoint = no_crash,
    ) -> None:
        self._settings = settings
        self._is_durable = settings.durability == "fsync"
        self._root = settings.data_dir / FOLDER_NAME
        self._file_system = file_system or FileSystem()
        self._today = today
        self._crash_point = crash_point
        self._state = StateTracker()
        self._repeats = RepeatLimit(logger)
        self._damage_repeats = RepeatLimit(logger)
        self._to_tidy: deque[LogName] = deque()  # repairs add to it, the writer thread takes from it
        self._opened: _Opened | None = None
        self._ends_well = False
        self._recent_reports = RecentReports()

    @property
    def id(self) -> str:
        """See Store; likewise below."""
        assert self._opened
        return self._opened.store_id

    @property
    def durability(self) -> str:
        return self._settings.durability

    def open(
        self, on_failure: OnFailure, on_damage: OnDamage = no_notices, on_held: OnHeld = no_notices
    ) -> RecoveryReport:
        data_dir = self._settings.data_dir
        try:
            with contextlib.ExitStack() as resources:
                PRIVACY.make(data_dir)
                resources.callback(lock_data_folder(data_dir).close)
                resources.callback(self._note_clean_stop)
                opened = self._opened = self._open_parts(resources, on_failure, on_damage, on_held)
        except FolderInUse as error:
            raise StoreError(
                f"cannot use the data folder {data_dir}: another server (process {error.holder}) is using it"
            ) from None
        except OSError as error:
            raise StoreError(f"cannot use the data folder {data_dir}: {cause_of(error, with_path=True)}") from error
        self._state.change(StoreState.STORING)
        if opened.deferred_sync:
            opened.deferred_sync.start()
        opened.journals.start()
        opened.free_space.start()
        opened.writer.start()
        if opened.scrub:
            opened.scrub.start()
        if opened.ledger_check:
            opened.ledger_check.start()
        return opened.recovery

    def change_limits(self, *, segment_bytes: int, retention_bytes: int, retention_days: int) -> None:
        assert self._opened
        self._opened.segments.segment_bytes = segment_bytes
        self._opened.retention.limits = RetentionLimits(retention_bytes, retention_days)
        self._wake(self._opened.writer)  # retention acts at once, although nothing may arrive for a long time

    def submit(self, delivery: AnyDelivery, on_stored: OnStored[AnyDelivery]) -> None:
        assert self._opened
        self._opened.writer.submit(delivery, on_stored)

    def give_up(self, deliveries: Collection[Delivery]) -> None:
        assert self._opened
        self._opened.writer.give_up(deliveries)

    def sources_of(self, question: SourcesOf, owner: Owner | None = None) -> SourcesPage:
        return source_report.sources_of(self._settings.data_dir, question, owner)

    def positions(self, sources: Sequence[str]) -> list[Position]:
        return source_report.positions(self._settings.data_dir, sources)

    def report(self, source: str, after: int) -> ReportPage:
        self._recent_reports.note(source)
        return source_report.report(self._settings.data_dir, source, after=after, on_judged=self._note_judged)

    def losses(self, question: Losses) -> LossPage:
        return source_report.losses_of(self._settings.data_dir, question)

    def owners_of(self, sources: Sequence[str]) -> dict[str, str]:
        return source_report.owners_of(self._settings.data_dir, sources)

    def content(self, request: Content) -> StoredContent:
        return stored_content(self._settings.data_dir, request)

    def damaged(self, source: str, after: int) -> DamagePage:
        assert self._opened
        return self._opened.damage.page(source, after)

    def damaged_sources(self, owner: str) -> Sequence[str]:
        assert self._opened
        return self._opened.damage.sources_of(owner)

    def repair(self, request: Repair) -> RepairOutcome:
        assert self._opened
        outcome = self._opened.repair.repair(request)
        if outcome.is_whole:
            with self._recording("that an extent is repaired"):
                self._opened.damage.is_repaired(request.source, request.start, now=not outcome.reason)
        return outcome

    def health(self) -> StoreHealth:
        state, reason, since = self._state.now
        if self._opened is None:
            return StoreHealth(state, since=since)
        opened = self._opened
        counters = replace(
            opened.commit.counters,
            recovered_bytes=opened.recovery.bytes_moved + opened.segments.opened.recovered_bytes,
            extents_damaged=opened.damage.found,
            extents_repaired=opened.damage.repaired,
            bytes_scrubbed=opened.scrub.bytes_read if opened.scrub else 0,
        )
        space = opened.free_space
        return StoreHealth(
            *(state, reason, counters, opened.damage.count, since, opened.repair.damaged.bytes),
            *(space.free_bytes, space.total_bytes, space.min_bytes, space.shortage),
        )

    def close(self, timeout_s: float) -> int:
        opened = self._opened
        if opened is None or self._state.state is StoreState.CLOSED:
            return 0
        self._state.change(StoreState.CLOSING)
        opened.free_space.ask_to_stop()
        if opened.scrub:
            opened.scrub.ask_to_stop()
        if opened.ledger_check:
            opened.ledger_check.stop(LAST_WAIT_S)
        unstored_lines = opened.writer.stop(timeout_s)
        if unstored_lines is None:
            # Keep the folder locked until the process ends: the writer may still write.
            logger.error("the disk under %s does not answer; shutting down without it", self._settings.data_dir)
            unstored_lines = opened.writer.lines_in_queue()
        else:
            if opened.deferred_sync:
                opened.deferred_sync.stop(LAST_WAIT_S)
            if opened.scrub:
                opened.scrub.stop(LAST_WAIT_S)
            self._ends_well = True
            opened.resources.close()
        self._state.change(StoreState.CLOSED)
        return unstored_lines

    def _note_clean_stop(self) -> None:
        """Note that everything has come to the disk, if this run ended well: the ledger is closed, without a log."""
        if not self._ends_well or (self._settings.data_dir / f"{LEDGER_NAME}-wal").exists():
            return
        try:
            previous_runs.note_clean_stop(self._settings.data_dir)
        except OSError as error:
            logger.debug("cannot note the clean stop: %s", cause_of(error, with_path=True))

    def _open_parts(
        self, resources: contextlib.ExitStack, on_failure: OnFailure, on_damage: OnDamage, on_held: OnHeld
    ) -> _Opened:
        """Open the ledger and the segments, recover, and create the writer. Raises OSError or StoreError."""
        settings, files = self._settings, self._file_system
        refuse_if_missing(settings.data_dir)
        # SQLite gives the files beside the ledger the ledger's permissions.
        PRIVACY.create(settings.data_dir / LEDGER_NAME)
        sort_in(settings.data_dir)
        is_checked = is_due_at_start(settings.data_dir)
        ledger = Ledger(settings.data_dir, durable=self._is_durable, is_checked=is_checked)
        resources.callback(ledger.close)
        if is_checked:
            forget_mark(settings.data_dir)
        refuse_if_empty(settings.data_dir, ledger)
        if self._is_durable:
            sync_folder(settings.data_dir)
        is_certain = self._is_durable and previous_runs.have_synced(settings.data_dir)
        if not self._is_durable:
            previous_runs.note_unsynced(settings.data_dir)
        recovered = recover(self._root, ledger, files, is_certain=is_certain)
        journals = Journals(self._root, ledger.store_id, incomplete=recovered.incomplete)
        resources.callback(journals.close, LAST_WAIT_S)
        segments = self._open_segments(ledger, journals)
        resources.callback(segments.close)
        retention = Retention(
            self._root, ledger, files, max_bytes=settings.retention_bytes, max_days=settings.retention_days
        )
        retention.on_expired = journals.forget
        resources.callback(retention.close)
        self._apply(retention, segments)
        deferred_sync = DeferredSync(settings.data_dir, self._root, files) if self._is_durable else None
        free_space = FreeSpace(
            settings.data_dir,
            files,
            min_bytes=settings.min_free_bytes,
            on_shortage=lambda: self._apply(retention, segments),
        )
        commit = GroupCommit(
            *(ledger, segments),
            deferred_sync=deferred_sync,
            journals=journals,
            check_space=free_space.check,
            crash_point=self._crash_point,
        )
        walks: list[UnusedSources | ExpiredRows] = [
            UnusedSources(ledger, is_open=commit.is_open),
            ExpiredRows(self._root, ledger, self._recent_reports),
        ]
        writer = Writer(
            commit,
            self._state,
            place=str(settings.data_dir),
            max_logs=settings.max_open_segments,
            after_group=lambda: self._after_group(retention, segments, walks),
            on_failure=on_failure,
            on_held=on_held,
            first_retry_s=settings.first_retry_s,
        )
        damage = DamageRegistry(settings.data_dir, on_damage=on_damage)
        resources.callback(damage.close)
        repair = SegmentRepair(
            settings.data_dir, files, durable=self._is_durable, on_surplus=lambda log: self._tidy_soon(log, writer)
        )
        repair.damaged.look()
        return _Opened(
            *(ledger.store_id, segments, retention, commit, deferred_sync, journals, writer),
            *(recovered.report, damage, repair),
            self._scrub(damage, repair),
            None if is_checked else LedgerCheck(settings.data_dir, on_damage=lambda found: _fail(writer, found)),
            free_space,
            resources.pop_all(),
        )

    def _scrub(self, damage: DamageRegistry, repair: SegmentRepair) -> Scrub | None:
        settings = self._settings
        if not settings.scrub_interval_s:
            return None
        return Scrub(
            settings.data_dir,
            damage,
            repair,
            interval_s=settings.scrub_interval_s,
            max_bytes_per_s=settings.scrub_rate,
        )

    def _open_segments(self, ledger: Ledger, journals: Journals) -> Segments:
        return Segments(
            self._root,
            ledger,
            segment_bytes=self._settings.segment_bytes,
            durable=self._is_durable,
            files=self._file_system,
            today=self._today,
            max_open=self._settings.max_open_segments,
            on_begin=journals.begin,
        )

    def _note_judged(self, judged: Judged) -> None:
        assert self._opened
        with self._recording("what a report has found out about damage"):
            self._opened.damage.note(judged)

    @contextlib.contextmanager
    def _recording(self, what: str) -> Iterator[None]:
        """Log that something cannot be recorded: what clients asked is answered even if the disk is full."""
        try:
            yield
            self._damage_repeats.all_over()
        except OSError as error:
            self._damage_repeats.log(
                logging.WARNING, what, f"cannot record {what}: %s", cause_of(error, with_path=True)
            )

    def _tidy_soon(self, log: LogName, writer: Writer) -> None:
        """Have the writer tidy a log; an empty delivery wakes it."""
        self._to_tidy.append(log)
        self._wake(writer)

    @staticmethod
    def _wake(writer: Writer) -> None:
        writer.submit(Delivery(LogName("", ""), [], 0, 0), lambda _: None)

    def _after_group(
        self, retention: Retention, segments: Segments, walks: Sequence[UnusedSources | ExpiredRows]
    ) -> None:
        self._apply(retention, segments)
        try:
            for walk in walks:
                walk.forget_some()
        except OSError as error:
            message = "cannot delete from the ledger what nobody needs any more, trying again later: %s"
            self._repeats.log(logging.WARNING, _UNUSED_ROWS, message, cause_of(error, with_path=True))

    def _apply(self, retention: Retention, segments: Segments) -> None:
        """Tidy logs, and delete expired segments. A failure does no harm: the next segment or day tries again."""
        try:
            while self._to_tidy:
                segments.opened.tidy(self._to_tidy.popleft())
            if retention.apply(self._today(), segments.opened):
                self._repeats.all_over()
        except OSError as error:
            message = "cannot delete expired segments, trying again with the next one: %s"
            self._repeats.log(logging.WARNING, _RETENTION, message, cause_of(error, with_path=True))


def _fail(writer: Writer, problem: str) -> None:
    writer.fail(f"the ledger is damaged: {problem}")
