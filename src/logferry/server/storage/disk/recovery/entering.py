"""Enters what journals say into a ledger: segments, extents, and how far each source is stored.

Owns the rule how far that is. A source counts as stored up to the first gap in what its extents and losses cover: what
lies behind a gap may have been lost with the gap, so its client sends it again. A row of several losses hides no gap:
it counts only if the lines of the extents add up. What a client has stored again behind a gap may be in two segments:
of extents that overlap, the ledger gets the first. Must be used within a transaction; never reads or writes a file of
the store, nor keeps all extents of a source in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from logferry import checksum
from logferry.server.storage.disk.journals.journal import Journal, State
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.named_sources import NamedSources
from logferry.server.storage.loss_limits import REASON as JOINED
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
    is_joined: bool = False  # a row of several losses: what lies between them is not lost


class _Covered(NamedTuple):
    """How far a source is covered: for certain, by rows of several losses; where the next piece behind a gap begins."""

    covered: int
    joined_until: int
    next: int = 0


class Entering:
    """What is entered together. Add the pieces of each journal in order, then `finish`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._named = NamedSources()
        self.sources = 0  # how many the journals have; known once it is finished
        self.repeated_lines = 0  # of extents that others cover; known once it is finished

    def add(self, segment: SegmentRow, journal: Journal) -> None:
        """Enter a piece of what the journal of a segment says; the segment itself is recorded already."""
        self._named.add(journal)
        self._ledger.set_extents(
            (source, extent._replace(segment=segment.id)) for (source, _), extent in journal.extents.items()
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
            self._drop_covered(source)
            new = SourceRow(source, origin.host, origin.path, owner=origin.client)
            row, gap = self._settled(known or new, is_known=known is not None)
            if known:
                self._ledger.set_sources([row])
            else:
                self._ledger.add_sources([row])
            if self._ledger.drop_extents_after(source, row.committed) or gap:
                yield gap or Gap(row.path, row.committed, row.committed)

    def _drop_covered(self, source: str) -> None:
        """Forget the extents of a source that begin before the end of another one: readers go from one to the next."""
        after = end = 0
        page: Sequence[ExtentRow] | None = None
        while page is None or len(page) == _PAGE:
            page = self._ledger.extents(source, after=after, limit=_PAGE)
            covered: list[ExtentRow] = []
            for extent in page:
                after = extent.start + 1
                if extent.start < end:
                    covered.append(extent)
                else:
                    end = extent.end
            self._ledger.drop_extents((source, extent.start) for extent in covered)
            self.repeated_lines += sum(extent.lines for extent in covered)

    def _settled(self, row: SourceRow, *, is_known: bool) -> tuple[SourceRow, Gap | None]:
        begun = State(row.committed, row.lines, row.crc32) if is_known else self._first_state(row.id)
        states = [begun, *(each for each in self._named.last_states(row.id) if each.committed >= begun.committed)]
        found = self._covered(row.id, begun.committed)
        best = _last_of(states, until=found.covered)
        last = _last_of(states, until=found.joined_until)
        if last != best and self._counts_all(row.id, best, last):
            best, found = last, self._covered(row.id, last.committed)
        committed, lines, crc32 = _continued(best, self._pieces(row.id))
        gap = Gap(row.path, found.covered, found.next) if found.next else None
        return row._replace(committed=committed, lines=lines, crc32=crc32), gap

    def _first_state(self, source: str) -> State:
        first = next(self._pieces(source), None)
        return State(first.start if first else 0, 0, 0)

    def _covered(self, source: str, covered: int) -> "_Covered":
        """Return how far the extents and losses of a source go on from an offset without a gap.

        A row of several losses covers nothing: what lies between them may be missing.
        """
        joined_until = covered
        for piece in self._pieces(source):
            if piece.start > covered:
                return _Covered(covered, max(covered, joined_until), piece.start)
            if piece.is_joined:
                joined_until = max(joined_until, piece.end)
            else:
                covered = max(covered, piece.end)
        return _Covered(covered, max(covered, joined_until))

    def _counts_all(self, source: str, first: State, last: State) -> bool:
        """Whether the extents between two states have all the lines that the last one counts: so nothing is missing."""
        _, lines, crc32 = first
        for piece in self._pieces(source):
            if piece.extent and first.committed <= piece.start and piece.end <= last.committed:
                lines += piece.extent.lines
                crc32 = checksum.joined(crc32, piece.extent.crc32, piece.extent.bytes)
        return (lines, crc32) == last[1:]

    def _pieces(self, source: str) -> Iterator[_Piece]:
        """Yield what the ledger has of a source, in order."""
        losses = [
            _Piece(loss.start, loss.end, None, loss.reason == JOINED)
            for loss in self._ledger.losses(source, limit=_MAX_LOSSES)
        ]
        losses.reverse()
        after, page = 0, None
        while page is None or len(page) == _PAGE:
            page = self._ledger.extents(source, after=after, limit=_PAGE)
            for extent in page:
                while losses and losses[-1].start < extent.start:
                    yield losses.pop()
                yield _Piece(extent.start, extent.end, extent)
                after = extent.start + 1
        yield from reversed(losses)


def _last_of(states: Iterable[State], *, until: int) -> State:
    return max((state for state in states if state.committed <= until), key=lambda state: state.committed)


def _continued(state: State, pieces: Iterable[_Piece]) -> State:
    """Return the state after the pieces that follow it without a gap."""
    committed, lines, crc32 = state
    for piece in pieces:
        if piece.start > committed:
            break
        if piece.start < committed or piece.end <= committed or piece.is_joined:
            continue
        if piece.extent:
            lines += piece.extent.lines
            crc32 = checksum.joined(crc32, piece.extent.crc32, piece.extent.bytes)
        committed = piece.end
    return State(committed, lines, crc32)
