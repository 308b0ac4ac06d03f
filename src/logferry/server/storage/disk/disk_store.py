"""The store on this machine's disk: creates, opens, recovers and closes its parts.

On disk, under the data folder:

    lock, .lock                                 locked by the server that uses the folder; hold its process id
    ledger.sqlite3-check-first                  the ledger was found damaged: see ledger/database/soundness.py
    ledger.sqlite3-unsynced                     a server that does not sync uses it: see previous_runs.py
    ledger.sqlite3                              what is stored, from which source, in which segment: see ledger/
    segments/<host>/<path>/<date>-<n>.ndjson    the lines: see segments.py
                          ....ndjson.gz, .zst   the same, compressed: see members.py
                          ....ndjson.journal    what the ledger has about a segment: see journal.py
    segments/.new-segments.journal              the same about new segments, in one file: see shared_journal.py
                          ....ndjson.surplus-*  what a segment held and the ledger does not have: see surplus.py
    damaged/<host>/<path>/...                   what repaired segments held instead: see repair.py

Threads: any thread may submit. The writer thread (writer.py) owns the ledger, the segments and the positions. Another
thread syncs what was deferred (deferred_sync.py); the two share only the ledger, each through its own connection.
A third thread writes what waits for the journals of segments (journals.py), a fourth one scrubs (scrub.py), and a fifth
one compresses (compressor.py).
Reports, positions and repairs use further connections.
"""

import contextlib
import datetime
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Final

from logferry.errors import StoreError, cause_of
from logferry.folder_lock import FolderInUse
from logferry.printable import quoted
from logferry.protocol.messages.answers import Position
from logferry.protocol.messages.repairs import DamagePage, RepairOutcome, StoredContent
from logferry.protocol.messages.reports import LossPage, ReportPage, SourcesPage
from logferry.protocol.messages.requests import Content, Losses, Repair, SourcesOf
from logferry.server.storage.deliveries import AnyDelivery, Delivery, OnStored
from logferry.server.storage.disk.files.data_lock import lock_data_folder
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.integrity import source_report
from logferry.server.storage.disk.integrity.damage import Judged
from logferry.server.storage.disk.integrity.repair import stored_content
from logferry.server.storage.disk.ledger import FILE_NAME as LEDGER_NAME
from logferry.server.storage.disk.opening import (
    PRIVACY,
    DiskStoreSettings,
    OpenedStore,
    StoreListeners,
    StoreOpening,
    StoreSurroundings,
    utc_today,
    wake,
)
from logferry.server.storage.disk.recovery import previous_runs
from logferry.server.storage.disk.retention.expired_rows import RecentReports
from logferry.server.storage.disk.retention.retention import RetentionLimits
from logferry.server.storage.disk.writing.group_commit import CrashPoint, no_crash
from logferry.server.storage.disk.writing.time_index import unix_ms
from logferry.server.storage.disk.writing.writer import LAST_WAIT_S
from logferry.server.storage.owners import Owner
from logferry.server.storage.records import Compression
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


class DiskStore:
    """A `Store` in one folder.

    Tests replace the other arguments. The thread that opens the store writes `_opened`, once,
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
        now_ms: Callable[[], int] = unix_ms,
    ) -> None:
        self._settings = settings
        self._surroundings = StoreSurroundings(
            files=file_system or FileSystem(), today=today, crash_point=crash_point, now_ms=now_ms
        )
        self._state = StateTracker()
        self._damage_repeats = RepeatLimit(logger)
        self._opened: OpenedStore | None = None
        self._ends_well = False
        self._recent_reports = RecentReports()

    @property
    def id(self) -> str:
        """See Store; likewise below."""
        assert self._opened
        return self._opened.store_id

    @property
    def place(self) -> str:
        return f"data folder {quoted(str(self._settings.data_dir))}"

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
                listeners = StoreListeners(on_failure=on_failure, on_damage=on_damage, on_held=on_held)
                opened = self._opened = self._opening(listeners, resources).run()
        except FolderInUse as error:
            raise StoreError(
                f"cannot use the data folder {data_dir}: another server (process {error.holder}) is using it"
            ) from None
        except OSError as error:
            raise StoreError(f"cannot use the data folder {data_dir}: {cause_of(error, with_path=True)}") from error
        self._state.change(StoreState.STORING)
        opened.start()
        return opened.recovery

    def change_limits(
        self, *, segment_bytes: int, retention_bytes: int, retention_days: int, compression: Compression | None = None
    ) -> None:
        assert self._opened
        if compression is not None:
            self._opened.compressor.change(compression)
        self._opened.segments.segment_bytes = segment_bytes
        self._opened.retention.limits = RetentionLimits(retention_bytes, retention_days)
        wake(self._opened.writer)  # retention acts at once, although nothing may arrive for a long time

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
            bytes_compressed=opened.compressor.plain_bytes,
            compressed_to_bytes=opened.compressor.stored_bytes,
        )
        space = opened.free_space
        return StoreHealth(
            *(state, reason, counters, opened.damage.count, since, opened.damaged.bytes),
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
        opened.compressor.ask_to_stop()
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
            opened.compressor.stop(LAST_WAIT_S)
            self._ends_well = True
            with contextlib.suppress(OSError):
                opened.commit.end()
            opened.resources.close()
        self._state.change(StoreState.CLOSED)
        return unstored_lines

    def _opening(self, listeners: StoreListeners, resources: contextlib.ExitStack) -> StoreOpening:
        return StoreOpening(
            *(self._settings, self._surroundings, listeners),
            state=self._state,
            recent_reports=self._recent_reports,
            resources=resources,
        )

    def _note_clean_stop(self) -> None:
        """Note that everything has come to the disk, if this run ended well: the ledger is closed, without a log."""
        if not self._ends_well or (self._settings.data_dir / f"{LEDGER_NAME}-wal").exists():
            return
        try:
            previous_runs.note_clean_stop(self._settings.data_dir)
        except OSError as error:
            logger.debug("cannot note the clean stop: %s", cause_of(error, with_path=True))

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
