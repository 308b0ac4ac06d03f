"""What the store answers to `verify` and repairs: extents of a source, their content, and what is damaged.

Consecutive messages that are whole are one extent, up to a size; what is damaged is an extent of its own. Owns what is
known to be damaged, in memory: a report finds it again. Used in the store's loop alone, except `damaged_sources`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, NamedTuple

from logferry import checksum
from logferry.protocol.messages.repairs import (
    CONTENT_BYTES,
    DAMAGE_PAGE,
    EXTENT_BYTES,
    DamagedExtent,
    DamagePage,
    RepairOutcome,
    StoredContent,
)
from logferry.protocol.messages.reports import PAGE_BYTES, REPORT_PAGE, Extent, LossPage, ReportPage, json_bytes
from logferry.protocol.messages.requests import Content, Losses, Repair
from logferry.server.storage.loss_lists import LossLists
from logferry.server.storage.loss_pages import first_losses, loss_page
from logferry.server.storage.nats.chain import Chains, Piece, is_whole
from logferry.server.storage.nats.headers import ROOM_FOR_HEADERS
from logferry.server.storage.nats.losses import Losses as RecordedLosses
from logferry.server.storage.nats.names import Names
from logferry.server.storage.nats.sources import Sources
from logferry.server.storage.nats.wire import Wire
from logferry.server.storage.store import OnDamage

# One page reads at most this much plus one extent, as that of a disk: then others have their turn.
_READ_BYTES: Final = 64 * 1024 * 1024

# Damaged sources that are remembered, and those that a client is notified of at a time.
_MAX_DAMAGED: Final = 10_000
_MAX_SOURCES: Final = 100


class _Whole(NamedTuple):
    """An extent, with its payload as it is now."""

    extent: Extent
    size: int
    payloads: list[bytes]


class Damage:
    """The extents that are known to be damaged, by source. Replaced as a whole, so any thread may read it."""

    def __init__(self, on_damage: OnDamage) -> None:
        self._on_damage = on_damage
        self.extents: Mapping[str, Mapping[int, DamagedExtent]] = {}
        self._owners: dict[str, str] = {}
        self.found = 0
        self.repaired = 0

    @property
    def count(self) -> int:
        """How many extents are damaged."""
        return sum(map(len, self.extents.values()))

    def note(self, source: str, owner: str, checked: Sequence[Extent]) -> None:
        """Take the state of extents of a source; notify its client of those that are damaged and were not."""
        known = self.extents.get(source, {})
        damaged = {
            extent.start: DamagedExtent(extent.start, extent.end, extent.lines, extent.crc32)
            for extent in checked
            if extent.state in ("altered", "missing")
        }
        is_new = bool(damaged.keys() - known.keys())
        self.found += len(damaged.keys() - known.keys())
        others = {start: extent for start, extent in known.items() if not _lies_in(start, checked)}
        if known or damaged:
            self._set(source, owner, {**others, **damaged})
        if is_new:
            self._on_damage({owner: [source]})

    def of_owner(self, owner: str) -> Sequence[str]:
        """Return sources of an owner that are damaged."""
        return [source for source in self.extents if self._owners.get(source) == owner][:_MAX_SOURCES]

    def _set(self, source: str, owner: str, damaged: Mapping[int, DamagedExtent]) -> None:
        extents = {known: rows for known, rows in self.extents.items() if known != source}
        if damaged and len(extents) < _MAX_DAMAGED:
            self._owners = {**self._owners, source: owner}
            extents[source] = damaged
        self.extents = extents


class Reports:
    """Answers questions about stored lines. Raises NatsError."""

    def __init__(
        self, wire: Wire, names: Names, sources: Sources, losses: RecordedLosses, chains: Chains, damage: Damage
    ) -> None:
        self._wire = wire
        self._names = names
        self._sources = sources
        self._losses = losses
        self._chains = chains
        self._damage = damage

    async def report(self, source: str, after: int) -> ReportPage:
        """See Store; likewise below."""
        head = await self._sources.read(source)
        if head is None:
            return ReportPage(source, False, 0, 0, 0, (), (), False)
        lists = LossLists() if after else (await self._losses.read(source)).lists
        known = first_losses(lists.losses, lists.windows)
        extents: list[Extent] = []
        has_more, read, room = False, 0, PAGE_BYTES
        async for whole in self._extents(source, after):
            room -= json_bytes(whole.extent)
            if extents and (len(extents) == REPORT_PAGE or read > _READ_BYTES or room < 0):
                has_more = True
                break
            read += whole.size
            extents.append(whole.extent)
        self._damage.note(source, head.row.owner, extents)
        return ReportPage(
            source=source,
            is_known=True,
            committed=head.row.committed,
            lines=head.row.lines,
            crc32=head.row.crc32,
            extents=tuple(extents),
            losses=tuple(sorted((*known.lost, *known.skipped))),
            has_more=has_more,
            windows=known.windows,
            skipped=known.only_skipped,
        )

    async def losses(self, question: Losses) -> LossPage:
        recorded = await self._losses.read(question.source)
        return loss_page(question.source, recorded.lists.recorded(question.first))

    async def content(self, request: Content) -> StoredContent:
        whole = await self._extent(request.source, request.start)
        data = b"".join(whole.payloads) if whole else b""
        piece = data[request.position :][: min(request.size, CONTENT_BYTES)]
        return StoredContent(request.source, request.start, request.position, piece)

    async def damaged(self, source: str, after: int) -> DamagePage:
        extents = [
            extent for _, extent in sorted(self._damage.extents.get(source, {}).items()) if extent.start >= after
        ]
        return DamagePage(source, tuple(extents[:DAMAGE_PAGE]), len(extents) > DAMAGE_PAGE)

    async def repair(self, request: Repair) -> RepairOutcome:
        whole = await self._extent(request.source, request.start)
        given = (request.end, request.lines, request.crc32, len(request.payload))
        if (
            whole is None
            or given != (whole.extent.end, whole.extent.lines, whole.extent.crc32, whole.size)
            or not is_whole(request.payload, request.lines, whole.size, request.crc32)
        ):
            return RepairOutcome(request.source, request.start, False, "these are not the lines that were stored")
        head = await self._sources.read(request.source)
        owner = head.row.owner if head else ""
        if whole.extent.state == "ok":
            self._damage.note(request.source, owner, [whole.extent])
            return RepairOutcome(request.source, request.start, True, "it was not damaged")
        if len(request.payload) > self._wire.max_payload - ROOM_FOR_HEADERS:
            return RepairOutcome(request.source, request.start, False, "it does not fit into one message of NATS")
        await self._append_repair(request)
        self._damage.repaired += 1
        self._damage.note(request.source, owner, [whole.extent._replace(state="ok")])
        return RepairOutcome(request.source, request.start, True)

    async def _append_repair(self, request: Repair) -> None:
        subject = self._names.repair(request.source, request.start)
        last = await self._wire.last(self._names.meta, subject)
        after = last.sequence if last else 0
        await self._wire.publish(subject, [request.payload], {}, stream=self._names.meta, after=after)

    async def _extent(self, source: str, start: int) -> _Whole | None:
        """Return the extent that begins at an offset."""
        async for whole in self._extents(source, start):
            return whole if whole.extent.start == start else None
        return None

    async def _extents(self, source: str, after: int) -> AsyncIterator[_Whole]:
        head = await self._sources.read(source)
        if head is None or not head.sequence:
            return
        whole: _Whole | None = None
        async for piece in self._chains.walk(head, after):
            if piece.start < after:
                continue
            if whole and _follows(whole, piece):
                whole = _joined(whole, piece)
                continue
            if whole:
                yield whole
            extent = Extent(
                *(piece.start, piece.end, piece.lines, piece.crc32, piece.state), self._names.stream(source)
            )
            whole = _Whole(extent, piece.size, [piece.payload])
        if whole:
            yield whole


def _follows(whole: _Whole, piece: Piece) -> bool:
    """Whether a piece goes on with an extent."""
    is_good = whole.extent.state == piece.state == "ok"
    return is_good and not piece.split and whole.size < EXTENT_BYTES and whole.extent.end == piece.start


def _joined(whole: _Whole, piece: Piece) -> _Whole:
    extent = whole.extent
    crc32 = checksum.joined(extent.crc32, piece.crc32, piece.size)
    whole.payloads.append(piece.payload)
    grown = extent._replace(end=piece.end, lines=extent.lines + piece.lines, crc32=crc32)
    return _Whole(grown, whole.size + piece.size, whole.payloads)


def _lies_in(start: int, checked: Sequence[Extent]) -> bool:
    return bool(checked) and checked[0].start <= start < checked[-1].end
