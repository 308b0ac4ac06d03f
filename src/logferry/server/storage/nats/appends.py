"""Appends what is submitted about sources, each source by itself, one message at a time.

A source has a lane. What waits in it is taken as a run that becomes at most one message of lines: consecutive batches
are joined up to a MiB. Admission judges a run by what is remembered of its source; the append has the condition that
nobody has appended since. If that does not hold, or nobody answers, the source is read again and the run judged again,
as often as needed: that is the fence between gateways, and why nothing is stored twice. Used in the store's loop alone.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from logferry import checksum
from logferry.protocol.messages.requests import BatchRequest, Open, Skip
from logferry.server.storage.admission import GroupChanges, SourceTable
from logferry.server.storage.deliveries import Delivery, ReleaseSources, SourceRequest
from logferry.server.storage.log_names import NO_LOG
from logferry.server.storage.loss_limits import LossLimits
from logferry.server.storage.nats import headers
from logferry.server.storage.nats.headers import Link, Totals
from logferry.server.storage.nats.in_flight import InFlight
from logferry.server.storage.nats.known import check_known
from logferry.server.storage.nats.losses import Losses, PlannedLosses
from logferry.server.storage.nats.names import Names
from logferry.server.storage.nats.sources import Head, Sources, written_record
from logferry.server.storage.nats.stalls import Stalls
from logferry.server.storage.nats.streams import JOINED_BYTES
from logferry.server.storage.nats.wire import (
    WRONG_LAST_SEQUENCE,
    WRONG_LAST_SEQUENCE_IN_FLIGHT,
    NatsError,
    NoAnswer,
    Refused,
    Wire,
)
from logferry.server.storage.records import LossRow, SourceRow

logger = logging.getLogger(__name__)

LAST_RETRY_S: Final = 2.0

# A position that another gateway has just taken: by how much to wait at most before looking again.
_SOON_S: Final = 0.02

# Requests of one run: what is judged together, without letting anybody else have a turn.
_MAX_RUN: Final = 2000

WRONG_POSITION: Final = (WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_IN_FLIGHT)

OnDone = Callable[[Sequence[Delivery], int], None]
"""Called with deliveries that are stored, or decided, and how many of them were repeats."""


@dataclass(slots=True)
class _Lane:
    source: str
    queue: deque[Delivery] = field(default_factory=deque)


@dataclass(slots=True)
class _Run:
    """Requests that are judged together, and what the last attempt tried to append; `is_unsure` if it may have."""

    deliveries: list[Delivery]
    is_unsure: bool = False
    tried: Totals | None = None
    tried_kept: list[bool] = field(default_factory=list)

    @property
    def requests(self) -> list[SourceRequest]:
        return [delivery.source_request for delivery in self.deliveries if delivery.source_request]


class Appends:
    """The lanes of all sources."""

    def __init__(
        self,
        wire: Wire,
        names: Names,
        sources: Sources,
        losses: Losses,
        *,
        stalls: Stalls,
        in_flight: InFlight,
        on_done: OnDone,
        on_failure: Callable[[BaseException], None],
        waiting_lines: Callable[[], int],
        first_retry_s: float,
        replicas: int,
    ) -> None:
        self._wire = wire
        self._names = names
        self._sources = sources
        self._losses = losses
        self._table = SourceTable(sources)  # type: ignore[arg-type]  # only its `source` is used
        self._stalls = stalls
        self._in_flight = in_flight
        self._on_done = on_done
        self._on_failure = on_failure
        self._waiting_lines = waiting_lines
        self._first_retry_s = first_retry_s
        self._replicas = replicas
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._parts: dict[Delivery, Delivery] = {}  # of a release that has to wait, its parts
        self._left: dict[Delivery, int] = {}

    def take(self, delivery: Delivery) -> None:
        """Take a delivery with a request."""
        request = delivery.source_request
        assert request
        if isinstance(request.message, ReleaseSources):
            self._release(delivery, request, request.message.sources)
        else:
            self._queue(request.message.source, delivery)

    def cancel(self) -> None:
        """End everything that is on its way."""
        for task in self._tasks:
            task.cancel()

    def _queue(self, source: str, delivery: Delivery) -> None:
        lane = self._lanes.get(source)
        if lane is None:
            lane = self._lanes[source] = _Lane(source)
            task = asyncio.get_running_loop().create_task(self._drain(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        lane.queue.append(delivery)

    def _release(self, delivery: Delivery, request: SourceRequest, sources: Sequence[str]) -> None:
        """Release sources after everything that was submitted about them."""
        busy = [source for source in sources if source in self._lanes]
        for source in busy:
            part = Delivery(NO_LOG, [], 0, 0, source_request=replace(request, message=ReleaseSources((source,))))
            self._parts[part] = delivery
            self._queue(source, part)
        changes = self._table.begin_group()
        changes.decide(replace(request, message=ReleaseSources(tuple(set(sources) - set(busy)))))
        self._table.apply(changes)
        if busy:
            self._left[delivery] = len(busy)
        else:
            self._on_done([delivery], 0)

    async def _drain(self, lane: _Lane) -> None:
        try:
            while lane.queue:
                await self._store(_next_run(lane.queue))
        except Exception as error:  # the top of a task
            self._on_failure(error)
        finally:
            del self._lanes[lane.source]

    async def _store(self, run: _Run) -> None:
        """Store a run, with as many attempts as needed."""
        source = _recorded_id(run.requests[0])
        stream, subject = self._names.stream(source), self._names.lines(source)
        retry_s = self._first_retry_s
        while True:
            try:
                repeats = await self._attempt_in_turn(run, stream)
                break
            except NatsError as error:
                self._forget(run)
                if isinstance(error, Refused) and error.code in WRONG_POSITION:
                    await asyncio.sleep(random.uniform(0, _SOON_S) if run.tried else 0)
                    continue
                run.is_unsure = run.is_unsure or isinstance(error, NoAnswer)
                where = stream if isinstance(error, NoAnswer | Refused) else subject
                self._stalls.begin(where, str(error), self._waiting_lines())
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)
        self._stalls.end(stream)
        self._stalls.end(subject)
        self._done(run.deliveries, repeats)

    def _forget(self, run: _Run) -> None:
        for request in run.requests:
            for source in _ids(request):
                self._sources.forget(source)
                self._losses.forget(source)
                self._table.rows.pop(source, None)
                self._table.loss_counts.losses.pop(source, None)
                self._table.loss_counts.windows.pop(source, None)

    async def _attempt_in_turn(self, run: _Run, stream: str) -> int:
        size = sum(delivery.size for delivery in run.deliveries)
        async with self._stalls.trying(stream), self._in_flight.holding(run.deliveries[0].sender, size):
            return await self._attempt(run)

    async def _attempt(self, run: _Run) -> int:
        """Judge a run and append what it adds; return how many repeats it has. Raises NatsError."""
        await self._load(run)
        changes = self._table.begin_group()
        kept = [changes.decide(request) for request in run.requests]
        planned = {source: PlannedLosses(await self._losses.load(source)) for source in changes.noted}
        for plan in planned.values():
            changes.save(plan)
        heads = []
        for row in changes.rows.values():
            head = self._sources.head(row.id) or Head(SourceRow(row.id, row.host, row.path), Totals(), 0, 0)
            heads.append(await self._append(run, head, row, kept))
        for source, plan in planned.items():
            if plan.rows:
                await self._losses.append(source, plan)
        self._apply(run, changes, heads, kept)
        return changes.repeats

    def _apply(self, run: _Run, changes: GroupChanges, heads: Sequence[Head], kept: Sequence[bool]) -> None:
        self._table.apply(changes)
        for head in heads:
            self._sources.remember(head)
        was_ours = run.is_unsure and any(head.totals == run.tried for head in heads)
        before = run.tried_kept if was_ours else [False] * len(kept)
        for delivery, is_kept, was_kept in zip(run.deliveries, kept, before, strict=True):
            delivery.is_stored = is_kept or was_kept

    async def _load(self, run: _Run) -> None:
        """Have the sources of a run at hand. An open reads its source, whatever is remembered. Raises NatsError."""
        opens = [request.message for request in run.requests if isinstance(request.message, Open)]
        for source in {source: None for request in run.requests for source in _ids(request)}:
            known = self._sources.head(source)
            head = await self._sources.load(source, again=bool(opens))
            if head is not known:
                self._table.rows.pop(source, None)
                await self._settle_skip(head)
        for message in opens:
            await self._check_known(run, message)

    async def _check_known(self, run: _Run, message: Open) -> None:
        """Return if the source may be opened as it was found. Raises NatsError if it has less than its client knows."""
        found = [head for head in map(self._sources.head, _all_ids(run)) if head]
        head = max(found, key=lambda head: head.totals.committed, default=None)
        if (head is None and message.known) or (head and message.known > head.totals.committed):
            source = head.row.id if head else message.source
            self._sources.forget(source)  # the replica that answered may only have been behind
            head = await self._sources.load(source)
            self._table.rows.pop(source, None)
            await check_known(self._wire, self._names, source, head, message.known, replicas=self._replicas)

    async def _settle_skip(self, head: Head | None) -> None:
        """Record the loss of a skip that is the last message: its gateway may have ended in between."""
        if head is None or head.last is None or head.last.kind != "skip":
            return
        source, last = head.row.id, head.last
        recorded = await self._losses.load(source)
        plan = PlannedLosses(recorded)
        limits = LossLimits(plan)
        limits.add_loss(LossRow(source, last.start, last.end, last.reason, last.lost))
        limits.finish()
        if plan.rows:
            await self._losses.append(source, plan)

    async def _append(self, run: _Run, head: Head, row: SourceRow, kept: Sequence[bool]) -> Head:
        """Append what makes `head` the head of `row`; return the new head. Raises NatsError."""
        names = headers.Names(row.host, row.path, row.owner)
        record = head.record
        if not (head.record or head.sequence) or head.row.owner != row.owner:
            subject, body = self._names.source(row.id), [written_record(names)]
            record = await self._wire.publish(subject, body, {}, stream=self._names.meta, after=record)
        if row.committed == head.totals.committed:
            return Head(row, head.totals, head.sequence, record)
        link, pieces = _message(run, head, row, kept, names)
        run.tried, run.tried_kept = link.totals, list(kept)
        stream, subject = self._names.stream(row.id), self._names.lines(row.id)
        sequence = await self._wire.publish(subject, pieces, headers.written(link), stream=stream, after=head.sequence)
        return Head(row, link.totals, sequence, record)

    def _done(self, deliveries: Sequence[Delivery], repeats: int) -> None:
        whole = []
        for delivery in deliveries:
            parent = self._parts.pop(delivery, None)
            if parent is None:
                whole.append(delivery)
                continue
            self._left[parent] -= 1
            if not self._left[parent]:
                del self._left[parent]
                whole.append(parent)
        self._on_done(whole, repeats)


def _next_run(queue: deque[Delivery]) -> _Run:
    """Take what can be judged together: at most one message of lines comes of it."""
    run, size, has_batch, has_skip = [queue.popleft()], 0, False, False
    while True:
        request = run[-1].source_request
        assert request
        size += run[-1].size
        has_batch = has_batch or isinstance(request.message, BatchRequest)
        has_skip = has_skip or isinstance(request.message, Skip)
        if not queue or len(run) == _MAX_RUN:
            return _Run(run)
        following = queue[0].source_request
        assert following
        message = following.message
        if following.owner != request.owner or (isinstance(message, Skip) and (has_batch or has_skip)):
            return _Run(run)
        if isinstance(message, BatchRequest) and (
            has_skip or (has_batch and (message.split or size + queue[0].size > JOINED_BYTES))
        ):
            return _Run(run)
        run.append(queue.popleft())


def _message(
    run: _Run, head: Head, row: SourceRow, kept: Sequence[bool], names: headers.Names
) -> tuple[Link, Sequence[bytes]]:
    """Return the message of lines that moves a source from its head to `row`, and its payload."""
    skips = [request.message for request in run.requests if isinstance(request.message, Skip)]
    is_skip = bool(skips) and skips[-1].end == row.committed
    batches = []
    for delivery, is_kept in zip(run.deliveries, kept, strict=True):
        request = delivery.source_request
        if is_kept and request and isinstance(request.message, BatchRequest):
            batches.append((request.message, delivery))
    size, crc32 = 0, 0
    for batch, delivery in batches:
        crc32 = checksum.joined(crc32, batch.crc32, delivery.size) if size else batch.crc32
        size += delivery.size
    totals = Totals(row.committed, row.lines, head.totals.bytes + size, row.crc32)
    link = Link(
        "skip" if is_skip else "batch",
        start=head.totals.committed,
        lines=row.lines - head.totals.lines,
        size=size,
        crc32=crc32,
        totals=totals,
        prior_crc32=head.totals.crc32,
        names=names,
        split=bool(batches) and batches[0][0].split,
        reason=skips[-1].reason if is_skip else "",
        lost=not is_skip or skips[-1].lost,
    )
    return link, [piece for _, delivery in batches for piece in delivery.pieces]


def _ids(request: SourceRequest) -> Sequence[str]:
    """Return the ids under which the source of a request may be recorded (owners.py)."""
    message = request.message
    source = message.sources[0] if isinstance(message, ReleaseSources) else message.source
    return (source, request.owner.recorded_id(source)) if request.owner.is_identity else (source,)


def _all_ids(run: _Run) -> set[str]:
    return {source for request in run.requests for source in _ids(request)}


def _recorded_id(request: SourceRequest) -> str:
    return request.source or _ids(request)[0]
