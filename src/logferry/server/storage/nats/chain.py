"""The messages of a source as they can be read back now, checked one by one and as a chain.

Every reader of stored lines goes through `walk`. It counts each payload anew, asks other replicas for what is missing
between two messages, and puts the lines of a repair in the place of what is damaged. Reads only.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from logferry import checksum
from logferry.server.storage.nats.headers import Link, Totals
from logferry.server.storage.nats.names import Names
from logferry.server.storage.nats.reading import messages_of
from logferry.server.storage.nats.sources import Head, MalformedSource, link_of
from logferry.server.storage.nats.wire import Message, Wire

State = Literal["ok", "altered", "missing", "expired"]

# How often what is missing is asked for: any of the replicas may answer each time.
_ATTEMPTS: Final = 3
_PAUSE_S: Final = 0.02

_MAX_PLACES: Final = 1000


@dataclass(frozen=True, slots=True)
class Piece:
    """What there is of the bytes `[start, end)` of a source; `lines`, `size` and `crc32` are what there should be."""

    start: int
    end: int
    lines: int
    size: int
    crc32: int
    state: State
    payload: bytes = b""
    split: bool = False
    sequence: int = 0  # of its message, 0 if that is missing
    at: str = ""


class Chains:
    """Walks. Used in the store's loop alone."""

    def __init__(self, wire: Wire, names: Names) -> None:
        self._wire = wire
        self._names = names
        self._places: OrderedDict[tuple[str, int], int] = OrderedDict()  # the message that ends there

    async def walk(self, head: Head, after: int) -> AsyncIterator[Piece]:
        """Yield what there is of a source with lines, from offset `after` on, up to its head. Raises NatsError."""
        source = head.row.id
        first = await self._place(head, after)
        at: Totals | None = None if after else Totals()
        sequence = first - 1
        async for message, link in self._links(source, first, head.sequence):
            at = link.prior if at is None else at
            if link.start > at.committed:
                async for piece in self._between(source, at, link, sequence, message.sequence):
                    yield piece
            if link.kind == "batch":
                self._remember(source, link.end, message.sequence)
                piece = _piece(message, link)
                if link.start <= at.committed and link.prior != at:
                    piece = replace(piece, state="altered")  # what it covers is another message's, or not what it was
                yield await self._repaired(source, piece)
            at, sequence = link.totals, message.sequence
        if at is not None and at != head.totals:
            yield await self._repaired(source, _gap(at, head.totals, "missing"))

    async def _links(self, source: str, first: int, last: int) -> AsyncIterator[tuple[Message, Link]]:
        stream, subject = self._names.stream(source), self._names.lines(source)
        async for message in messages_of(self._wire, stream, subject, first, last):
            try:
                yield message, link_of(message)
            except MalformedSource:
                continue  # as if it were missing

    async def _between(self, source: str, at: Totals, link: Link, before: int, behind: int) -> AsyncIterator[Piece]:
        """Yield what lies between two messages that do not follow each other."""
        found: dict[int, tuple[Message, Link]] = {}
        is_expired = not at.committed and await self._has_expired(source, behind)
        for attempt in range(0 if is_expired else _ATTEMPTS):
            async for message, missed in self._links(source, before + 1, behind - 1):
                found[message.sequence] = message, missed
            if _is_complete(at, link.prior, [missed for _, (_, missed) in sorted(found.items())]):
                break
            await asyncio.sleep(_PAUSE_S * attempt)
        for _, (message, missed) in sorted(found.items()):
            if missed.prior != at and missed.start > at.committed:
                yield await self._repaired(source, _gap(at, missed.prior, "missing"))
            if missed.kind == "batch":
                yield await self._repaired(source, _piece(message, missed))
            at = missed.totals
        if at != link.prior and link.start > at.committed:
            yield await self._repaired(source, _gap(at, link.prior, "expired" if is_expired else "missing"))

    async def _has_expired(self, source: str, sequence: int) -> bool:
        """Whether what comes before the first message of a source was deleted by retention."""
        info = await self._wire.api(f"STREAM.INFO.{self._names.stream(source)}")
        state = info.get("state")
        first = state.get("first_seq") if isinstance(state, dict) else None
        return isinstance(first, int) and 1 < first <= sequence

    async def _repaired(self, source: str, piece: Piece) -> Piece:
        if piece.state not in ("altered", "missing"):
            return piece
        repair = await self._wire.last(self._names.meta, self._names.repair(source, piece.start))
        if repair is None or not is_whole(repair.payload, piece.lines, piece.size, piece.crc32):
            return piece
        return replace(piece, state="ok", payload=repair.payload)

    async def _place(self, head: Head, after: int) -> int:
        """Return the sequence of the first message that ends at an offset or later."""
        if not after:
            return 1
        source = head.row.id
        known = self._places.get((source, after))
        if known is not None:
            return known
        stream, subject = self._names.stream(source), self._names.lines(source)
        low, high = 1, head.sequence
        while low < high:
            middle = (low + high) // 2
            message = await self._wire.following(stream, subject, middle)
            if message is None or message.sequence > high or link_of(message).end >= after:
                high = middle
            else:
                low = message.sequence + 1
        return low

    def _remember(self, source: str, after: int, sequence: int) -> None:
        self._places[source, after] = sequence
        if len(self._places) > _MAX_PLACES:
            self._places.popitem(last=False)


def is_whole(payload: bytes, lines: int, size: int, crc32: int) -> bool:
    """Whether a payload has these numbers of lines and bytes, and this CRC-32."""
    return len(payload) == size and payload.count(b"\n") == lines and checksum.crc32(payload) == crc32


def _piece(message: Message, link: Link) -> Piece:
    is_good = is_whole(message.payload, link.lines, link.totals.bytes - link.prior.bytes, link.crc32)
    return Piece(
        *(link.start, link.end, link.lines, link.size, link.crc32, "ok" if is_good else "altered"),
        payload=message.payload,
        split=link.split,
        sequence=message.sequence,
        at=message.at,
    )


def _gap(before: Totals, behind: Totals, state: State) -> Piece:
    """Return the piece between two totals, without its content."""
    size, lines = max(0, behind.bytes - before.bytes), max(0, behind.lines - before.lines)
    crc32 = checksum.joined(before.crc32, 0, size) ^ behind.crc32
    return Piece(before.committed, behind.committed, lines, size, crc32, state, split=True)


def _is_complete(at: Totals, end: Totals, links: list[Link]) -> bool:
    for link in links:
        if link.prior != at:
            return False
        at = link.totals
    return at == end
