"""Which batches of a source are stored: the one place that decides about offsets, in the writer thread.

A group of deliveries is judged in a Draft: positions and owners as they will be once the group is in the ledger. A
draft that could not be written is thrown away and a new one made, so that a retry begins where the first try began;
one that was written is accepted, and becomes the state on which the next one is built.

docs/protocol.md, rules E4, E5, E8 to E13 and E20.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from logferry import checksum
from logferry.protocol.delivery import BatchRefused, BatchRequest, Note, Open, Position, Skip
from logferry.server.storage.ledger import ExtentRow, Ledger, LossRow, SourceRow
from logferry.server.storage.segments import Placement
from logferry.server.storage.stream_names import Stream, source_stream

logger = logging.getLogger(__name__)

# `verify` points at a damaged piece of this size; a source of a terabyte has 250,000 of them.
EXTENT_BYTES: Final = 4 * 1024 * 1024

# Positions that are kept in memory, 20 MB of them; beyond that the older half must be read from the ledger again.
MAX_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Leave:
    """A connection has ended: of the sources that it opened, those that it still has belong to nobody now."""

    sources: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Claim:
    """What a connection (`owner`, a number that no other has) of a client on `host` asks for a source.

    The writer thread sets the rest: `outcome` is what to answer, if anything; `stream` where a batch is to be stored.
    """

    request: Open | BatchRequest | Skip | Note | Leave
    owner: int
    client: str
    host: str
    outcome: Position | BatchRefused | None = None
    stream: Stream | None = None


class Sources:
    """The owners of the sources that connections have open, and positions of these; all others are in the ledger alone.

    An open source costs about 200 bytes, and a kilobyte while its position is here.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.rows: dict[str, SourceRow] = {}
        self.owners: dict[str, int] = {}

    def draft(self) -> "Draft":
        """Begin to judge a group."""
        return Draft(self)

    def accept(self, draft: "Draft") -> None:
        """Take over what is now in the ledger."""
        self.rows.update(draft.rows)
        if len(self.rows) > MAX_ROWS:
            self.rows = dict(islice(self.rows.items(), len(self.rows) - MAX_ROWS // 2, None))
        for source, owner in draft.owners.items():
            if owner is None:
                self.owners.pop(source, None)
                self.rows.pop(source, None)
            else:
                self.owners[source] = owner


class Draft:
    """What a group will change. `decide` each claim, `place` what was stored, then `save`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._new: dict[str, str] = {}  # sources to their clients
        self._moved: set[str] = set()
        self._extents: dict[tuple[str, int], ExtentRow] = {}
        self._losses: list[LossRow] = []
        self.rows: dict[str, SourceRow] = {}
        self.owners: dict[str, int | None] = {}
        self.repeats = 0

    @property
    def changes_ledger(self) -> bool:
        """Whether `save` has anything to say."""
        return bool(self._new or self._moved or self._losses)

    def decide(self, claim: Claim) -> bool:
        """Judge a claim; return whether the payload of its batch is to be stored. Raises OSError."""
        request = claim.request
        claim.outcome = claim.stream = None
        if isinstance(request, Open):
            claim.outcome = self._open(claim, request)
        elif isinstance(request, Leave):
            self._leave(claim, request.sources)
        elif not self._is_owner(claim, request.source):
            if not isinstance(request, Note):
                claim.outcome = self._refused(request.source, "another connection has opened this source since")
        elif isinstance(request, Note):
            self._losses.append(LossRow(request.source, request.start, request.end, request.reason))
        else:
            return self._move(claim, request)
        return False

    def place(self, claim: Claim, placement: Placement) -> None:
        """Note where the batch of a claim has been written; in the order of the claims."""
        batch = claim.request
        assert isinstance(batch, BatchRequest)
        row = self.rows[batch.source]
        size = len(batch.payload)
        extent = ExtentRow(batch.start, batch.end, batch.lines, batch.crc32, *placement, size)
        if row.last and not batch.split and _lies_back_to_back(row.last, extent):
            extent = _joined(row.last, extent, batch.payload)
        self._extents[batch.source, extent.start] = extent
        self.rows[batch.source] = replace(row, last=extent)

    def save(self, ledger: Ledger) -> None:
        """Enter everything, within a transaction."""
        ledger.add_sources((self.rows[source], client) for source, client in self._new.items())
        ledger.set_sources(self.rows[source] for source in self._moved - self._new.keys())
        ledger.set_extents((source, extent) for (source, _), extent in self._extents.items())
        for loss in self._losses:
            ledger.add_loss(loss)

    def _open(self, claim: Claim, request: Open) -> Position:
        row = self._row(request.source)
        if row is None:
            row = SourceRow(request.source, claim.host, request.path)
            self._new[request.source] = claim.client
        elif row.committed > request.known:
            self.repeats += 1
            logger.info(
                "%s of %s: bytes %d to %d would be a repeat, not stored again",
                *(row.path, row.host, request.known, row.committed),
            )
        self.rows[request.source] = row
        self.owners[request.source] = claim.owner
        return _position(row, is_answer_to_open=True)

    def _leave(self, claim: Claim, sources: Iterable[str]) -> None:
        for source in sources:
            if self._is_owner(claim, source):
                self.owners[source] = None

    def _move(self, claim: Claim, request: BatchRequest | Skip) -> bool:
        row = self._row(request.source)
        assert row  # it has an owner
        is_stored = False
        if request.end <= row.committed:
            self.repeats += isinstance(request, BatchRequest)
        elif request.start != row.committed:
            claim.outcome = self._refused(request.source, f"it is stored up to {row.committed}, not {request.start}")
            return False
        elif isinstance(request, Skip):
            self._losses.append(LossRow(request.source, request.start, request.end, request.reason))
            row = replace(row, committed=request.end)
            self._moved.add(row.id)
        elif request.refusal:
            claim.outcome = BatchRefused(row.id, row.committed, request.refusal, is_final=True)
            return False
        else:
            crc32 = checksum.extended(row.crc32, request.payload, request.crc32)
            row = replace(row, committed=request.end, lines=row.lines + request.lines, crc32=crc32)
            self._moved.add(row.id)
            is_stored = bool(request.payload)
            claim.stream = source_stream(row.host, row.path)
        self.rows[row.id] = row
        claim.outcome = _position(row, is_answer_to_open=False)
        return is_stored

    def _row(self, source: str) -> SourceRow | None:
        return self.rows.get(source) or self._sources.rows.get(source) or self._sources.ledger.source(source)

    def _is_owner(self, claim: Claim, source: str) -> bool:
        owner = self.owners[source] if source in self.owners else self._sources.owners.get(source)
        return owner == claim.owner

    def _refused(self, source: str, reason: str) -> BatchRefused:
        row = self._row(source)
        return BatchRefused(source, row.committed if row else 0, reason, is_final=False)


def _position(row: SourceRow, *, is_answer_to_open: bool) -> Position:
    return Position(row.id, row.committed, row.lines, row.crc32, is_answer_to_open)


def _lies_back_to_back(last: ExtentRow, new: ExtentRow) -> bool:
    return (
        last.bytes < EXTENT_BYTES
        and (last.segment, last.position + last.bytes) == (new.segment, new.position)
        and last.end == new.start
    )


def _joined(last: ExtentRow, new: ExtentRow, payload: bytes) -> ExtentRow:
    return replace(
        last,
        end=new.end,
        lines=last.lines + new.lines,
        bytes=last.bytes + new.bytes,
        crc32=checksum.extended(last.crc32, payload, new.crc32),
    )
