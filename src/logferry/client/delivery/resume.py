"""Agreeing with the server about how far each source is stored: its word wins, if the content agrees.

What is to be read again is dropped from the window and asked of the producer here. docs/protocol.md, rules E10,
E11, E17 and E18.
"""

import logging
from collections.abc import Callable
from typing import Final, NoReturn

from logferry.client.delivery.batches import BatchProducer
from logferry.client.delivery.outputs.exchange import Exchange
from logferry.client.delivery.window import Window
from logferry.client.net.connect import Wait
from logferry.client.net.reports import ReportClient
from logferry.config import ShipSettings
from logferry.errors import DeliveryError, PeerConfused
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.delivery import BatchRefused, Extent, Position
from logferry.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_REFUSALS_LOGGED: Final = 10


class BeginAnew(DeliveryError):
    """Nothing has failed, but only a new connection can go on."""


class Reconciliation:
    """Brings the sources, the window and the producer to where the server is."""

    def __init__(
        self,
        settings: ShipSettings,
        producer: BatchProducer,
        window: Window,
        metrics: Metrics,
        *,
        commit: Callable[[str, int], None],
        wait: Wait,
    ) -> None:
        """`commit` moves a checkpoint over batches that are stored."""
        self._settings = settings
        self._producer = producer
        self._window = window
        self._commit = commit
        self._metrics = metrics
        self._refusals = 0
        self._wait = wait

    def opened(self, position: Position, exchange: Exchange) -> None:
        """The server has answered an open: go on with the source where it says. Raises DeliveryError."""
        if not exchange.is_opening(position.source):
            raise PeerConfused(f"the server answers what was not asked: {position}")
        source = self._window.source(position.source)
        if source is not None:
            self._reconcile(source, position)
        exchange.opened(position.source, self._window.of_source(source) if source else ())

    def refused(self, refusal: BatchRefused) -> NoReturn:
        """The oldest batch of a source is not stored. Raises DeliveryError: what followed it is not stored either."""
        batch = self._window.oldest_of(refusal.source)
        if batch is not None and refusal.is_final:
            self.mend(batch, refusal.reason)
        if batch is not None:
            self._send_back(batch.source, refusal.committed)
        raise PeerConfused(f"the server refused a batch: {refusal.reason}")

    def mend(self, batch: Batch, reason: str) -> NoReturn:
        """Send the lines of a batch that will never be taken one by one; one that will not be taken is skipped.

        Raises BeginAnew.
        """
        if batch.lines == 1:
            self.reject(batch, batch.payload, reason)
            self._window.give_up(batch, f"refused by the server: {reason}")
        else:
            first = self._window.oldest_of(batch.source.id) or batch
            self._send_back(batch.source, first.start, one_by_one_until=batch.end)
        raise BeginAnew(f"the server does not take a batch: {reason}")

    def reject(self, batch: Batch, line: bytes, reason: str) -> None:
        """Count a line that the server will never store, and log the first ones."""
        self._metrics.add(lines_rejected=1)
        self._refusals += 1
        if self._refusals <= _REFUSALS_LOGGED:
            last = "; further refusals are only counted" if self._refusals == _REFUSALS_LOGGED else ""
            where = f"{batch.source.path}, bytes {batch.start} to {batch.end}"
            logger.error("the server refused a line (%s): %s: %.200r%s", reason, where, line, last)

    def _reconcile(self, source: Source, position: Position) -> None:
        committed = position.committed
        if committed > source.committed and not self._agrees(source, position):
            logger.error("%s is not the file that the server knows as %s; it is a new source", source.path, source.id)
            self._send_back(source, None)
        elif committed < source.plain_until:
            reason = "shipped by the plain protocol before"
            self._window.add_first(Batch(source, committed, source.plain_until, epoch=source.epoch, lost=reason))
        else:
            self._commit(source.id, committed)
            self._go_to(source, position)

    def _agrees(self, source: Source, position: Position) -> bool:
        """Whether what the server has beyond the checkpoint is what this client sent, or would send.

        Lines that an earlier run has skipped there make a difference: then the server is asked for its extents.
        """
        crc32 = self._window.crc32_up_to(source, position.committed)
        agrees = self._producer.agrees(source, position) if crc32 is None else crc32 == position.crc32
        return agrees or self._producer.holds(source, self._extents_beyond_checkpoint(source))

    def _extents_beyond_checkpoint(self, source: Source) -> list[Extent]:
        settings = self._settings
        reports = ReportClient(
            settings.server_host,
            settings.server_port,
            client_host=settings.host,
            connect_timeout_s=settings.connect_timeout,
            answer_timeout_s=settings.ack_timeout,
            wait=self._wait,
        )
        try:
            pages = list(reports.report(source.id))
        finally:
            reports.close()
        return [extent for page in pages for extent in page.extents if extent.end > source.committed]

    def _go_to(self, source: Source, position: Position) -> None:
        waiting = self._window.oldest_of(source.id)
        committed = position.committed
        if committed < source.committed:  # what is stored no more may be rendered in another way now
            source.renderings = [entry for entry in source.renderings if entry[0] < committed]
        if committed != source.committed:
            source.go_to(committed, position.lines, position.crc32)
        if waiting is not None and waiting.start != committed:
            logger.info("%s: the server has it up to byte %d; going on there", source.path, committed)
            self._send_back(source, committed)

    def _send_back(self, source: Source, offset: int | None, *, one_by_one_until: int = 0) -> None:
        """Read a source again from `offset`; None makes the file a new source. What was read of it does not count."""
        source.epoch = source.epoch + 1 if offset is not None else -1
        self._window.drop_source(source)
        self._producer.send_back(source, offset, one_by_one_until=one_by_one_until)
