"""Which store holds which bytes of a source, for a client with several servers that each keep a store of their own.

Every byte that was acked belongs to the store that acked it first: the parts. A store that takes a source over begins,
or goes on, at the first byte that no other store has, and counts the lines that it has itself (docs/protocol.md, rule
E41). Pure values; must never decide which stores can be relied on: the caller names them.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

# A source remembers at most this many parts. It forgets who has the oldest ones, so that they count as nobody's.
_MAX_PARTS: Final = 64

_NOBODY: Final = ""


class Part(NamedTuple):
    """The bytes of a source from the end of the part before up to `end` were acked by `store` first."""

    end: int
    store: str


class Held(NamedTuple):
    """How far a store has a source, and how it counts: `lines` lines whose NDJSON has this CRC-32.

    What is before `committed` and lies in another store adds no lines.
    """

    store: str
    committed: int
    lines: int
    crc32: int


class Holdings(NamedTuple):
    """What the stores have of one source, without the bytes that the present store has acked since it took over."""

    parts: tuple[Part, ...] = ()
    held: tuple[Held, ...] = ()  # by all stores but the present one

    @property
    def end(self) -> int:
        """Where the last part ends."""
        return self.parts[-1].end if self.parts else 0

    def of(self, store: str) -> Held | None:
        """Return what another store than the present one has."""
        return next((held for held in self.held if held.store == store), None)

    def taken_over(self, present: Held, store: str) -> "Holdings":
        """Return the holdings once `store` is the present store; `present` is what the one before it has."""
        held = [each for each in self.held if each.store not in (store, present.store)]
        if present.committed:
            held.append(present)
        parts = self.parts if present.committed <= self.end else (*self.parts, Part(present.committed, present.store))
        return Holdings(_joined(parts), tuple(held))

    def sent_again(self, offset: int, store: str, others: Collection[str]) -> "Holdings":
        """Return the holdings when `store` gets from `offset` on whatever is not in one of the `others`."""
        parts: list[Part] = []
        for part in self.parts:
            start = parts[-1].end if parts else 0
            there = self._end_of(part) if part.store in others else 0
            stays = min(part.end, max(offset, there))
            if start < stays:
                parts.append(Part(stays, part.store))
            if stays < part.end:
                parts.append(Part(part.end, store))
        return Holdings(_joined(parts), self.held)

    def _end_of(self, part: Part) -> int:
        """Return where what the store of a part still has of it ends; it may have been set back."""
        held = self.of(part.store)
        return min(part.end, held.committed) if held else 0

    def counted_by(self, store: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield what of a range `store` has in its count of lines, as far as is known: all but what others acked first.

        That another store has lost what it had changes nothing. The oldest parts of a source that has moved very often
        are nobody's, and count as acked by others. If they were this store's, its count differs from what the client
        expects, and the content of the file decides: lines may be repeated, and none is left out.
        """
        for part in self.parts:
            last = min(part.end, end)
            if start < last:
                if part.store == store:
                    yield start, last
                start = last
        if start < end:
            yield start, end

    def next_needed(self, offset: int, store: str, others: Collection[str]) -> int:
        """Return the first offset from `offset` on that none of the `others` has, so that `store` needs it."""
        for _, end, _ in self.elsewhere(offset, store, others):
            offset = end
        return offset

    def all_elsewhere(self, store: str, others: Collection[str]) -> Iterator[tuple[int, int]]:
        """Yield all ranges that the `others` have: start, end."""
        start = 0
        for part in self.parts:
            end = self._end_of(part)
            if part.store != store and part.store in others and start < end:
                yield start, end
            start = part.end

    def elsewhere(self, offset: int, store: str, others: Collection[str]) -> Iterator[tuple[int, int, str]]:
        """Yield the ranges that follow each other from `offset` on and that other stores have: start, end, store."""
        for part in self.parts:
            if part.end <= offset:
                continue
            end = self._end_of(part)
            if part.store == store or part.store not in others or end <= offset:
                return
            yield offset, end, part.store
            offset = end
            if end < part.end:
                return


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Join neighbours of the same store, and forget who has the oldest parts if there are too many."""
    joined: list[Part] = []
    for part in parts:
        if joined and joined[-1].store == part.store:
            joined[-1] = part
        else:
            joined.append(part)
    if (forgotten := len(joined) - _MAX_PARTS + 1) > 1:
        joined[:forgotten] = [joined[forgotten - 1]._replace(store=_NOBODY)]
    return tuple(joined)
