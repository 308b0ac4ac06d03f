"""Keeps the accounts of a run: what was sent, what is stored, and how far the checkpoint of each source is.

Owns the number of lines that this run has stored, and every step of a checkpoint behind a batch that is stored. Must
never decide what is sent: the engine does.
"""

from collections.abc import Callable

from logferry.client.delivery.accounts.progress import DeliveryProgress
from logferry.client.delivery.accounts.window import Window, advance_checkpoint
from logferry.client.delivery.output import Connected, Guarantee, Sent
from logferry.client.delivery.servers.retry import Attempts
from logferry.client.state.known_losses import KnownLosses
from logferry.model.batch import Batch
from logferry.telemetry.metrics import Metrics


class Accounts:
    """The accounts of one engine, in its thread."""

    def __init__(
        self,
        window: Window,
        progress: DeliveryProgress,
        attempts: Attempts,
        known_losses: KnownLosses,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._window = window
        self._progress = progress
        self._attempts = attempts
        self._known_losses = known_losses
        self._metrics = metrics
        self._clock = clock
        self._plain_server = ""  # the server of the connection, if it speaks the plain protocol
        self.lines_stored = 0  # in this run

    def begin(self, connection: Connected) -> None:
        """Note which server stores what is sent from now on."""
        self._plain_server = connection.server if connection.guarantee is not Guarantee.EXACTLY_ONCE else ""

    def sent(self, sent: Sent) -> None:
        """Count what an output has sent."""
        now, first, again = self._clock(), 0, 0
        for batch in sent.begun:
            batch.times_sent += 1
            batch.sent_at = now
            if batch.times_sent == 1:
                first += batch.lines - batch.acked
            else:
                again += batch.lines - batch.acked
        self._metrics.add(bytes_wire=sent.size, batches=sent.sends, lines_shipped=first, lines_retried=again)

    def stored(self, batch: Batch, lines: int) -> None:
        """Count lines of a batch as stored."""
        if batch.end > batch.source.committed:
            self._attempts.advanced()
        if lines:
            self.lines_stored += lines
            self._metrics.acked(lines, self._clock() - batch.sent_at if batch.times_sent else 0.0)
            self._attempts.succeeded()

    def stored_up_to(self, source_id: str, committed: int) -> None:
        """Count the batches of a source before an offset as stored, and move the checkpoint behind them."""
        for batch in self._window.mark_stored(source_id, committed):
            self.stored(batch, batch.lines)
        self.advance_checkpoints()

    def advance_checkpoints(self) -> None:
        """Move the checkpoints behind all batches that are done."""
        for batch in self._window.take_done():
            if batch.unknown:
                self._known_losses.note_recorded(batch.unknown)
                continue
            advance_checkpoint(batch, plain_server=self._plain_server)
            self._progress.follow(batch.source)
