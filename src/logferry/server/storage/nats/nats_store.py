"""The store on NATS JetStream: a `Store` whose lines are in a replicated log, and nothing on this machine.

Owns a thread with an event loop, in which everything but the methods of the seam runs. Any number of such stores, each
in a gateway, share the same streams; see appends.py for why that is safe.
"""

import asyncio
import concurrent.futures
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from logferry.errors import StoreError
from logferry.protocol.messages.answers import Position
from logferry.protocol.messages.repairs import DamagePage, RepairOutcome, StoredContent
from logferry.protocol.messages.reports import LossPage, ReportPage, SourcesPage
from logferry.protocol.messages.requests import Content, Repair, SourcesOf
from logferry.protocol.messages.requests import Losses as LossesQuestion
from logferry.server.storage.deliveries import AnyDelivery, Delivery, OnStored
from logferry.server.storage.nats.appends import Appends
from logferry.server.storage.nats.chain import Chains
from logferry.server.storage.nats.connection import connect, shown
from logferry.server.storage.nats.durability import durability
from logferry.server.storage.nats.headers import ROOM_FOR_HEADERS
from logferry.server.storage.nats.in_flight import InFlight
from logferry.server.storage.nats.index import SourceIndex
from logferry.server.storage.nats.losses import Losses
from logferry.server.storage.nats.order import Order
from logferry.server.storage.nats.plain_lines import PlainLines
from logferry.server.storage.nats.reports import Damage, Reports
from logferry.server.storage.nats.settings import NatsSettings
from logferry.server.storage.nats.sources import Sources
from logferry.server.storage.nats.stalls import Stalls
from logferry.server.storage.nats.streams import open_streams
from logferry.server.storage.nats.wire import NoAnswer, Wire
from logferry.server.storage.owners import Owner
from logferry.server.storage.records import Compression
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
from logferry.worker import Worker

logger = logging.getLogger(__name__)

Connect = Callable[[NatsSettings], Awaitable[Wire]]
Result = TypeVar("Result")

# A question reads at most a page; a store that is out of reach answers none.
_QUESTION_S: Final = 60.0
_OPEN_S: Final = 120.0

# How long a question waits for NATS; a client waits somewhat longer for its answer.
_PATIENCE_S: Final = 20.0

# How long what is on its way may take to end once the store closes.
_LAST_WAIT_S: Final = 2.0


@dataclass(slots=True)
class _Opened:
    """What exists while the store is open. Belongs to the loop, except what other threads only read."""

    wire: Wire
    store_id: str
    durability: str
    limits: StoreLimits
    segments: int
    order: Order
    appends: Appends
    plain: PlainLines
    sources: Sources
    reports: Reports
    damage: Damage
    index: SourceIndex


class NatsStore:
    """See Store for the methods. `connect` is another way to NATS, for tests."""

    def __init__(self, settings: NatsSettings, *, connect: Connect = connect) -> None:
        self._settings = settings
        self._connect = connect
        self._state = StateTracker()
        self._counters = StoreCounters()
        self._lock = threading.Lock()  # of `_queue`
        self._queue: deque[Delivery] = deque()
        self._loop: asyncio.AbstractEventLoop  # once the store is opened
        self._worker = Worker(self._run, name="logferry-nats")
        self._opened: _Opened | None = None
        self._has_emptied = threading.Event()
        self._on_failure: OnFailure = lambda: None

    @property
    def place(self) -> str:
        return f"NATS at {shown(self._settings.urls)}, streams {self._settings.prefix.upper()}_..."

    @property
    def id(self) -> str:
        return self._now_open.store_id

    @property
    def durability(self) -> str:
        return self._now_open.durability

    @property
    def limits(self) -> StoreLimits:
        return self._now_open.limits

    @property
    def _now_open(self) -> _Opened:
        assert self._opened, "the store is not open"
        return self._opened

    def open(
        self, on_failure: OnFailure, on_damage: OnDamage = no_notices, on_held: OnHeld = no_notices
    ) -> RecoveryReport:
        self._on_failure = on_failure
        self._loop = asyncio.new_event_loop()
        self._worker.start()
        try:
            self._opened = self._ask(self._open(on_damage), _OPEN_S)
        except BaseException:
            self._end_loop()
            raise
        self._state.change(StoreState.STORING)
        return RecoveryReport(segments=self._opened.segments)

    def change_limits(
        self, *, segment_bytes: int, retention_bytes: int, retention_days: int, compression: Compression | None = None
    ) -> None:
        """Do nothing: the streams have their limits, and `logferry keep` deletes what is old."""

    def submit(self, delivery: AnyDelivery, on_stored: OnStored[AnyDelivery]) -> None:
        delivery.on_stored = on_stored
        with self._lock:
            self._queue.append(delivery)
            if len(self._queue) > 1:  # the loop has been called, and takes all
                return
        try:
            self._loop.call_soon_threadsafe(self._take)
        except RuntimeError:  # closed: the delivery is never reported
            return

    def give_up(self, deliveries: Collection[Delivery]) -> None:
        """Do nothing: nothing is held back while others are stored."""

    def sources_of(self, question: SourcesOf, owner: Owner | None = None) -> SourcesPage:
        return self._answer(lambda: self._now_open.index.sources_of(question, owner))

    def positions(self, sources: Sequence[str]) -> list[Position]:
        heads = self._answer(lambda: self._heads(sources))
        rows = [head.row for head in heads if head]
        return [Position(row.id, row.committed, row.lines, row.crc32, False) for row in rows]

    def report(self, source: str, after: int) -> ReportPage:
        return self._answer(lambda: self._now_open.reports.report(source, after))

    def losses(self, question: LossesQuestion) -> LossPage:
        return self._answer(lambda: self._now_open.reports.losses(question))

    def owners_of(self, sources: Sequence[str]) -> dict[str, str]:
        heads = self._answer(lambda: self._heads(sources))
        return {head.row.id: head.row.owner for head in heads if head}

    def content(self, request: Content) -> StoredContent:
        return self._answer(lambda: self._now_open.reports.content(request))

    def damaged(self, source: str, after: int) -> DamagePage:
        return self._answer(lambda: self._now_open.reports.damaged(source, after))

    def damaged_sources(self, owner: str) -> Sequence[str]:
        return self._opened.damage.of_owner(owner) if self._opened else ()

    def repair(self, request: Repair) -> RepairOutcome:
        return self._answer(lambda: self._now_open.reports.repair(request))

    def health(self) -> StoreHealth:
        state, reason, since = self._state.now
        damage = self._opened.damage if self._opened else None
        found, repaired = (damage.found, damage.repaired) if damage else (0, 0)
        counters = replace(self._counters, extents_damaged=found, extents_repaired=repaired)
        return StoreHealth(state, reason, counters, damage.count if damage else 0, since=since)

    def close(self, timeout_s: float) -> int:
        if self._opened is None or self._state.state is StoreState.CLOSED:
            return 0
        has_failed = self._state.state is StoreState.FAILED
        self._state.change(StoreState.CLOSING)
        if not has_failed:
            self._loop.call_soon_threadsafe(self._note_if_empty)
            self._has_emptied.wait(timeout_s)
        unstored_lines = self._unstored_lines()
        if unstored_lines:
            logger.error("shutting down with %d unacknowledged lines; their clients will resend them", unstored_lines)
        self._end_loop()
        self._state.change(StoreState.CLOSED)
        return unstored_lines

    # --- within

    def _run(self, worker: Worker) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _end_loop(self) -> None:
        future = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        try:
            future.result(_LAST_WAIT_S)
        except (concurrent.futures.TimeoutError, Exception) as error:  # the loop ends, whatever has gone wrong
            logger.debug("closing the connection to NATS: %r", error)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._worker.stop(_LAST_WAIT_S)
        if not self._worker.is_running:
            self._loop.close()

    async def _close(self) -> None:
        opened = self._opened
        if opened is not None:
            opened.appends.cancel()
            opened.plain.cancel()
            await opened.wire.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _answer(self, question: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Answer a question, as soon as NATS does, which may elect a leader just now. Raises StoreError."""
        return self._ask(self._patiently(question))

    async def _patiently(self, question: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        deadline = self._loop.time() + _PATIENCE_S
        while True:
            try:
                return await question()
            except NoAnswer:
                if self._loop.time() > deadline:
                    raise
            await asyncio.sleep(self._settings.first_retry_s)

    def _ask(self, question: Coroutine[Any, Any, Result], timeout_s: float = _QUESTION_S) -> Result:
        """Run a question in the loop; return its answer. Raises StoreError."""
        if self._state.state is StoreState.CLOSED:
            question.close()
            raise StoreError("the store is closed")
        future = asyncio.run_coroutine_threadsafe(question, self._loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise StoreError("NATS does not answer") from None
        except concurrent.futures.CancelledError:
            raise StoreError("the store is closed") from None

    async def _open(self, on_damage: OnDamage) -> _Opened:
        settings = self._settings
        wire = await self._connect(settings)
        try:
            streams = await open_streams(wire, settings)
        except BaseException:
            await wire.close()
            raise
        names = streams.names
        promised = await asyncio.to_thread(durability, settings.monitors, streams.replicas)
        max_bytes = wire.max_payload - ROOM_FOR_HEADERS
        order = Order(self._loop, self._note_if_empty)
        stalls, in_flight, sources = Stalls(self._state), InFlight(), Sources(wire, names)
        losses, damage = Losses(wire, names), Damage(on_damage)
        common: dict[str, Any] = {
            "stalls": stalls,
            "in_flight": in_flight,
            "on_done": self._done,
            "on_failure": self._fail,
            "waiting_lines": self._unstored_lines,
            "first_retry_s": settings.first_retry_s,
        }
        return _Opened(
            wire=wire,
            store_id=streams.store_id,
            durability=promised,
            limits=StoreLimits(max_bytes),
            segments=streams.not_empty,
            order=order,
            appends=Appends(wire, names, sources, losses, replicas=streams.replicas, **common),
            plain=PlainLines(wire, names, max_bytes=max_bytes, **common),
            sources=sources,
            reports=Reports(wire, names, sources, losses, Chains(wire, names), damage),
            damage=damage,
            index=SourceIndex(wire, names, sources),
        )

    async def _heads(self, sources: Sequence[str]) -> list[Any]:
        return await asyncio.gather(*(self._now_open.sources.read(source) for source in sources))

    def _take(self) -> None:
        with self._lock:
            taken, self._queue = self._queue, deque()
        opened = self._now_open
        for delivery in taken:
            opened.order.add(delivery)
        if self._state.state is StoreState.FAILED:
            return
        for delivery in taken:
            if delivery.source_request is not None:
                opened.appends.take(delivery)
            elif delivery.pieces:
                opened.plain.take(delivery)
            else:
                opened.order.done(delivery)

    def _done(self, deliveries: Sequence[Delivery], repeats: int) -> None:
        stored = [delivery for delivery in deliveries if delivery.is_stored]
        self._counters = self._counters.after_group(stored, repeats=repeats)
        for delivery in deliveries:
            self._now_open.order.done(delivery)

    def _fail(self, error: BaseException) -> None:
        logger.error("the store on NATS has failed; the server stores nothing more", exc_info=error)
        if self._state.change(StoreState.FAILED, "a bug in the server ended the store; see the log"):
            self._on_failure()

    def _note_if_empty(self) -> None:
        if self._state.state is StoreState.CLOSING and not self._queue and self._now_open.order.is_empty:
            self._has_emptied.set()

    def _unstored_lines(self) -> int:
        with self._lock:
            queued = sum(delivery.lines for delivery in self._queue)
        return queued + (self._opened.order.lines if self._opened else 0)
