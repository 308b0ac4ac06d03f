"""Appends what arrives by the plain protocol: at least once, because nobody says which lines are the same.

Each sender and log has a source of its own, which this gateway has made up and nobody else appends to. So the gateway
knows where it ends, and reads that only when an append was not answered. Used in the store's loop alone.
"""

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from logferry import checksum
from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.log_names import LogName
from logferry.server.storage.nats import headers
from logferry.server.storage.nats.appends import LAST_RETRY_S, OnDone
from logferry.server.storage.nats.headers import Link, Totals
from logferry.server.storage.nats.in_flight import InFlight
from logferry.server.storage.nats.names import PLAIN, Names
from logferry.server.storage.nats.sources import link_of
from logferry.server.storage.nats.stalls import Stalls
from logferry.server.storage.nats.streams import JOINED_BYTES
from logferry.server.storage.nats.wire import NatsError, Wire

# Logs whose source is remembered; others begin another one.
_MAX_REMEMBERED: Final = 10_000


@dataclass(slots=True)
class _End:
    """Where the source of a log ends."""

    source: str
    totals: Totals = field(default_factory=Totals)
    sequence: int = 0


@dataclass(slots=True)
class _Lane:
    key: tuple[LogName, str | int]
    end: _End
    queue: deque[Delivery] = field(default_factory=deque)


class PlainLines:
    """The lanes of all logs."""

    def __init__(
        self,
        wire: Wire,
        names: Names,
        *,
        stalls: Stalls,
        in_flight: InFlight,
        on_done: OnDone,
        on_failure: Callable[[BaseException], None],
        waiting_lines: Callable[[], int],
        first_retry_s: float,
        max_bytes: int,
    ) -> None:
        self._wire = wire
        self._names = names
        self._stalls = stalls
        self._in_flight = in_flight
        self._on_done = on_done
        self._on_failure = on_failure
        self._waiting_lines = waiting_lines
        self._first_retry_s = first_retry_s
        self._max_bytes = max_bytes
        self._run_id = secrets.token_hex(8)
        self._made = 0
        self._ends: OrderedDict[tuple[LogName, str | int], _End] = OrderedDict()
        self._lanes: dict[tuple[LogName, str | int], _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, delivery: Delivery) -> None:
        """Take a delivery with lines."""
        key = delivery.log, delivery.sender
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key, self._ends.pop(key) if key in self._ends else self._new_end())
            task = asyncio.get_running_loop().create_task(self._drain(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        lane.queue.append(delivery)

    def cancel(self) -> None:
        """End everything that is on its way."""
        for task in self._tasks:
            task.cancel()

    def _new_end(self) -> _End:
        self._made += 1
        return _End(f"{PLAIN}{self._run_id}-{self._made}")

    async def _drain(self, lane: _Lane) -> None:
        try:
            while lane.queue:
                run = _next_run(lane.queue)
                for pieces in _messages(run, self._max_bytes):
                    await self._store(lane, pieces, run[0].sender)
                for delivery in run:
                    delivery.is_stored = True
                self._on_done(run, 0)
        except Exception as error:  # the top of a task
            self._on_failure(error)
        finally:
            del self._lanes[lane.key]
            self._ends[lane.key] = lane.end
            if len(self._ends) > _MAX_REMEMBERED:
                self._ends.popitem(last=False)

    async def _store(self, lane: _Lane, pieces: Sequence[bytes], sender: str | int) -> None:
        """Append one message, with as many attempts as needed."""
        payload = b"".join(pieces)
        lines, size, crc32 = payload.count(b"\n"), len(payload), checksum.crc32(payload)
        stream, retry_s = self._names.stream(lane.end.source), self._first_retry_s
        while True:
            at = lane.end.totals
            totals = at.extended(at.committed + size, lines, size, crc32)
            try:
                await self._append(
                    lane, Link("batch", at.committed, lines, size, crc32, totals, at.crc32), payload, sender
                )
                break
            except NatsError as error:
                self._stalls.begin(stream, str(error), self._waiting_lines())
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)
            if await self._is_there(lane, totals):
                break
        self._stalls.end(stream)

    async def _append(self, lane: _Lane, link: Link, payload: bytes, sender: str | int) -> None:
        log, end = lane.key[0], lane.end
        stream, subject = self._names.stream(end.source), self._names.lines(end.source)
        written = headers.written(link) | headers.written_names(headers.Names(log.host, log.path, log.identity))
        async with self._stalls.trying(stream), self._in_flight.holding(sender, link.size):
            end.sequence = await self._wire.publish(subject, [payload], written, stream=stream, after=end.sequence)
        end.totals = link.totals

    async def _is_there(self, lane: _Lane, totals: Totals) -> bool:
        """Whether a message that was not answered is stored; if something else is, begin another source."""
        end = lane.end
        try:
            last = await self._wire.last(self._names.stream(end.source), self._names.lines(end.source))
            found = link_of(last).totals if last else Totals()
        except NatsError:
            return False  # the next attempt fails, or says more
        if last is not None and found == totals:
            end.totals, end.sequence = totals, last.sequence
            return True
        if found != end.totals:
            lane.end = self._new_end()
        return False


def _next_run(queue: deque[Delivery]) -> list[Delivery]:
    """Take deliveries that are stored together."""
    run = [queue.popleft()]
    size = run[0].size
    while queue and size + queue[0].size <= JOINED_BYTES:
        size += queue[0].size
        run.append(queue.popleft())
    return run


def _messages(run: Sequence[Delivery], max_bytes: int) -> Iterator[list[bytes]]:
    """Yield the lines of deliveries in parts that fit into messages."""
    pieces: list[bytes] = []
    size = 0
    for piece in _small_pieces(run, max_bytes):
        if pieces and size + len(piece) > max_bytes:
            yield pieces
            pieces, size = [], 0
        pieces.append(piece)
        size += len(piece)
    if pieces:
        yield pieces


def _small_pieces(run: Sequence[Delivery], max_bytes: int) -> Iterator[bytes]:
    """Yield the lines of deliveries in pieces of whole lines that are small enough; no line is larger."""
    for delivery in run:
        if delivery.size <= max_bytes:
            yield from delivery.pieces
            continue
        whole = b"".join(delivery.pieces)
        start = 0
        while start < len(whole):
            end = whole.rfind(b"\n", start, start + max_bytes) + 1
            if not end:
                end = whole.find(b"\n", start) + 1 or len(whole)
            yield whole[start:end]
            start = end
