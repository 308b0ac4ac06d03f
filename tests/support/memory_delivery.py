"""What a delivery engine needs, in memory: a producer, an output, what is known of sources, and time."""

import math
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from logferry.client.delivery.batches.batches import Claim, RenderedRange
from logferry.client.delivery.engine.engine import DeliveryEngine
from logferry.client.delivery.output import (
    BatchRejected,
    Connected,
    Disconnected,
    Guarantee,
    Located,
    OutputEvent,
    OutputLimits,
    Sent,
    SourceAt,
    Stalled,
    Stored,
)
from logferry.client.delivery.positions.resume import StoredRanges
from logferry.client.delivery.servers.retry import Backoff, ReconnectGate
from logferry.client.net.waiting.readiness import Readiness, Wait
from logferry.client.readers.rerender import do_nothing
from logferry.config import ShipSettings
from logferry.errors import DeliveryError, PeerClosed, Unreachable
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.messages.client_state import ClientState
from logferry.telemetry.metrics import Metrics
from tests.support.stopping import stop_signal

STALL_S = 30.0


class Time:
    """A clock, and a poll in which time passes at once. A wait that nothing would end fails."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self._due: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def at(self, after_s: float, action: Callable[[], None]) -> None:
        """Do something when so much time has passed."""
        self._due.append((self.now + after_s, action))

    def poll(self, interest: Readiness, timeout_s: float) -> dict[int, int]:
        """See Wait: no descriptor is ever ready."""
        until = min([self.now + timeout_s, *(when for when, _ in self._due)])
        assert until != math.inf, "nothing would ever end this wait"
        self.waits.append(until - self.now)
        self.now = max(self.now, until)
        due = [action for when, action in self._due if when <= self.now]
        self._due = [entry for entry in self._due if entry[0] > self.now]
        for action in due:
            action()
        return {}


class MemoryProducer:
    """See BatchProducer: sources whose content is the NDJSON itself, in batches of so many lines."""

    def __init__(
        self, content: dict[Source, list[bytes]], *, lines_per_batch: int = 1, is_endless: bool = False
    ) -> None:
        self.content = content
        self._lines_per_batch = lines_per_batch
        self._is_endless = is_endless
        self._offsets = dict.fromkeys(content, 0) | {source: source.committed for source in content}
        self._one_by_one_until = dict.fromkeys(content, 0)
        self._is_stopped = False
        self.sent_back: list[tuple[str, int | None]] = []
        self.ticks = 0
        self.is_busy = False
        self.wake_fds: Sequence[int] = ()
        self.patience_s = 0.0

    @property
    def is_finished(self) -> bool:
        return self._is_stopped or (not self._is_endless and not any(map(self._has_more, self.content)))

    def next_batch(self) -> Batch | None:
        source = next(filter(self._has_more, self.content), None)
        if source is None or self._is_stopped:
            return None
        start = self._offsets[source]
        count = 1 if start < self._one_by_one_until[source] else self._lines_per_batch
        payload = b"".join(b"".join(self.content[source])[start:].splitlines(keepends=True)[:count])
        self._offsets[source] += len(payload)
        return Batch(source, start, start + len(payload), payload, payload.count(b"\n"), epoch=source.epoch)

    def tick(self) -> None:
        self.ticks += 1

    def stop(self) -> None:
        self._is_stopped = True

    def send_back(self, source: Source, offset: int | None, *, one_by_one_until: int) -> None:
        self.sent_back.append((source.id, offset))
        if offset is None:
            lines = self.content.pop(source)
            source = Source(source.path, id=f"{source.id}-new")
            self.content[source] = lines
        self._offsets[source] = offset or 0
        self._one_by_one_until[source] = one_by_one_until

    def crc32_behind(self, wanted: RenderedRange, *, between: Callable[[], object] = do_nothing) -> int | None:
        data = b"".join(self.content[wanted.source])
        return zlib.crc32(data[wanted.start : wanted.end], wanted.crc32) if wanted.end <= len(data) else None

    def holds(self, claim: Claim, *, between: Callable[[], object] = do_nothing) -> bool:
        data = b"".join(self.content[claim.source])
        are_blank = not any(data.count(b"\n", *gap) for gap in claim.gaps)
        are_lines = all(data.count(b"\n", loss.start, loss.end) <= 1 for loss in claim.passed)
        held = all(zlib.crc32(data[each.start : each.end]) == each.crc32 for each in claim.extents)
        return bool(claim.extents) and held and are_lines and are_blank

    def _has_more(self, source: Source) -> bool:
        return self._offsets[source] < sum(map(len, self.content[source]))


class MemoryProgress:
    """See DeliveryProgress; notes in which order things happen."""

    def __init__(self, happened: list[tuple[str, str]]) -> None:
        self.patience_s = math.inf
        self._happened = happened
        self.registered: list[list[str]] = []
        self.known: dict[str, Source] = {}
        self.stores: dict[str, str] = {}

    def register_all(self, sources: Iterable[Source]) -> None:
        self.registered.append([source.id for source in sources])
        self._happened += [("registered", source_id) for source_id in self.registered[-1]]

    def note(self, source: Source) -> None:
        """Nothing is saved."""

    def known_ids(self) -> list[str]:
        return list(self.known)

    def known_source(self, source_id: str) -> Source | None:
        return self.known.get(source_id)

    def found_in(self, source_id: str, store: str) -> None:
        self.known[source_id].store = store

    def store_of(self, server: str) -> str:
        return self.stores.get(server, "")

    def learn_store(self, server: str, store: str) -> None:
        self.stores[server] = store

    def why_missing(self, source: Source, store: str, *, found: int) -> str:
        return f"{store} had {source.committed} bytes"

    def follow(self, source: Source) -> None:
        """Nothing is saved."""

    def save_if_due(self) -> None:
        """Nothing is saved."""


@dataclass
class Stock:
    """What is stored of one source."""

    committed: int = 0
    payloads: list[bytes] = field(default_factory=list)
    lost: list[tuple[int, int, str]] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        return b"".join(self.payloads)


Behaviour = Callable[["MemoryOutput"], None]


class MemoryOutput:
    """See Output: stores what is submitted, as a server that is always there does.

    `behaviours` are for the connections in turn, the last one for all that follow: an error is what becomes of the
    attempt; a function gets the output at each `drive`, and answers what has `arrived`.
    """

    def __init__(
        self,
        time: Time,
        *,
        guarantee: Guarantee = Guarantee.EXACTLY_ONCE,
        limits: OutputLimits | None = None,
        room: int = sys.maxsize,
        store: str = "memory",
        features: frozenset[str] = frozenset(),
    ) -> None:
        self.guarantee = guarantee
        self.limits = limits or OutputLimits()
        self.behaviours: deque[Behaviour | DeliveryError] = deque([answer_all])
        self.happened: list[tuple[str, str]] = []
        self.stock: dict[str, Stock] = {}
        self.connections: list[list[Batch]] = []  # what was submitted on each
        self.attempts: list[float] = []  # when
        self.opened: list[str] = []  # on this connection, not yet answered
        self.opened_ever: list[list[str]] = []
        self.arrived: deque[Batch] = deque()
        self.events: list[OutputEvent] = []
        self.store_id = store
        self.asked: list[list[str]] = []  # about which sources, in each request
        self.pings: list[ClientState] = []
        self.cannot_locate = False
        self.finish_takes_s = 0.0
        self.fails_at_finish = False
        self._time = time
        self._room = room
        self._features = features
        self._is_asked = False
        self._unsent: list[Batch] = []
        self._behaviour: Behaviour | None = None  # of the present connection
        self._is_connecting = False
        self._owed_since = 0.0
        self._finished_at: float | None = None

    def connect(self, now: float) -> None:
        assert self._behaviour is None
        self._is_connecting = True
        self.attempts.append(now)

    def open(self, sources: Sequence[Source]) -> None:
        self.opened += [source.id for source in sources]
        self.opened_ever[-1] += [source.id for source in sources]

    def locate(self, sources: Sequence[str]) -> None:
        self.asked.append(list(sources))
        self._is_asked = True

    def ping(self, state: ClientState) -> None:
        self.pings.append(state)

    def submit(self, batch: Batch) -> bool:
        if self._behaviour is None or len(self._unsent) >= self._room:
            return False
        assert len(batch.payload) <= self.limits.max_batch_bytes
        self.happened.append(("submitted", batch.source.id))
        self.connections[-1].append(batch)
        self._unsent.append(batch)
        return True

    def interest(self) -> Readiness:
        return {}

    def next_timer(self) -> float | None:
        if self._is_connecting or self._unsent or self.opened or self._is_asked:
            return self._time.now
        if self._finished_at is not None:
            return self._finished_at
        return self._owed_since + STALL_S if self.arrived else None

    def drive(self, ready: Readiness, now: float) -> list[OutputEvent]:
        self.events = []
        if self._is_connecting:
            self._connect(now)
        elif self._finished_at is not None:
            self._finish(now)
        elif self._behaviour is not None:
            self._work(self._behaviour, now)
        if any(isinstance(event, Disconnected) for event in self.events):
            self.abandon()
        return self.events

    def abandon(self) -> None:
        self._is_connecting = False
        self._behaviour = self._finished_at = None
        self._is_asked = False
        self.opened.clear()
        self.arrived.clear()
        self._unsent.clear()

    @property
    def is_finishing(self) -> bool:
        return self._finished_at is not None

    def finish(self, now: float) -> None:
        if self._behaviour is not None and self.guarantee is Guarantee.BEST_EFFORT:
            self._finished_at = now + self.finish_takes_s

    # --- what behaviours do

    def answer_open(self, source_id: str) -> None:
        """Answer an open."""
        self.opened.remove(source_id)
        stock = self.stock.setdefault(source_id, Stock())
        crc32 = zlib.crc32(stock.data)
        self.events.append(SourceAt(source_id, stock.committed, stock.data.count(b"\n"), crc32))

    def store(self, batch: Batch) -> None:
        """Store a batch that has arrived, or say why not, as rules E8 to E10 want it."""
        self.arrived.remove(batch)
        stock = self.stock.setdefault(batch.source.id, Stock())
        if self.guarantee is Guarantee.EXACTLY_ONCE and batch.end > stock.committed != batch.start:
            self.events.append(BatchRejected(batch.source.id, stock.committed, "does not follow", is_final=False))
            return
        if self.guarantee is not Guarantee.EXACTLY_ONCE or batch.end > stock.committed:
            stock.committed = batch.end
            stock.payloads.append(b"".join(batch.payload.splitlines(keepends=True)[batch.acked :]))
            if batch.lost:
                stock.lost.append((batch.start, batch.end, batch.lost))
        self.events.append(Stored(batch, batch.lines - batch.acked))

    def break_off(self) -> None:
        """End the connection."""
        self.events.append(Disconnected(PeerClosed("the server closed the connection")))

    def _connect(self, now: float) -> None:
        self._is_connecting = False
        behaviour = self.behaviours.popleft() if len(self.behaviours) > 1 else self.behaviours[0]
        if isinstance(behaviour, DeliveryError):
            self.events.append(Disconnected(behaviour))
            return
        self._behaviour = behaviour
        self._owed_since = now
        self.connections.append([])
        self.opened_ever.append([])
        self.events.append(Connected("memory", self.guarantee, self.limits, self.store_id, self._features))

    def _answer_positions(self) -> None:
        self._is_asked = False
        found = [(source_id, self.stock[source_id]) for source_id in self.asked[-1] if source_id in self.stock]
        at = (SourceAt(one, stock.committed, stock.data.count(b"\n"), zlib.crc32(stock.data)) for one, stock in found)
        self.events.append(Located(None if self.cannot_locate else tuple(at)))

    def _work(self, behaviour: Behaviour, now: float) -> None:
        if self._is_asked:
            self._answer_positions()
        if self._unsent:
            self.events.append(Sent(tuple(self._unsent), sum(len(b.payload) for b in self._unsent), len(self._unsent)))
            if not self.arrived:
                self._owed_since = now
            self.arrived.extend(self._unsent)
            self._unsent.clear()
        before = len(self.events)
        behaviour(self)
        if len(self.events) > before:
            self._owed_since = now
        elif self.arrived and now - self._owed_since >= STALL_S:
            self.events.append(Stalled("no ack and no progress"))

    def _finish(self, now: float) -> None:
        if self.fails_at_finish:
            self.break_off()
        elif self._finished_at is not None and now >= self._finished_at:
            self._finished_at = None


def answer_all(output: MemoryOutput) -> None:
    """Answer everything at once."""
    for source_id in list(output.opened):
        output.answer_open(source_id)
    for batch in list(output.arrived):
        output.store(batch)


def answer_nothing(output: MemoryOutput) -> None:
    """Answer opens only."""
    for source_id in list(output.opened):
        output.answer_open(source_id)


def answer_then_break(batches: int) -> Behaviour:
    """Store so many batches of those that come, then end the connection."""
    left = [batches]

    def behave(output: MemoryOutput) -> None:
        answer_nothing(output)
        for batch in list(output.arrived)[: left[0]]:
            output.store(batch)
            left[0] -= 1
        if not left[0]:
            output.break_off()

    return behave


class Run:
    """An engine between a producer and an output, all in memory."""

    def __init__(
        self,
        settings: ShipSettings,
        content: dict[Source, list[bytes]],
        *,
        lines_per_batch: int = 1,
        is_endless: bool = False,
        stored_ranges: dict[str, StoredRanges] | None = None,
        gate: ReconnectGate | None = None,
        **output: Any,
    ) -> None:
        self.time = Time()
        self.output = MemoryOutput(self.time, **output)
        self.producer = MemoryProducer(content, lines_per_batch=lines_per_batch, is_endless=is_endless)
        self.progress = MemoryProgress(self.output.happened)
        self.progress.known = {source.id: source for source in content}  # an earlier run may have shipped them
        self.metrics = Metrics()
        self.stop = stop_signal()
        self.observed: list[str] = []

        def stored_extents(source_id: str, *, wait: Wait) -> StoredRanges:
            return (stored_ranges or {}).get(source_id, StoredRanges([], []))

        self.engine = DeliveryEngine(
            self.producer,
            self.output,
            settings,
            metrics=self.metrics,
            stop=self.stop,
            checkpoints=self.progress,
            stored_extents=stored_extents,
            gate=gate,
            observer=self,
            backoff=Backoff(ceiling_s=settings.backoff_max, uniform=lambda: 1.0),
            clock=self.time,
            poll=self.time.poll,
        )

    def connected(self, guarantee: Guarantee) -> None:
        self.observed.append(f"connected: {guarantee.value}")

    def closed(self) -> None:
        self.observed.append("closed")

    def failed(self, error: str) -> None:
        self.observed.append(f"failed: {error}")

    def stalled(self, reason: str, since: float) -> None:
        self.observed.append(f"stalled: {reason}")

    @property
    def counters(self) -> Any:
        """What was counted."""
        return self.metrics.total().counters

    def stored(self, source: Source) -> list[bytes]:
        """Return the lines that are stored of a source."""
        return self.output.stock[source.id].data.splitlines(keepends=True) if source.id in self.output.stock else []


def unreachable() -> DeliveryError:
    """Return what becomes of an attempt when nobody is there."""
    return Unreachable("cannot connect to memory")
