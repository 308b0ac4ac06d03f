"""Taking over: what a store gets of a source when other servers' stores have acked parts (docs/protocol.md, rule E41).

Owns which ranges of a source a store needs and which it skips, and the batches that skip them. Must never decide
whether a position is believed: resume.py does.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from logferry.client.delivery.output import SourceAt
from logferry.client.delivery.positions.unwanted import not_wanted_until
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.messages.elsewhere import stored_elsewhere


class Stores(NamedTuple):
    """The store of a connection, and what this client can rely on beside it.

    `servers` are all servers of the client ("host:port"); `others` are the ids of the stores that the others have, as
    far as is known. `store` is "" for a server that does not state it.
    """

    store: str = ""
    servers: Collection[str] = ()
    others: Collection[str] = frozenset()

    def concern(self, source: Source, position: SourceAt) -> bool:
        """Whether the position of one store does not say everything about a source, because others have parts."""
        if source.holdings.parts:
            return True
        is_the_same = (position.committed, position.crc32) == (source.committed, source.crc32)  # under another id
        return bool(self.others and source.committed) and source.store != self.store and not is_the_same

    def next_needed(self, source: Source, offset: int) -> int:
        """Return the first offset from `offset` on that the store needs: no other store has it."""
        return source.holdings_beside(self.store).next_needed(offset, self.store, self.others)

    def next_elsewhere(self, source: Source, offset: int) -> int:
        """Return where, behind `offset`, the next range begins that another store has; 0 if there is none."""
        return next((start for start, _ in self._all_elsewhere(source) if start > offset), 0)

    def lacking(self, source: Source, offset: int) -> int:
        """Return how many bytes from `offset` on were acked and are in no other store."""
        end = source.acked_until
        there = sum(max(0, last - max(first, offset)) for first, last in self._all_elsewhere(source))
        return end - offset - there

    def _all_elsewhere(self, source: Source) -> Iterator[tuple[int, int]]:
        return source.holdings_beside(self.store).all_elsewhere(self.store, self.others)

    def is_as_known(self, source: Source, position: SourceAt) -> bool:
        """Whether a position claims no byte but what the store is known to have, and what other stores have."""
        known = source.known_of(self.store)
        if position.committed == known.committed:
            return position.crc32 == known.crc32
        claimed = min(position.committed, source.acked_until)
        return self.next_needed(source, max(known.committed, not_wanted_until(source, self.servers))) >= claimed

    def can_rely_on_others(self, source: Source, start: int, end: int) -> bool:
        """Whether the stores of this client's other servers have acked all of a range."""
        return start < end <= self.next_needed(source, start)

    def has_elsewhere(self, source: Source, start: int, end: int) -> bool:
        """Whether other stores acked all of a range first, as far as this client remembers; they may have lost it."""
        return not any(self.counted(source, start, end))

    def counted(self, source: Source, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield what of a range is in the count of the store, so that its CRC-32 is in that of a position."""
        return source.holdings.counted_by(self.store, start, end)

    def begin_at(self, source: Source, position: SourceAt) -> int:
        """Bring a source to what the store has of it, and return the offset from which it needs more.

        `committed` never goes back only because a store has begun late.
        """
        end, committed = source.acked_until, position.committed
        unwanted = not_wanted_until(source, self.servers)
        start = self.next_needed(source, max(committed, unwanted))
        if start < end:
            self.send_again(source, start)
        reached = max(committed, end) if start >= end else start
        if source.committed != reached:
            source.go_to(reached, position.lines, position.crc32)
        source.lines, source.crc32 = position.lines, position.crc32
        return start

    def send_again(self, source: Source, start: int) -> None:
        """Note that the store gets from `start` on whatever others do not have."""
        end = source.acked_until
        source.holdings = source.holdings.sent_again(start, self.store, self.others)
        source.read_until = max(source.read_until, end)
        source.elsewhere = tuple(self._all_elsewhere(source))

    def skips(self, source: Source, start: int, end: int) -> Iterator[Batch]:
        """Yield the batches that take the store past what it is not to get, in order."""
        unwanted = min(end, not_wanted_until(source, self.servers))
        if start < unwanted:
            is_plain = source.plain_until == not_wanted_until(source, self.servers)
            yield _skip(
                source, start, unwanted, "shipped by the plain protocol before" if is_plain else "not asked for"
            )
            start = unwanted
        for first, last, store in source.holdings.elsewhere(start, self.store, self.others):
            yield _skip(source, first, last, stored_elsewhere(store))


def _skip(source: Source, start: int, end: int, reason: str) -> Batch:
    return Batch(source, start, end, epoch=source.epoch, lost=reason, is_skipped=True)
