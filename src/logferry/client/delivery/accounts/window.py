"""The window: batches that were taken and are not acked yet, oldest first. A new connection resends them.

It owns which batches are done, and the order in which checkpoints may move past them. It never sends, and knows neither
connections nor answers.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

from logferry import checksum
from logferry.model.batch import Batch
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source

# Memory that a batch takes besides its payload: a batch of blank or filtered lines has no payload, but is not free.
_BATCH_BYTES: Final = 512


class Window:
    """Unacked batches, bounded in bytes: in the order in which they were read, and by source.

    A batch leaves the window when it and all earlier batches of its source are done; other sources do not hold it back.
    `take_done` then returns it. No operation takes longer because there are many sources.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._batches: OrderedDict[Batch, None] = OrderedDict()  # a set that keeps its order
        self._by_source: dict[str, deque[Batch]] = {}  # the same batches; no queue is empty
        self._done: deque[Batch] = deque()
        self._bytes = 0
        self.discarded_lines = 0  # that will be read again

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be added. That batch may exceed the bound, so an empty window accepts any batch."""
        return self._bytes < self._max_bytes

    def unfinished(self) -> list[Batch]:
        """Return the batches that are still to be delivered, in order."""
        return [batch for batch in self._batches if not batch.is_done]

    @property
    def unacked_lines(self) -> int:
        """The number of lines that are not acked, whether sent or not."""
        return sum(batch.lines - batch.acked for batch in self._batches)

    def has_only_windows(self) -> bool:
        """Whether all batches only report unknown windows, which the next run reports if this one cannot."""
        return all(batch.unknown for batch in self._batches)

    def add(self, batch: Batch) -> None:
        """Add a batch after all others."""
        self._batches[batch] = None
        self._by_source.setdefault(batch.source.id, deque()).append(batch)
        self._bytes += len(batch.payload) + _BATCH_BYTES

    def add_first(self, batch: Batch) -> None:
        """Add a batch before all others."""
        self._batches[batch] = None
        self._batches.move_to_end(batch, last=False)
        self._by_source.setdefault(batch.source.id, deque()).appendleft(batch)
        self._bytes += len(batch.payload) + _BATCH_BYTES

    def source(self, source_id: str) -> Source | None:
        """Return the source with that id, if the window has batches of it."""
        queue = self._by_source.get(source_id)
        return queue[0].source if queue else None

    def of_source(self, source: Source) -> list[Batch]:
        """Return the batches of a source that are not done, in order."""
        return [batch for batch in self._by_source.get(source.id, ()) if not batch.is_done]

    def oldest_of(self, source_id: str) -> Batch | None:
        """Return the first batch of a source that is not done, if there is one."""
        return next((batch for batch in self._by_source.get(source_id, ()) if not batch.is_done), None)

    def answered(self, batch: Batch, lines: int) -> None:
        """Note that the next `lines` lines of a batch need no further delivery."""
        batch.acked = min(batch.lines, batch.acked + lines)
        if batch.acked == batch.lines:
            self.finish(batch)

    def finish(self, batch: Batch) -> None:
        """Mark a batch as done: it needs no further answer."""
        batch.is_done = True
        self._release(batch.source.id)

    def crc32_up_to(self, source: Source, offset: int) -> int | None:
        """Return the CRC-32 of a source at `offset`; None if a batch between its checkpoint and there is missing."""
        position, crc32 = source.committed, source.crc32
        for batch in self._by_source.get(source.id, ()):
            if batch.start == position and batch.end <= offset:
                position, crc32 = batch.end, checksum.extended(crc32, batch.payload, batch.crc32)
        return crc32 if position == offset else None

    def mark_stored(self, source_id: str, committed: int) -> list[Batch]:
        """Mark as done what a source has before `committed`; return the batches that this completes."""
        stored = takewhile(lambda batch: batch.end <= committed, self._by_source.get(source_id, ()))
        done = [batch for batch in stored if not (batch.is_done or batch.unknown)]
        for batch in done:
            batch.acked = batch.lines
            batch.is_done = True
        self._release(source_id)
        return done

    def take_done(self) -> Iterator[Batch]:
        """Remove and yield the batches that have left the window, those of each source in order."""
        while self._done:
            yield self._done.popleft()

    def give_up(self, batch: Batch, reason: str) -> None:
        """Turn a batch into a batch without lines, which declares its bytes lost."""
        self._bytes -= len(batch.payload)
        batch.payload, batch.lines, batch.lost, batch.known_crc32 = b"", 0, reason, None

    def drop_source(self, source: Source) -> None:
        """Discard the batches of a source that will be read again."""
        for batch in self._by_source.pop(source.id, ()):
            self._remove(batch)
            self.discarded_lines += batch.lines - batch.acked

    def _release(self, source_id: str) -> None:
        """Remove the leading batches of a source that are done."""
        queue = self._by_source.get(source_id)
        while queue and queue[0].is_done:
            batch = queue.popleft()
            self._remove(batch)
            self._done.append(batch)
        if not queue:
            self._by_source.pop(source_id, None)

    def _remove(self, batch: Batch) -> None:
        del self._batches[batch]
        self._bytes -= len(batch.payload) + _BATCH_BYTES


def note_rendering(batch: Batch) -> bool:
    """Record in a source how a batch that is about to be sent is rendered; return whether that changed the record.

    Nothing from the start of the batch onwards is stored yet, so earlier entries from there onwards are dropped, unless
    another store has what follows.
    """
    if batch.rendering is None:
        return False
    source = batch.source
    renderings = [entry for entry in source.renderings if entry[0] < batch.start]
    if not renderings or renderings[-1][1] != batch.rendering:
        renderings.append((batch.start, batch.rendering))
    if batch.end < source.elsewhere_until:
        renderings += _renderings_from(batch.end, source.renderings, last=renderings[-1][1])
    if renderings == source.renderings:
        return False
    source.renderings = renderings
    return True


def _renderings_from(
    offset: int, renderings: Sequence[tuple[int, RenderSpec]], *, last: RenderSpec
) -> list[tuple[int, RenderSpec]]:
    """Return the part of `renderings` from an offset on, where the one before the offset is `last`."""
    before = [spec for start, spec in renderings if start <= offset]
    here = [(offset, before[-1])] if before and before[-1] != last else []
    return [*here, *(entry for entry in renderings if entry[0] > offset)]


def note_given_up(batch: Batch) -> bool:
    """Record in a source the range that a batch gives up; return whether that changed the record.

    A server that reports the loss of many lines is believed only if the checkpoint, which may lag, knows of it.
    """
    source, given_up = batch.source, (batch.start, batch.end)
    if not batch.is_given_up or source.given_up == given_up:
        return False
    source.given_up = given_up
    return True


def advance_checkpoint(batch: Batch, *, plain_server: str) -> None:
    """Move a source's checkpoint past a stored batch, unless it is already further.

    `plain_server` is the server that stored it by the plain protocol, "" for a server with the extension.
    """
    source = batch.source
    if batch.end <= source.committed:
        return
    if plain_server:
        source.plain_until = batch.end  # which a server with the extension will not know
        source.plain_server = source.server = plain_server
        source.plain_lines += batch.lines - batch.rejected
    else:
        source.lines += batch.lines
        source.crc32 = checksum.extended(source.crc32, batch.payload, batch.crc32)
    source.committed = batch.end
    source.tail = batch.tail
