"""Refusals of the server: refused lines are counted and skipped, refused batches split until the bad line is found.

docs/protocol.md, rules C3, E10 and E11.
"""

import logging
from collections.abc import Callable
from typing import Final, NoReturn

from logferry.client.delivery.accounts.window import Window
from logferry.client.delivery.batches.batches import BatchProducer
from logferry.client.delivery.output import BatchRejected
from logferry.client.delivery.positions.resume import StartOver, read_again
from logferry.client.state.known_losses import KnownLosses
from logferry.errors import ProtocolError
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.printable import SHOWN_REASON_CHARS, printable, quoted
from logferry.protocol.messages.reports import RecordedLoss
from logferry.telemetry.log_limits import RepeatLimit
from logferry.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_FIRST_REFUSALS: Final = 10
_MAX_SHOWN_CHARS: Final = 200


class Refusals:
    """Handles the refusals of one run."""

    def __init__(
        self,
        producer: BatchProducer,
        window: Window,
        metrics: Metrics,
        known_losses: KnownLosses | None = None,
        *,
        note_given_up: Callable[[], None] = lambda: None,
    ) -> None:
        """`note_given_up` is called for each line that is given up."""
        self._producer = producer
        self._window = window
        self._metrics = metrics
        self._known_losses = known_losses or KnownLosses(None)
        self._note_given_up = note_given_up
        self._limit = RepeatLimit(logger, first=_FIRST_REFUSALS)
        self.lines = 0  # that were read in this run and refused

    def flush(self) -> None:
        """Log the pending counts of refusals, at the end of a run."""
        self._limit.flush()

    def batch(self, refusal: BatchRejected) -> NoReturn:
        """Handle a refused batch; later batches of its source are not stored either. Raises DeliveryError."""
        batch, reason = self._window.oldest_of(refusal.source), printable(refusal.reason, max_chars=SHOWN_REASON_CHARS)
        is_final = refusal.is_final and batch is not None and refusal.committed == batch.start
        if batch is not None and is_final and batch.lines:  # else there is no line to skip: back off and retry
            self.one_by_one(batch, reason)
        if batch is not None:  # never go forward: the answer to the next open is checked, this position is not
            start = min(refusal.committed, batch.source.committed)
            read_again(batch.source, start, window=self._window, producer=self._producer)
        raise ProtocolError(f"the server refused a batch: {reason}")

    def one_by_one(self, batch: Batch, reason: str) -> NoReturn:
        """Send the lines of a batch that will never be stored as it is one by one; give up a batch of one line.

        Raises StartOver.
        """
        if batch.lines == 1:
            self.line(batch, batch.payload, reason)
            self._window.give_up(batch, f"refused by the server: {reason}")
            self._note_given_up()
        else:
            first = self._window.oldest_of(batch.source.id) or batch
            read_again(
                batch.source, first.start, window=self._window, producer=self._producer, one_by_one_until=batch.end
            )
        raise StartOver(f"the server does not accept a batch: {reason}")

    def passed(self, source: Source, loss: RecordedLoss) -> None:
        """Count what an earlier run of this client has passed, and whose loss the server has recorded.

        That is a line which the server refused, or the range that the client gave up.
        """
        if source.has_given_up(loss.start, loss.end):
            self._metrics.add(bytes_given_up=loss.end - loss.start)
        else:
            self._metrics.add(lines_rejected=1)
        shown = printable(loss.reason, max_chars=SHOWN_REASON_CHARS)
        if not self._known_losses.knows_loss(source.path, source.id, loss.end, shown):
            self._known_losses.add_loss(source.path, source.id, loss.start, loss.end, shown)
        self._limit.log(
            *(logging.ERROR, shown, "%s: the server has no line for bytes %d to %d, which an earlier run passed: %s"),
            *(printable(source.path), loss.start, loss.end, shown),
        )

    def line(self, batch: Batch, line: bytes, reason: str) -> None:
        """Count a line that the server will never store; log the first ones for each reason, then only their number."""
        self.lines += 1
        self._metrics.add(lines_rejected=1)
        shown = printable(reason, max_chars=SHOWN_REASON_CHARS)
        where = (batch.source.path, batch.source.id, batch.start, batch.end)
        self._known_losses.add_loss(*where, f"refused by the server: {shown}", size=len(line))
        self._limit.log(
            *(logging.ERROR, shown, "the server refused a line (%s): %s, bytes %d to %d: %s"),
            *(shown, printable(batch.source.path), batch.start, batch.end),
            quoted(line[:_MAX_SHOWN_CHARS], max_chars=_MAX_SHOWN_CHARS),
        )
