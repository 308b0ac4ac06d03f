"""Opens a disk store: checks what lies in its folder, recovers it, and creates the parts that store, check and repair.

Owns the order of these steps. What a step has opened is closed again if a later one fails. Never starts a thread.
"""

import contextlib
import datetime
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logferry.durable import sync_folder
from logferry.permissions import Privacy
from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.disk.compression.compressor import Compressor
from logferry.server.storage.disk.compression.segment_forms import SegmentForms
from logferry.server.storage.disk.files.data_lock import LOCK_NAMES
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.files.free_space import FreeSpace
from logferry.server.storage.disk.files.name_encoding import refuse_other_encoding
from logferry.server.storage.disk.files.segment_names import CLIENT_STATES_NAME, FOLDER_NAME
from logferry.server.storage.disk.integrity.damage import DamageRegistry
from logferry.server.storage.disk.integrity.damaged_folder import DAMAGED_FOLDER, DamagedFolder
from logferry.server.storage.disk.integrity.repair import SegmentRepair
from logferry.server.storage.disk.integrity.scrub import Scrub
from logferry.server.storage.disk.journals.journals import Journals
from logferry.server.storage.disk.ledger import FILE_NAME as LEDGER_NAME
from logferry.server.storage.disk.ledger import Ledger, sort_in
from logferry.server.storage.disk.ledger.database.soundness import LedgerCheck, forget_mark, is_due_at_start
from logferry.server.storage.disk.ledger.tables.starts import StartRow
from logferry.server.storage.disk.recovery import previous_runs
from logferry.server.storage.disk.recovery.lost_ledger import refuse_if_empty, refuse_if_missing
from logferry.server.storage.disk.recovery.recovery import Recovered, recover
from logferry.server.storage.disk.retention.expired_rows import ExpiredRows, RecentReports
from logferry.server.storage.disk.retention.retention import Retention
from logferry.server.storage.disk.retention.unused_sources import UnusedSources
from logferry.server.storage.disk.segments.deferred_sync import DeferredSync
from logferry.server.storage.disk.segments.open_segments import MAX_OPEN_SEGMENTS
from logferry.server.storage.disk.segments.segments import Segments
from logferry.server.storage.disk.upkeep import Upkeep
from logferry.server.storage.disk.writing.group_commit import CrashPoint, GroupCommit, no_crash
from logferry.server.storage.disk.writing.time_index import TimeIndex, unix_ms
from logferry.server.storage.disk.writing.writer import FIRST_RETRY_S, LAST_WAIT_S, Writer
from logferry.server.storage.log_names import NO_LOG
from logferry.server.storage.records import Compression
from logferry.server.storage.store import OnDamage, OnFailure, OnHeld, RecoveryReport
from logferry.server.storage.store_state import StateTracker

# Lines are for the server and its group.
_RECORDS: Final = (*LOCK_NAMES, FOLDER_NAME, DAMAGED_FOLDER)
PRIVACY: Final = Privacy(
    0o750, 0o640, lambda name: name in _RECORDS or name.startswith((LEDGER_NAME, CLIENT_STATES_NAME))
)


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
    compression: Compression = ""  # of closed segments

    @property
    def is_durable(self) -> bool:
        """Whether an ack means that the lines are on the disk."""
        return self.durability == "fsync"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSurroundings:
    """What tests replace of what is around a store."""

    files: FileSystem
    today: Callable[[], datetime.date] = utc_today
    crash_point: CrashPoint = no_crash
    now_ms: Callable[[], int] = unix_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreListeners:
    """Who is notified: see Store.open."""

    on_failure: OnFailure
    on_damage: OnDamage
    on_held: OnHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedStore:
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
    damaged: DamagedFolder
    repair: SegmentRepair
    scrub: Scrub | None
    compressor: Compressor
    ledger_check: LedgerCheck | None
    free_space: FreeSpace
    resources: contextlib.ExitStack

    def start(self) -> None:
        """Start the threads."""
        storing = (self.deferred_sync, self.journals, self.free_space, self.writer)
        for part in (*storing, self.scrub, self.compressor, self.ledger_check):
            if part:
                part.start()


class StoreOpening:
    """Opens the parts of one store, in the thread that opens the store."""

    def __init__(
        self,
        settings: DiskStoreSettings,
        surroundings: StoreSurroundings,
        listeners: StoreListeners,
        *,
        state: StateTracker,
        recent_reports: RecentReports,
        resources: contextlib.ExitStack,
    ) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self._files = surroundings.files
        self._listeners = listeners
        self._state = state
        self._recent_reports = recent_reports
        self._resources = resources
        self._data_dir = settings.data_dir
        self._root = settings.data_dir / FOLDER_NAME
        self._times = TimeIndex(now_ms=surroundings.now_ms)

    def run(self) -> OpenedStore:
        """Open the ledger and the segments, recover, and create the rest. Raises OSError or StoreError."""
        ledger, is_checked = self._open_ledger()
        recovered = recover(self._root, ledger, self._files, is_certain=self._is_certain())
        _note_start(ledger, recovered.report)
        journals, segments = self._open_segments(ledger, recovered)
        retention = self._retention(ledger, journals, recovered)
        upkeep = Upkeep(segments, retention, self._surroundings.today)
        upkeep.apply()
        free_space = self._free_space(upkeep)
        deferred_sync = DeferredSync(self._data_dir, self._root, self._files) if self._settings.is_durable else None
        commit = self._commit(ledger, segments, journals, deferred_sync, free_space)
        upkeep.stored_bytes = lambda: commit.counters.bytes_stored
        upkeep.walks = (
            UnusedSources(ledger, is_open=commit.is_open),
            ExpiredRows(self._root, ledger, self._recent_reports),
        )
        writer = self._writer(commit, upkeep)
        damage = DamageRegistry(self._data_dir, on_damage=self._listeners.on_damage)
        self._resources.callback(damage.close)
        damaged = DamagedFolder(self._data_dir, durable=self._settings.is_durable)
        damaged.look()
        forms = self._forms(damaged, retention)
        repair = self._repair(writer, upkeep, forms, damaged)
        return OpenedStore(
            store_id=ledger.store_id,
            segments=segments,
            retention=retention,
            commit=commit,
            deferred_sync=deferred_sync,
            journals=journals,
            writer=writer,
            recovery=recovered.report,
            damage=damage,
            damaged=damaged,
            repair=repair,
            scrub=self._scrub(damage, repair),
            compressor=Compressor(self._data_dir, forms, self._settings.compression, unsettled=recovered.unsettled),
            ledger_check=None if is_checked else self._ledger_check(writer),
            free_space=free_space,
            resources=self._resources.pop_all(),
        )

    def _open_ledger(self) -> tuple[Ledger, bool]:
        """Open the ledger; return whether SQLite has checked it, too."""
        refuse_other_encoding(self._data_dir)
        refuse_if_missing(self._data_dir)
        # SQLite gives the files beside the ledger the ledger's permissions.
        PRIVACY.create(self._data_dir / LEDGER_NAME)
        sort_in(self._data_dir)
        is_checked = is_due_at_start(self._data_dir)
        ledger = Ledger(self._data_dir, durable=self._settings.is_durable, is_checked=is_checked)
        self._resources.callback(ledger.close)
        if is_checked:
            forget_mark(self._data_dir)
        refuse_if_empty(self._data_dir, ledger)
        return ledger, is_checked

    def _is_certain(self) -> bool:
        """Whether the ledger must have every ack, as far as its durability says."""
        if not self._settings.is_durable:
            previous_runs.note_unsynced(self._data_dir)
            return False
        sync_folder(self._data_dir)
        return previous_runs.have_synced(self._data_dir)

    def _open_segments(self, ledger: Ledger, recovered: Recovered) -> tuple[Journals, Segments]:
        journals = Journals(self._root, ledger.store_id, incomplete=recovered.incomplete)
        self._resources.callback(journals.close, LAST_WAIT_S)
        segments = Segments(
            self._root,
            ledger,
            segment_bytes=self._settings.segment_bytes,
            durable=self._settings.is_durable,
            files=self._files,
            today=self._surroundings.today,
            max_open=self._settings.max_open_segments,
            on_begin=journals.begin,
        )
        self._resources.callback(segments.close)
        return journals, segments

    def _retention(self, ledger: Ledger, journals: Journals, recovered: Recovered) -> Retention:
        settings = self._settings
        retention = Retention(
            *(self._root, ledger, self._files), max_bytes=settings.retention_bytes, max_days=settings.retention_days
        )
        retention.undeleted.extend(recovered.undeleted)
        retention.on_expired = lambda segments: self._forget(journals, segments)
        retention.last_times = self._times.close
        self._resources.callback(retention.close)
        return retention

    def _forget(self, journals: Journals, segments: Collection[int]) -> None:
        journals.forget(segments)
        self._times.forget(segments)

    def _free_space(self, upkeep: Upkeep) -> FreeSpace:
        min_bytes = self._settings.min_free_bytes
        return FreeSpace(self._data_dir, self._files, min_bytes=min_bytes, make_room=upkeep.make_room)

    def _commit(
        self,
        ledger: Ledger,
        segments: Segments,
        journals: Journals,
        deferred_sync: DeferredSync | None,
        free_space: FreeSpace,
    ) -> GroupCommit:
        return GroupCommit(
            *(ledger, segments),
            deferred_sync=deferred_sync,
            journals=journals,
            times=self._times,
            check_space=free_space.check,
            crash_point=self._surroundings.crash_point,
        )

    def _writer(self, commit: GroupCommit, upkeep: Upkeep) -> Writer:
        return Writer(
            *(commit, self._state),
            place=str(self._data_dir),
            max_logs=self._settings.max_open_segments,
            after_group=upkeep.after_group,
            has_more=lambda: upkeep.has_more,
            on_full_disk=upkeep.delete_expired,
            on_failure=self._listeners.on_failure,
            on_held=self._listeners.on_held,
            first_retry_s=self._settings.first_retry_s,
        )

    def _forms(self, damaged: DamagedFolder, retention: Retention) -> SegmentForms:
        return SegmentForms(
            *(self._data_dir, self._files),
            keep=damaged.keep,
            on_change=retention.note_change,
            crash_point=self._surroundings.crash_point,
        )

    def _repair(self, writer: Writer, upkeep: Upkeep, forms: SegmentForms, damaged: DamagedFolder) -> SegmentRepair:
        def tidy_soon(segment: int) -> None:
            upkeep.tidy_soon(segment)
            wake(writer)

        return SegmentRepair(
            *(self._data_dir, self._files),
            durable=self._settings.is_durable,
            forms=forms,
            damaged=damaged,
            on_surplus=tidy_soon,
        )

    def _scrub(self, damage: DamageRegistry, repair: SegmentRepair) -> Scrub | None:
        settings = self._settings
        if not settings.scrub_interval_s:
            return None
        return Scrub(
            *(self._data_dir, damage, repair),
            interval_s=settings.scrub_interval_s,
            max_bytes_per_s=settings.scrub_rate,
        )

    def _ledger_check(self, writer: Writer) -> LedgerCheck:
        return LedgerCheck(self._data_dir, on_damage=lambda problem: writer.fail(f"the ledger is damaged: {problem}"))


def wake(writer: Writer) -> None:
    """Have the writer do its upkeep soon: an empty delivery wakes it."""
    writer.submit(Delivery(NO_LOG, [], 0, 0), lambda _: None)


def _note_start(ledger: Ledger, report: RecoveryReport) -> None:
    """Record the start for those who ask later. A full disk does not keep the server from starting."""
    with contextlib.suppress(OSError):
        ledger.note_start(StartRow(round(time.time() * 1000), report.bytes_moved, report.segments_too_short))
