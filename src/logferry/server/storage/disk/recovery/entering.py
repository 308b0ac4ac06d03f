"""Enters what journals say into a ledger: segments, extents, and how far each source is stored.

Owns the rule how far that is. A source counts as stored up to the first gap in what its extents and losses cover: what
lies behind a gap may have been lost with the gap, so its client sends it again. Nothing is entered that contradicts
what the ledger has already. Must be used within a transaction; never reads or writes a file of the store.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from logferry import checksum
from logferry.server.storage.disk.journals.journal import Journal, State
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.named_sources import NamedSources
from logferry.server.storage.loss_limits import LossLimits
from logferry.server.storage.records import ExtentRow, SegmentRow, SourceRow

_PAGE: Final = 500  # extents that are read together
_MAX_LOSSES: Final = 100_000  # of a source


class Gap(NamedTuple):
    """What journals lack of a source: what it has from `end` on is in segments, but counts as not stored."""

    path: str
    start: int
    end: int


class _Piece(NamedTuple):
    start: int
    end: int
    extent: ExtentRow | None  # None: a loss


class Entering:
    """What is entered together. Add the pieces of each journal in order, then `finish`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._named = NamedSources()
        self.sources = 0  # how many the journals have; known once it is finished

    def add(self, segment: SegmentRow, journal: Journal) -> None:
        """Enter a piece of what the journal of a segment says; the segment itself is recorded already."""
        self._named.add(journal)
        self._ledger.set_extents(
            (source, replace(extent, segment=segment.id)) for (source, _), extent in journal.extents.items()
        )
        limits = LossLimits(self._ledger)
        for loss in journal.losses:
            limits.add_loss(loss)
        for window in journal.windows:
            limits.add_window(window)
        limits.finish()

    def finish(self) -> Iterator[Gap]:
        """Enter how far each source is stored; yield what is missing in between."""
        self.sources = len(self._named)
        yield from self._settle_all()
        self._named.close()

    def _settle_all(self) -> Iterator[Gap]:
        for source, origin in self._named.origins():
            known = self._ledger.source(source)
            new = SourceRow(source, origin.host, origin.path, owner=origin.client)
            row, gap = self._settled(known or new, is_known=known is not None)
            if known:
                self._ledger.set_sources([row])
            else:
                self._ledger.add_sources([row])
            if self._ledger.drop_extents_after(source, row.committed) or gap:
                yield gap or Gap(row.path, row.committed, row.committed)

    def _settled(self, row: SourceRow, *, is_known: bool) -> tuple[SourceRow, Gap | None]:
        pieces = list(self._pieces(row.id))
        covered = row.committed if is_known else (pieces[0].start if pieces else 0)
        gap = None
        for piece in pieces:
            if piece.start > covered:
                gap = Gap(row.path, covered, piece.start)
                break
            covered = max(covered, piece.end)
        begun = (
            State(row.committed, row.lines, row.crc32) if is_known else State(pieces[0].start if pieces else 0, 0, 0)
        )
        states = [state for state in self._named.last_states(row.id) if begun.committed <= state.committed <= covered]
        best = max([begun, *states], key=lambda state: state.committed)
        committed, lines, crc32 = _continued(best, pieces)
        return replace(row, committed=committed, lines=lines, crc32=crc32), gap

    def _pieces(self, source: str) -> Iterator[_Piece]:
        """Yield what the ledger has of a source, in order."""
        losses = [_Piece(loss.start, loss.end, None) for loss in self._ledger.losses(source, limit=_MAX_LOSSES)]
        losses.reverse()
        after = 0
        while page := self._ledger.extents(source, after=after, limit=_PAGE):
            for extent in page:
                while losses and losses[-1].start < extent.start:
                    yield losses.pop()
                yield _Piece(extent.start, extent.end, extent)
            after = page[-1].start + 1
        yield from reversed(losses)


def _continued(state: State, pieces: list[_Piece]) -> State:
    """Return the state after the pieces that follow it without a gap."""
    committed, lines, crc32 = state
    for piece in pieces:
        if piece.start > committed:
            break
        if piece.start < committed or piece.end <= committed:
            continue
        if piece.extent:
            lines += piece.extent.lines
            crc32 = checksum.joined(crc32, piece.extent.crc32, piece.extent.bytes)
        committed = piece.end
    return State(committed, lines, crc32)
