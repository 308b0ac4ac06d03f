"""A store in memory, for tests of the server and of sessions: it decides as a disk store does, but never waits.

Owns records and lines in memory; admission judges them as it does for a disk store. A test makes the store stall,
resume or fail. Never use it for lines that matter: they are lost when the process ends.
"""

import secrets
import threading
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final

from logferry import checksum
from logferry.protocol.messages.answers import Position
from logferry.protocol.messages.repairs import (
    CONTENT_BYTES,
    DAMAGE_PAGE,
    DamagedExtent,
    DamagePage,
    RepairOutcome,
    StoredContent,
)
from logferry.protocol.messages.reports import (
    REPORT_PAGE,
    SOURCES_PAGE,
    Extent,
    LossPage,
    NamedSource,
    ReportPage,
    SourcesPage,
)
from logferry.protocol.messages.requests import BatchRequest, Content, Losses, Repair, SourcesOf
from logferry.server.storage.admission import GroupChanges, SourceTable
from logferry.server.storage.deliveries import AnyDelivery, Delivery, OnStored, report_stored
from logferry.server.storage.log_names import LogName
from logferry.server.storage.loss_lists import LossLists
from logferry.server.storage.loss_pages import first_losses, loss_page
from logferry.server.storage.owners import Owner
from logferry.server.storage.records import Compression, ExtentRow, LossRow, Placement, SourceRow, WindowRow
from logferry.server.storage.store import (
    OnDamage,
    OnFailure,
    OnHeld,
    RecoveryReport,
    StoreCounters,
    StoreHealth,
    StoreLimits,
    StoreState,
    no_notices,
)
from logferry.server.storage.store_state import StateTracker


class MemoryRecords:
    """What a ledger and segments would hold: `SourceRecords`, and the lines of each log.

    To reopen a closed store, pass its records to a new one.
    """

    def __init__(self) -> None:
        self.store_id = secrets.token_hex(8)
        self.sources: dict[str, SourceRow] = {}
        self.extents: dict[str, dict[int, ExtentRow]] = {}  # of each source, by where they start
        self.losses: dict[str, LossLists] = {}
        self.logs: list[LogName] = []  # their numbers are those of the segments in `extents`
        self.lines: dict[LogName, bytearray] = {}

    def source(self, source_id: str) -> SourceRow | None:
        """See SourceRecords; likewise below."""
        row = self.sources.get(source_id)
        extents = self.extents.get(source_id)
        return row._replace(last=extents[max(extents)]) if row and extents else row

    def add_sources(self, rows: Iterable[SourceRow]) -> None:
        self.set_sources(rows)

    def set_owners(self, rows: Iterable[SourceRow]) -> None:
        self.set_sources(rows)

    def set_sources(self, rows: Iterable[SourceRow]) -> None:
        self.sources.update((row.id, row) for row in rows)

    def set_extents(self, extents: Iterable[tuple[str, ExtentRow]]) -> None:
        for source_id, row in extents:
            self.extents.setdefault(source_id, {})[row.start] = row

    def add_loss(self, loss: LossRow) -> bool:
        return self.lost(loss.source).add_loss(loss)

    def add_window(self, window: WindowRow) -> bool:
        return self.lost(window.source).add_window(window)

    def count_losses(self, source_id: str, most: int) -> int:
        return min(most, len(self.lost(source_id).losses))

    def count_windows(self, source_id: str, most: int) -> int:
        return min(most, len(self.lost(source_id).windows))

    def has_loss(self, loss: LossRow) -> bool:
        return loss in self.lost(loss.source).losses

    def join_loss(self, loss: LossRow) -> bool:
        return self.lost(loss.source).join_loss(loss)

    def join_window(self, window: WindowRow) -> bool:
        return self.lost(window.source).join_window(window)

    def lost(self, source_id: str) -> LossLists:
        """What a source has lost."""
        return self.losses.setdefault(source_id, LossLists())

    def append(self, log: LogName, pieces: Sequence[bytes]) -> Placement:
        """Keep lines; return where."""
        if log not in self.lines:
            self.logs.append(log)
        lines = self.lines.setdefault(log, bytearray())
        placement = Placement(self.logs.index(log), len(lines))
        lines += b"".join(pieces)
        return placement


class MemoryStore:
    """A `Store` that reports each delivery before `submit` returns, unless it is stalled.

    A lock lets one thread at a time use it.
    """

    limits: Final = StoreLimits()

    def __init__(self, *, durability: str = "none", records: MemoryRecords | None = None) -> None:
        self.records: Final = records or MemoryRecords()
        self._durability = durability
        self._table = SourceTable(self.records)
        self._state = StateTracker()
        self._counters = StoreCounters()
        self._lock = threading.RLock()
        self._queue: deque[Delivery] = deque()
        self._is_storing = False
        self._on_failure: OnFailure = lambda: None

    @property
    def id(self) -> str:
        """See Store; likewise below."""
        return self.records.store_id

    @property
    def place(self) -> str:
        return "memory"

    @property
    def durability(self) -> str:
        return self._durability

    def open(
        self, on_failure: OnFailure, on_damage: OnDamage = no_notices, on_held: OnHeld = no_notices
    ) -> RecoveryReport:
        self._on_failure = on_failure
        self._state.change(StoreState.STORING)
        return RecoveryReport(segments=len(self.records.logs))

    def change_limits(
        self, *, segment_bytes: int, retention_bytes: int, retention_days: int, compression: Compression | None = None
    ) -> None:
        """Do nothing: this store keeps everything."""

    def submit(self, delivery: AnyDelivery, on_stored: OnStored[AnyDelivery]) -> None:
        delivery.on_stored = on_stored
        with self._lock:
            self._queue.append(delivery)
            self._store_queue()

    def give_up(self, deliveries: Collection[Delivery]) -> None:
        """Do nothing: this store stores everything, or nothing."""

    def sources_of(self, question: SourcesOf, owner: Owner | None = None) -> SourcesPage:
        with self._lock:
            rows = list(self.records.sources.values())
        if owner is not None:
            rows = [row._replace(id=owner.own_id(row.id)) for row in rows if owner.may_use(row.owner)]
        rows.sort(key=attrgetter("id"))
        wanted = (question.host, question.path)
        found = [row for row in rows if (row.host, row.path) == wanted and row.id > question.after]
        page = [NamedSource(row.id, row.committed, row.lines, 0) for row in found[:SOURCES_PAGE]]
        return SourcesPage(tuple(page), has_more=len(found) > SOURCES_PAGE)

    def positions(self, sources: Sequence[str]) -> list[Position]:
        with self._lock:
            rows = [row for source in sources if (row := self.records.source(source))]
        return [Position(row.id, row.committed, row.lines, row.crc32, False) for row in rows]

    def report(self, source: str, after: int) -> ReportPage:
        with self._lock:
            row = self.records.source(source)
            if row is None:
                return ReportPage(source, False, 0, 0, 0, (), (), False)
            extents = self.records.extents.get(source, {})
            starts = sorted(start for start in extents if start >= after)
            lost = LossLists() if after else self.records.lost(source)
            known = first_losses(lost.losses, lost.windows)
            return ReportPage(
                *(source, True, row.committed, row.lines, row.crc32),
                extents=tuple(self._check_extent(extents[start]) for start in starts[:REPORT_PAGE]),
                losses=tuple(sorted((*known.lost, *known.skipped))),
                has_more=len(starts) > REPORT_PAGE,
                windows=known.windows,
                skipped=known.only_skipped,
            )

    def losses(self, question: Losses) -> LossPage:
        with self._lock:
            return loss_page(question.source, self.records.lost(question.source).recorded(question.first))

    def owners_of(self, sources: Sequence[str]) -> dict[str, str]:
        with self._lock:
            return {source: row.owner for source in sources if (row := self.records.source(source))}

    def content(self, request: Content) -> StoredContent:
        with self._lock:
            row = self.records.extents.get(request.source, {}).get(request.start)
            data = self._bytes_of(row)[request.position :][: min(request.size, CONTENT_BYTES)] if row else b""
            return StoredContent(request.source, request.start, request.position, data)

    def damaged(self, source: str, after: int) -> DamagePage:
        with self._lock:
            damaged = [extent for extent in self._damaged_extents(source) if extent.start >= after]
            return DamagePage(source, tuple(damaged[:DAMAGE_PAGE]), len(damaged) > DAMAGE_PAGE)

    def damaged_sources(self, owner: str) -> Sequence[str]:
        with self._lock:
            own = (row.id for row in self.records.sources.values() if row.owner == owner)
            return [source for source in own if self._damaged_extents(source)]

    def repair(self, request: Repair) -> RepairOutcome:
        with self._lock:
            row = self.records.extents.get(request.source, {}).get(request.start)
            given = (request.end, request.lines, request.crc32, len(request.payload))
            if row is None or given != (row.end, row.lines, row.crc32, row.bytes):
                return RepairOutcome(request.source, request.start, False, "these are not the lines that were stored")
            if not self._is_damaged(row):
                return RepairOutcome(request.source, request.start, True, "it was not damaged")
            lines = self.records.lines[self.records.logs[row.segment]]
            lines[row.position : row.position + row.bytes] = request.payload
            self._counters = replace(self._counters, extents_repaired=self._counters.extents_repaired + 1)
            return RepairOutcome(request.source, request.start, True)

    def health(self) -> StoreHealth:
        state, reason, since = self._state.now
        return StoreHealth(state, reason, self._counters, since=since)

    def close(self, timeout_s: float) -> int:
        with self._lock:
            unstored_lines = sum(delivery.lines for delivery in self._queue)
            self._queue.clear()
            self._state.change(StoreState.CLOSING)
            self._state.change(StoreState.CLOSED)
            return unstored_lines

    # --- for tests

    def stall(self, reason: str) -> None:
        """Store nothing until `resume`."""
        self._state.change(StoreState.STALLED, reason)

    def resume(self) -> None:
        """Store the queued deliveries as one group."""
        with self._lock:
            self._state.change(StoreState.STORING)
            self._store_queue()

    def fail(self, reason: str) -> None:
        """Stop storing for good."""
        if self._state.change(StoreState.FAILED, reason):
            self._on_failure()

    # --- within

    def _store_queue(self) -> None:
        """Store the queue; the loop that calls `on_stored` also stores what `on_stored` submits."""
        if self._is_storing:
            return
        self._is_storing = True
        try:
            while self._queue and self._state.state is StoreState.STORING:
                group = list(self._queue)
                self._queue.clear()
                self._store(group)
                report_stored(group)
        finally:
            self._is_storing = False

    def _store(self, group: Sequence[Delivery]) -> None:
        changes = self._table.begin_group()
        for delivery in group:
            delivery.is_stored = self._keep(delivery, changes)
        changes.save(self.records)
        self._table.apply(changes)
        stored = [delivery for delivery in group if delivery.is_stored]
        self._counters = self._counters.after_group(stored, repeats=changes.repeats)

    def _keep(self, delivery: Delivery, changes: GroupChanges) -> bool:
        request = delivery.source_request
        if not (changes.decide(request) if request else delivery.pieces):
            return False
        placement = self.records.append((request and request.log) or delivery.log, delivery.pieces)
        if request and isinstance(request.message, BatchRequest):
            changes.place(request, placement)
        return True

    def _check_extent(self, row: ExtentRow) -> Extent:
        state = "altered" if self._is_damaged(row) else "ok"
        return Extent(row.start, row.end, row.lines, row.crc32, state, self.records.logs[row.segment].path)

    def _damaged_extents(self, source: str) -> list[DamagedExtent]:
        rows = sorted(self.records.extents.get(source, {}).values(), key=lambda row: row.start)
        return [DamagedExtent(row.start, row.end, row.lines, row.crc32) for row in rows if self._is_damaged(row)]

    def _is_damaged(self, row: ExtentRow) -> bool:
        return checksum.crc32(self._bytes_of(row)) != row.crc32

    def _bytes_of(self, row: ExtentRow) -> bytes:
        lines = self.records.lines[self.records.logs[row.segment]]
        return bytes(lines[row.position : row.position + row.bytes])
