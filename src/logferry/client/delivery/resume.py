"""Resuming a source at the server's position, which overrides the checkpoint if the content agrees.

docs/protocol.md, rules E10, E17 and E18.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from logferry.client.delivery.batches import BatchProducer
from logferry.client.delivery.output import SourceAt
from logferry.client.delivery.window import Window
from logferry.client.net.readiness import Wait
from logferry.errors import DeliveryError
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.delivery_reports import Extent

logger = logging.getLogger(__name__)


class StartOver(DeliveryError):
    """Nothing has failed, but delivery can only continue on a new connection."""


class StoredExtents(Protocol):
    """Asks the server which extents of a source it holds."""

    def __call__(self, source_id: str, *, wait: Wait) -> Sequence[Extent]:
        """Return the extents in order. Raises DeliveryError."""


class SourceResumption:
    """Brings a source, the window and the producer to the server's position."""

    def __init__(
        self,
        producer: BatchProducer,
        window: Window,
        *,
        mark_stored: Callable[[str, int], None],
        stored_extents: StoredExtents,
        wait: Wait,
    ) -> None:
        """`mark_stored` counts the batches before an offset as stored, and moves the checkpoint past them."""
        self._producer = producer
        self._window = window
        self._mark_stored = mark_stored
        self._stored_extents = stored_extents
        self._wait = wait

    def resume(self, source: Source, position: SourceAt, *, server: str) -> None:
        """Resume a source at the position of `server`. Raises DeliveryError.

        If the server has more than the checkpoint, this may read and render the file and query the server, in the
        engine's thread.
        """
        committed = position.committed
        batches = self._window.of_source(source)
        if batches and all(batch.unknown for batch in batches):
            for batch in batches:  # its file is gone: the server knows best how far it is stored
                batch.start = batch.end = committed
            return
        if committed > source.committed and not self._agrees(source, position):
            logger.error(
                "%s is not the file that the server knows as %s; shipping it as a new source", source.path, source.id
            )
            self._read_again(source, None)
            return
        self._mark_stored(source.id, committed)
        wanted_from = not_wanted_until(source, server)
        waiting = self._window.oldest_of(source.id)
        if committed >= wanted_from or (waiting is not None and waiting.start == committed):
            self._go_to(source, position)
        else:
            self._skip_to(source, wanted_from, position)

    def _agrees(self, source: Source, position: SourceAt) -> bool:
        """Whether what the server has beyond the checkpoint is what this client sent, or would send.

        Lines that an earlier run skipped there change the CRC-32, so on a mismatch the server's extents decide.
        """
        committed, crc32 = position.committed, self._window.crc32_up_to(source, position.committed)
        if crc32 is None:
            agrees = self._producer.agrees(source, committed=committed, crc32=position.crc32)
        else:
            agrees = crc32 == position.crc32
        return agrees or self._producer.holds(source, self._extents_beyond_checkpoint(source))

    def _extents_beyond_checkpoint(self, source: Source) -> list[Extent]:
        extents = self._stored_extents(source.id, wait=self._wait)
        return [extent for extent in extents if extent.end > source.committed]

    def _go_to(self, source: Source, position: SourceAt) -> None:
        waiting = self._window.oldest_of(source.id)
        committed = position.committed
        if committed < source.committed:  # what is no longer stored may be rendered in another way now
            source.renderings = [entry for entry in source.renderings if entry[0] < committed]
        if committed != source.committed:
            source.go_to(committed, position.lines, position.crc32)
        if waiting is not None and waiting.start != committed:
            logger.info("%s: the server has the file up to byte %d; resuming there", source.path, committed)
            self._read_again(source, committed)

    def _skip_to(self, source: Source, wanted_from: int, position: SourceAt) -> None:
        """Skip what the server is not to get, and go on behind it."""
        waiting = self._window.oldest_of(source.id)
        if source.committed > wanted_from:  # the server was set back to before that, or is another one
            source.go_to(position.committed, position.lines, position.crc32)
        if waiting is not None and waiting.start != wanted_from:
            self._read_again(source, wanted_from)
        reason = "shipped by the plain protocol before" if source.plain_until == wanted_from else "not asked for"
        skipped = Batch(source, position.committed, wanted_from, epoch=source.epoch, lost=reason, is_skipped=True)
        self._window.add_first(skipped)

    def _read_again(self, source: Source, offset: int | None) -> None:
        read_again(source, offset, window=self._window, producer=self._producer)


def not_wanted_until(source: Source, server: str) -> int:
    """Return the offset before which `server` is not to get anything of a source.

    It got that by the plain protocol, or nobody asked for it.
    """
    plain_until = source.plain_until if source.plain_server in ("", server) else 0
    return max(plain_until, source.asked_from)


def read_again(
    source: Source, offset: int | None, *, window: Window, producer: BatchProducer, one_by_one_until: int = 0
) -> None:
    """Read a source again from `offset` (None makes the file a new source) and discard what was read of it."""
    source.epoch = source.epoch + 1 if offset is not None else -1
    window.drop_source(source)
    producer.send_back(source, offset, one_by_one_until=one_by_one_until)
