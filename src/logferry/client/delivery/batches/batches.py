"""Where batches come from: the seam, and the producer that reads a chunk, renders it, and counts its lines.

The producer also turns bytes that can never be read into batches without lines, in the order of the file. This module
never sends anything.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Final, NamedTuple, Protocol

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.readers.base import Reader
from logferry.client.readers.rerender import Renderings, Rerendered, do_nothing, rerender, rerender_as_stored
from logferry.client.state.known_losses import KnownLosses
from logferry.errors import SourceError
from logferry.model.batch import Batch
from logferry.model.chunk import Chunk
from logferry.model.loss import Loss, LossKind
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source
from logferry.printable import printable
from logferry.protocol.messages.reports import Extent, RecordedLoss
from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.user_patterns import patterns_left_out
from logferry.rendering.renderer import renderer
from logferry.telemetry.log_limits import RepeatLimit
from logferry.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

Gap = tuple[int, int]  # a range of a source that a server has neither stored nor recorded as lost

# Every loss is logged with its range. Only a disk that keeps failing causes more losses than this in one file for one
# reason; the log then counts the rest, and the server's ledger has the range of each.
_LOSSES_LOGGED: Final = 1000

# At most this many losses are logged for a server that has less than was acked, then their number.
_SET_BACK_LOGGED: Final = 20

# At most this many cut lines are logged for each file, then their number; the server's ledger has the range of each.
_CUT_LINES_LOGGED: Final = 10

# The first hole in each file is logged, then their number.
_HOLES_LOGGED: Final = 1

# Counting the lines of a chunk before rendering takes a twentieth of a resilient client's time. So the producer skips
# the count while batches have less than a quarter of the lines that they may have.
_SPARSE_FACTOR: Final = 4


class RenderedRange(NamedTuple):
    """The bytes `[start, end)` of a source, how they were rendered, and the CRC-32 of the NDJSON before them."""

    source: Source
    start: int
    end: int
    crc32: int
    renderings: Renderings


class Claim(NamedTuple):
    """What a server states to have of a source: extents, ranges that were passed, and gaps that neither covers."""

    source: Source
    extents: Sequence[Extent]
    passed: Sequence[RecordedLoss] = ()
    gaps: Sequence[Gap] = ()


class BatchProducer(Protocol):
    """Where the delivery engine takes its batches from. No method blocks for long, except `crc32_behind` and `holds`.

    These two call `between` after each chunk, which may raise to end them.
    """

    @property
    def is_finished(self) -> bool:
        """Whether there will never be another batch."""

    @property
    def is_busy(self) -> bool:
        """Whether the engine should call `next_batch` again soon although it returned None."""

    @property
    def wake_fds(self) -> Sequence[int]:
        """File descriptors that become readable when there may be another batch, until `tick` is called."""

    @property
    def patience_s(self) -> float:
        """For how many seconds the engine need not call `tick` while nothing wakes it (see Reader)."""

    def next_batch(self) -> Batch | None:
        """Return the next batch, or None if none is available now."""

    def tick(self) -> None:
        """Check the files; called every poll interval, and when one of `wake_fds` is readable."""

    def stop(self) -> None:
        """Stop reading; batches of what was already read may still come."""

    def send_back(self, source: Source, offset: int | None, *, one_by_one_until: int) -> None:
        """Read a source again from `offset`, in batches of one line up to `one_by_one_until`.

        With None, the file becomes a new source and is read from its beginning.
        """

    def crc32_behind(self, wanted: RenderedRange, *, between: Callable[[], object] = do_nothing) -> int | None:
        """Return the CRC-32 up to the end of a range, rendered again from the source's file.

        None if the file cannot be read, or does not reach that far.
        """

    def holds(self, claim: Claim, *, between: Callable[[], object] = do_nothing) -> bool:
        """Whether each extent of a source's file, rendered again, has the CRC-32 that the extent states, each range
        that was passed has at most one line, and each gap has none. Nothing is held without an extent.
        """


class RenderingProducer:
    """A BatchProducer that takes its batches straight from a reader."""

    def __init__(
        self,
        reader: Reader,
        *,
        metrics: Metrics,
        known_losses: KnownLosses | None = None,
        max_lines: int | None = None,
    ) -> None:
        """A batch has at most `max_lines` lines, except the first batch after lines suddenly got short."""
        self._known_losses = known_losses or KnownLosses(None)
        self._reader = reader
        self._metrics = metrics
        self._losses_log = RepeatLimit(logger, first=_LOSSES_LOGGED)
        self._set_back_log = RepeatLimit(logger, first=_SET_BACK_LOGGED)
        self._cut_lines_log = RepeatLimit(logger, first=_CUT_LINES_LOGGED)
        self._holes_log = RepeatLimit(logger, first=_HOLES_LOGGED)
        self._max_lines = max_lines
        self._lines_are_short = True  # so short that a chunk may have more lines than allowed
        self._stopped = False
        self._send_backs: deque[tuple[Source, int | None, int]] = deque()
        self._lost: deque[Batch] = deque()
        self._next: Batch | None = None
        self.error: SourceError | None = None

    @property
    def is_finished(self) -> bool:
        """See BatchProducer. A failing file system ends a producer as the end of its files does, and sets `error`."""
        is_stopped = self._stopped and not self._reader.is_draining
        if self._lost or self._next or (self._send_backs and not is_stopped):
            return False
        return is_stopped or self.error is not None or self._reader.is_finished

    @property
    def is_complete(self) -> bool:
        """Whether the producer has read everything that it should read."""
        return self._reader.is_finished and self.error is None

    @property
    def is_busy(self) -> bool:
        """See BatchProducer."""
        return self._reader.is_busy

    @property
    def wake_fds(self) -> Sequence[int]:
        """See BatchProducer."""
        return self._reader.wake_fds

    @property
    def patience_s(self) -> float:
        """See BatchProducer."""
        return self._reader.patience_s

    def next_batch(self) -> Batch | None:
        """See BatchProducer. Lost bytes become batches without lines, in the order of the file."""
        while self._send_backs:
            source, offset, one_by_one_until = self._send_backs.popleft()
            self._reader.rewind(source, offset, one_by_one_until=one_by_one_until)
            source.last_format = None
            self._note_lost()  # of a file that cannot be read again; the reader may have nothing else to read
        if not self._lost and self._next is None and not self.is_finished:
            left_out = patterns_left_out()  # before the read, which takes the lines of an event together
            chunk = self._read()
            self._note_lost()
            if chunk is not None:
                self._next = self._batch_of(chunk, left_out)
        if self._lost:
            return self._lost.popleft()
        batch, self._next = self._next, None
        return batch

    def tick(self) -> None:
        """See BatchProducer."""
        self._reader.poll()

    def stop(self) -> None:
        """See BatchProducer."""
        self._stopped = True
        self._reader.stop()

    def flush_logs(self) -> None:
        """Log the pending counts of losses, of lines that were cut and of holes, at the end of a run."""
        for limit in (self._losses_log, self._set_back_log, self._cut_lines_log, self._holes_log):
            limit.flush()

    def send_back(self, source: Source, offset: int | None, *, one_by_one_until: int) -> None:
        """See BatchProducer. The thread that reads rewinds the source before it returns the next batch."""
        self._send_backs.append((source, offset, one_by_one_until))

    def crc32_behind(self, wanted: RenderedRange, *, between: Callable[[], object] = do_nothing) -> int | None:
        """See BatchProducer. Safe in a thread other than the one that reads."""
        with self._duplicate(wanted.source) as duplicate:
            found = _rendered(duplicate, wanted, between) if duplicate else None
            return found.crc32 if found else None

    def holds(self, claim: Claim, *, between: Callable[[], object] = do_nothing) -> bool:
        """See BatchProducer. Safe in a thread other than the one that reads."""
        source, extents = claim.source, claim.extents
        with self._duplicate(source) as duplicate:
            if duplicate is None or not extents:
                return False

            def rendered(start: int, end: int, stored: tuple[int, int] | None = None) -> Rerendered | None:
                wanted = RenderedRange(source, start, end, 0, source.renderings)
                return _rendered(duplicate, wanted, between, stored)

            for extent in extents:
                found = rendered(extent.start, extent.end, (extent.lines, extent.crc32))
                if found is None or found.crc32 != extent.crc32:
                    return False
            ranges = chain(((loss.start, loss.end, 1) for loss in claim.passed), ((*gap, 0) for gap in claim.gaps))
            found_lines = ((rendered(start, end), most) for start, end, most in ranges)
            return all(found is not None and found.lines <= most for found, most in found_lines)

    @contextmanager
    def _duplicate(self, source: Source) -> Iterator[SourceFile | None]:
        """Give the source's file with a position of its own, None if it cannot be opened; log why it cannot be read."""
        duplicate = self._reader.duplicate(source)
        try:
            yield duplicate
        finally:
            if duplicate is not None:
                duplicate.close()

    def _read(self) -> Chunk | None:
        try:
            chunk = self._reader.read(max_lines=self._max_lines if self._lines_are_short else None)
        except SourceError as error:
            logger.error("%s", error)
            self.error = error
            return None
        return chunk

    def _note_lost(self) -> None:
        for lost in self._reader.take_losses():
            self._count_lost(lost)
            if lost.kind is not LossKind.OVERWRITTEN:
                batch = Batch(lost.source, lost.start, lost.end, epoch=lost.source.epoch, unknown=lost.window)
                batch.lost = "" if lost.window else lost.reason
                batch.is_skipped = lost.kind is LossKind.SKIPPED
                batch.is_given_up = lost.kind is LossKind.DROPPED
                self._lost.append(batch)

    def _count_lost(self, lost: Loss) -> None:
        if lost.kind is LossKind.SKIPPED:
            return
        if lost.kind is LossKind.UNSEEN:  # the reader has logged and recorded it
            self._metrics.add(unknown_windows=1)
            return
        self._known_losses.add_loss(lost.source.path, lost.source.id, lost.start, lost.end, lost.reason)
        # A server that was set back, or another one, may lack thousands of files; each loss has a reason of its own.
        is_one_of_many = lost.source.sent_back_because is not None
        limit = self._set_back_log if is_one_of_many else self._losses_log
        key = "set back" if is_one_of_many else (lost.source.path, lost.reason)
        limit.log(
            *(logging.ERROR, key, "%s: bytes %d to %d are lost: %s"),
            *(printable(lost.source.path), lost.start, lost.end, lost.reason),
        )
        size = lost.end - lost.start
        if lost.kind is LossKind.DROPPED:
            self._metrics.add(bytes_given_up=size)
        else:
            self._metrics.add(bytes_lost=size)

    def _batch_of(self, chunk: Chunk, left_out: frozenset[str]) -> Batch:
        if chunk.start == chunk.end:  # a question (see BatchReader)
            return Batch(chunk.source, chunk.start, chunk.end, epoch=chunk.epoch)
        rendering, rendered = _render(chunk, left_out)
        self._lines_are_short = self._max_lines is not None and rendered.lines * _SPARSE_FACTOR > self._max_lines
        if chunk.truncated and rendered.lines:
            self._cut_lines_log.log(
                *(logging.WARNING, chunk.source.path),
                "%s: the line at bytes %d to %d is %s; %d bytes of it are shipped, marked truncated",
                *(printable(chunk.source.path), chunk.start, chunk.end),
                *("incomplete" if chunk.is_incomplete else "too long", len(chunk.data)),
            )
        nuls = chunk.nuls if chunk.end > chunk.source.holes_until else 0
        chunk.source.holes_until = max(chunk.source.holes_until, chunk.end)
        if nuls:
            self._holes_log.log(
                *(logging.WARNING, chunk.source.path),
                "%s: skipped %d NUL bytes at the beginning of a line, near byte %d; a program writes at its old offset "
                "after a truncation (copytruncate is only for programs that open their logs for appending)",
                *(printable(chunk.source.path), nuls, chunk.start),
            )
        self._metrics.add(
            lines_read=rendered.lines + rendered.blank + rendered.joined + rendered.filtered,
            lines_blank=rendered.blank,
            lines_joined=rendered.joined,
            lines_filtered=rendered.filtered,
            redactions=rendered.redacted,
            lines_cut=int(chunk.truncated and not chunk.is_incomplete and bool(rendered.lines)),
            lines_incomplete=int(chunk.is_incomplete and bool(rendered.lines)),
            lines_undecodable=rendered.undecodable,
            bytes_read=chunk.end - chunk.start - chunk.nuls,
            bytes_nul=nuls,
        )
        return Batch(
            chunk.source,
            chunk.start,
            chunk.end,
            rendered.payload,
            rendered.lines,
            chunk.tail,
            chunk.epoch,
            cut=_why_cut(chunk) if chunk.truncated else "",
            rendering=rendering,
            split=chunk.source.begins_other_format(chunk.start, rendering) or chunk.is_split,
        )


def _render(chunk: Chunk, left_out: frozenset[str]) -> tuple[RenderSpec, Rendered]:
    """Render a chunk; return also how: without the patterns that are left out, or that rendering it leaves out."""
    rendering = None
    while rendering != (wanted := chunk.rendering.without(left_out := left_out | patterns_left_out())):
        rendering = wanted
        rendered = renderer(rendering).render(chunk.data, is_start=chunk.start == 0, truncated=chunk.truncated)
    return rendering, rendered


def _rendered(
    file: SourceFile, wanted: RenderedRange, between: Callable[[], object], stored: tuple[int, int] | None = None
) -> Rerendered | None:
    """Render a range of a file; None if it cannot be read to its end, whatever a server says about it.

    Given what is stored of it (lines, CRC-32), try all rules to get that.
    """
    if wanted.start >= wanted.end or wanted.end > file.readable_end:
        return None
    renderings = wanted.renderings or [(0, file.rendering)]
    try:
        file.rewind(wanted.start)
        if stored:
            found = rerender_as_stored(file, wanted.end, renderings, stored, between=between)
        else:
            found = rerender(file, wanted.end, renderings, crc32=wanted.crc32, between=between)
    except (SourceError, OSError) as error:
        logger.error("%s", error)
        return None
    return found if file.offset == wanted.end else None


def _why_cut(chunk: Chunk) -> str:
    if chunk.is_incomplete:
        return f"incomplete: the input has only {len(chunk.data)} bytes of the line"
    return f"cut after {len(chunk.data)} bytes"
