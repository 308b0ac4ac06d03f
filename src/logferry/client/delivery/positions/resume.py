"""Resuming a source at the server's position, which overrides the checkpoint if the content agrees.

Owns whether a position is believed: a server that lies, and a third party that has written to a source, must not make
the client skip a byte. docs/protocol.md, rules E10, E17, E18 and E33.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from logferry.client.delivery.accounts.window import Window
from logferry.client.delivery.batches.batches import BatchProducer, Claim, Gap, RenderedRange
from logferry.client.delivery.output import SourceAt
from logferry.client.delivery.positions.takeover import Stores
from logferry.client.delivery.positions.unwanted import not_wanted_until
from logferry.client.net.waiting.readiness import Wait
from logferry.errors import DeliveryError, ProtocolError
from logferry.model.batch import Batch
from logferry.model.source import Acked, Source
from logferry.printable import SHOWN_REASON_CHARS, printable
from logferry.protocol.messages.reports import Extent, RecordedLoss

logger = logging.getLogger(__name__)


class StartOver(DeliveryError):
    """Nothing has failed, but delivery can only continue on a new connection."""


class StoredRanges(NamedTuple):
    """What a server holds of a source, in order: pieces that are stored, and ranges that are recorded as lost."""

    extents: Sequence[Extent]
    losses: Sequence[RecordedLoss]


class StoredExtents(Protocol):
    """Asks the server which ranges of a source it holds, or has recorded as lost."""

    def __call__(self, source_id: str, *, wait: Wait) -> StoredRanges:
        """Return the ranges. Raises DeliveryError."""


class SourceResumption:
    """Brings a source, the window and the producer to the server's position."""

    def __init__(
        self,
        producer: BatchProducer,
        window: Window,
        *,
        mark_stored: Callable[[str, int], None],
        note_passed: Callable[[Source, RecordedLoss], None],
        stored_extents: StoredExtents,
        wait: Wait,
        notice: Callable[[], object],
    ) -> None:
        """`mark_stored` counts the batches before an offset as stored, and moves the checkpoint past them;
        `note_passed` reports a line that an earlier run has passed, because the server refused it. While a file is
        rendered again, which may take minutes, `notice` does what is due, and may raise to end that.
        """
        self._producer = producer
        self._window = window
        self._mark_stored = mark_stored
        self._note_passed = note_passed
        self._stored_extents = stored_extents
        self._wait = wait
        self._notice = notice

    def resume(self, source: Source, position: SourceAt, stores: Stores) -> None:
        """Resume a source at the position of the first of `stores`, if the content agrees. Raises DeliveryError.

        Unless the server has exactly what the checkpoint says, this may read and render the file and query the server,
        in the engine's thread.
        """
        committed = position.committed
        batches = self._window.of_source(source)
        if batches and all(batch.unknown for batch in batches):
            for batch in batches:  # its file is gone: the server knows best how far it is stored
                batch.start = batch.end = committed
            return
        wanted_from = not_wanted_until(source, stores.servers)
        are_several = stores.concern(source, position)
        if are_several and source.store != stores.store:
            source.set_back = source.move_to(stores.store)
        passed = self._passed_if_believed(source, position, wanted_from, stores) if committed > wanted_from else []
        source.set_back = None
        if passed is None:
            logger.error(
                "%s is not the file that the server knows as %s; shipping it as a new source",
                *(printable(source.path), source.id),
            )
            self._read_again(source, None)
            return
        if are_several:
            self._go_on_among(source, position, passed, stores)
            return
        if passed:
            self._pass(source, position, passed)
            return
        self._mark_stored(source.id, committed)
        waiting = self._window.oldest_of(source.id)
        if committed >= wanted_from or (waiting is not None and waiting.start == committed):
            self._go_to(source, position)
        else:
            self._skip_to(source, wanted_from, position)

    def start_anew(self, source: Source, reason: str) -> None:
        """Ship a file as a new source, because the server takes nothing of this one for `reason`.

        Raises ProtocolError if the server cannot know the source: whatever it is, it would refuse the next one, too.
        """
        batches = self._window.of_source(source)
        if batches and all(batch.unknown for batch in batches):
            self._window.drop_source(source)  # its file is gone; the client's own record of the window stays
            return
        shown = printable(reason, max_chars=SHOWN_REASON_CHARS)
        message = "%s: the server refuses to continue it (%s); shipping it as a new source"
        logger.error(message, printable(source.path), shown)
        self._read_again(source, None)
        was_acked = source.acked_until or (source.set_back and source.set_back.committed)
        if not was_acked:
            raise ProtocolError(f"the server refuses a source that is new: {shown}")

    def _passed_if_believed(
        self, source: Source, position: SourceAt, wanted_from: int, stores: Stores
    ) -> Sequence[RecordedLoss] | None:
        """Return which lines the server has recorded as lost instead of stored, if what it has of a source is what
        this client sent, or would send; None if it is not.

        Lines that an earlier run passed change the CRC-32, so on a mismatch the server's extents decide.
        """
        known = source.set_back or Acked(source.committed, source.crc32, source.renderings)
        between_them = sorted((position.committed, known.committed))
        if position.crc32 == known.crc32 and stores.has_elsewhere(source, *between_them):
            return ()
        if self._agrees(source, position, known, max(known.committed, wanted_from), stores):
            return ()
        start = max(known.committed, wanted_from) if position.committed > known.committed else wanted_from
        stored = self._stored_extents(source.id, wait=self._wait)
        extents = [each for each in stored.extents if each.end >= start and each.end <= position.committed]
        passed, gaps = between(start, position.committed, extents, stored.losses)
        passed = [loss for loss in passed if not stores.has_elsewhere(source, loss.start, loss.end)]
        doubtful = [loss for loss in passed if not source.has_given_up(loss.start, loss.end)]
        if not (extents or doubtful or gaps):
            return passed
        is_held = self._producer.holds(Claim(source, extents, doubtful, gaps), between=self._notice)
        return passed if is_held or self._is_elsewhere_alone(source, known, position, stores) else None

    def _is_elsewhere_alone(self, source: Source, known: Acked, position: SourceAt, stores: Stores) -> bool:
        """Whether a position costs nothing that nobody can compare with it: other stores have acked all of that range,
        and it cannot be read again, as with standard input.
        """
        span = known.committed, position.committed
        if not stores.can_rely_on_others(source, *span):
            return False
        return self._producer.crc32_behind(RenderedRange(source, *span, 0, known.renderings)) is None

    def _agrees(self, source: Source, position: SourceAt, known: Acked, end_of_known: int, stores: Stores) -> bool:
        """Whether the CRC-32 at the server's position goes with the one that is known, by the content in between."""
        committed = position.committed
        if committed == known.committed:
            return position.crc32 == known.crc32
        if committed < known.committed:  # a file that is gone proves nothing; what the server lacks of it is lost
            acked = RenderedRange(source, committed, known.committed, position.crc32, known.renderings)
            return self._crc32_behind(acked, stores) in (None, known.crc32)
        crc32 = self._window.crc32_up_to(source, committed) if source.set_back is None else None
        if crc32 is None:
            later = RenderedRange(source, end_of_known, committed, known.crc32, known.renderings)
            crc32 = self._crc32_behind(later, stores)
        return crc32 == position.crc32

    def _crc32_behind(self, wanted: RenderedRange, stores: Stores) -> int | None:
        """Return the CRC-32 behind a range. A store counts only what other stores have not acked first."""
        crc32: int | None = wanted.crc32
        for start, end in stores.counted(wanted.source, wanted.start, wanted.end):
            if crc32 is not None:
                piece = wanted._replace(start=start, end=end, crc32=crc32)
                crc32 = self._producer.crc32_behind(piece, between=self._notice)
        return crc32

    def _pass(self, source: Source, position: SourceAt, passed: Sequence[RecordedLoss]) -> None:
        """Go on behind lines that are not stored, and report each of them: the run that passed them was cut off."""
        for loss in passed:
            self._note_passed(source, loss)
        source.go_to(position.committed, position.lines, position.crc32)
        self._read_again(source, position.committed)

    def _go_on_among(self, source: Source, position: SourceAt, passed: Sequence[RecordedLoss], stores: Stores) -> None:
        """Go on behind what the store has, and past what other stores have."""
        for loss in passed:
            self._note_passed(source, loss)
        self._mark_stored(source.id, position.committed)
        start = stores.begin_at(source, position)
        waiting = self._window.oldest_of(source.id)
        if waiting is not None and (waiting.start != start or self._has_unneeded(source, start, stores)):
            self._read_again(source, start)
        for skipped in reversed(list(stores.skips(source, position.committed, start))):
            self._window.add_first(skipped)
        if start != position.committed:
            logger.info("%s: other servers have bytes %d to %d", printable(source.path), position.committed, start)

    def _has_unneeded(self, source: Source, start: int, stores: Stores) -> bool:
        """Whether the batches of a source from `start` on have bytes that other stores have, or skip what an earlier
        store was not to get.
        """
        batches = self._window.of_source(source)
        skip = any(batch.is_skipped for batch in batches)
        return skip or 0 < stores.next_elsewhere(source, start) < batches[-1].end

    def _go_to(self, source: Source, position: SourceAt) -> None:
        waiting = self._window.oldest_of(source.id)
        committed = position.committed
        if committed < source.committed:  # what is no longer stored may be rendered in another way now
            source.renderings = [entry for entry in source.renderings if entry[0] < committed]
        _take_over(source, position)
        if waiting is not None and waiting.start != committed:
            logger.info("%s: the server has the file up to byte %d; resuming there", source.path, committed)
            self._read_again(source, committed)

    def _skip_to(self, source: Source, wanted_from: int, position: SourceAt) -> None:
        """Skip what the server is not to get, and go on behind it."""
        waiting = self._window.oldest_of(source.id)
        _take_over(source, position)
        if waiting is not None and waiting.start != wanted_from:
            self._read_again(source, wanted_from)
        reason = "shipped by the plain protocol before" if source.plain_until == wanted_from else "not asked for"
        skipped = Batch(source, position.committed, wanted_from, epoch=source.epoch, lost=reason, is_skipped=True)
        self._window.add_first(skipped)

    def _read_again(self, source: Source, offset: int | None) -> None:
        read_again(source, offset, window=self._window, producer=self._producer)


def between(
    start: int, end: int, extents: Sequence[Extent], losses: Sequence[RecordedLoss]
) -> tuple[list[RecordedLoss], list[Gap]]:
    """Return what of `[start, end)` is not in an extent: the parts of losses, and the gaps, which nothing covers.

    A gap alone does not show a lie: a batch without lines moves the position, and leaves neither an extent nor a loss.
    """
    passed: list[RecordedLoss] = []
    gaps: list[Gap] = []
    left = deque(sorted(losses))
    for first, last in [*sorted((each.start, each.end) for each in extents), (end, end)]:
        while start < first and left and left[0].start < first:
            loss = left[0]
            if start < loss.start:
                gaps.append((start, loss.start))
                start = loss.start
            if start < loss.end:
                passed.append(RecordedLoss(start, min(loss.end, first), loss.reason))
                start = passed[-1].end
            if loss.end <= first:
                left.popleft()
        if start < first:
            gaps.append((start, first))
        start = max(start, last)
    return passed, gaps


def _take_over(source: Source, position: SourceAt) -> None:
    """Take over the server's position, and how it counts what it has."""
    if source.committed != position.committed:
        source.go_to(position.committed, position.lines, position.crc32)
    source.lines, source.crc32 = position.lines, position.crc32


def read_again(
    source: Source, offset: int | None, *, window: Window, producer: BatchProducer, one_by_one_until: int = 0
) -> None:
    """Read a source again from `offset` (None makes the file a new source) and discard what was read of it."""
    source.epoch = source.epoch + 1 if offset is not None else -1
    window.drop_source(source)
    producer.send_back(source, offset, one_by_one_until=one_by_one_until)
