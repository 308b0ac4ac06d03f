"""The delivery engine: take batches from a producer, send them, await the acks, resend what a broken connection left.

One thread, no blocking call; basic and resilient mode differ only in the producer and in what to wait for before
connecting again.

A batch leaves the window when the server has answered for all of it and of those before it of the same source, and at
no other moment; then its source's checkpoint moves. What a server says that is not what we expect is dealt with in
reconciliation.py.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from logferry.client.delivery.batches import BatchProducer
from logferry.client.delivery.observer import ConnectionObserver, NobodyWatches
from logferry.client.delivery.output import Guarantee
from logferry.client.delivery.outputs.dialect import Dialect, Event
from logferry.client.delivery.outputs.exchange import Exchange
from logferry.client.delivery.outputs.negotiate import Doorway
from logferry.client.delivery.resume import BeginAnew, Reconciliation
from logferry.client.delivery.retry import Attempts, Backoff
from logferry.client.delivery.window import Window, advance_checkpoint, note_rendering
from logferry.client.net.connect import READ, WRITE
from logferry.client.net.poller import Waiting
from logferry.client.net.wakeup import StopSignal
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import ShipSettings
from logferry.errors import DeliveryError, GaveUp, PeerClosed, PeerConfused, PeerSilent
from logferry.model.batch import Batch
from logferry.protocol.delivery import Alive, BatchRefused, Gibberish, Position
from logferry.protocol.plain_client import Acked, Confused, Refused
from logferry.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

# Enough to keep 100 MB/s flowing over a round trip of 80 ms; and the memory it takes is the client's largest part.
WINDOW_BYTES: Final = 8 * 1024 * 1024

# Reading ahead of the socket further than this gains nothing.
UNSENT_BYTES: Final = 512 * 1024

# What is taken before the socket is looked at again: a large batch, or so many small ones that what each costs beside
# its lines (a sync of the checkpoint for the first of a source, above all) is shared. It takes a few milliseconds.
_BATCHES_PER_TURN: Final = 128
_BYTES_PER_TURN: Final = 64 * 1024


class DeliveryEngine:
    """Delivers everything that a producer gives to one server."""

    def __init__(
        self,
        producer: BatchProducer,
        settings: ShipSettings,
        *,
        metrics: Metrics,
        stop: StopSignal,
        checkpoints: Checkpoints,
        on_failure: Callable[[], None] = lambda: None,
        may_connect: Callable[[], bool] = lambda: True,
        observer: ConnectionObserver | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_failure` is told of each broken connection; after it, `may_connect` holds back the next one."""
        self._producer = producer
        self._settings = settings
        self._metrics = metrics
        self._checkpoints = checkpoints
        self._on_failure = on_failure
        self._may_connect = may_connect
        self._observer = observer or NobodyWatches()
        self._attempts = Attempts(settings, backoff or Backoff(ceiling_s=settings.backoff_max))
        self._clock = clock

        self._window = Window(max_bytes=WINDOW_BYTES)
        self._exchange: Exchange | None = None

        self._last_progress = clock()
        self._waiting = Waiting(
            settings, stop, clock=clock, on_tick=self._tick, on_stop=producer.stop, describe=self._unacked
        )
        self._doorway = Doorway(settings, checkpoints, wait=self._waiting.wait)
        self._reconciliation = Reconciliation(
            settings, producer, self._window, metrics, commit=self._commit, wait=self._waiting.wait
        )

    def run(self) -> None:
        """Deliver until the producer is finished (or a stop was asked for) and every line is answered.

        Raises GaveUp when that cannot be reached; what is unacked then is told in its message.
        """
        try:
            while self._has_work():
                try:
                    self._turn()
                except DeliveryError as error:
                    self._recover(error)
            self._flush()
        finally:
            self._disconnect()

    def _has_work(self) -> bool:
        self._waiting.notice_stop()
        return bool(self._window) or not self._producer.is_finished

    def _turn(self) -> None:
        """One round: take batches, send what the socket takes, read what has come; wait only if there is nothing."""
        may_take = self._take_batches() or self._producer.is_busy
        if not self._window and not self._is_sending:
            self._idle(0.0 if may_take else math.inf)
            return
        exchange = self._exchange or self._connect()
        if exchange.is_used_up and not any(batch.in_flight for batch in self._window):
            raise BeginAnew("the server lets no connection open more sources than this one has")
        self._talk(exchange, 0.0 if may_take and self._wants_batch() else self._settings.poll_interval)

    @property
    def _is_sending(self) -> bool:
        """Also the rest of a line that was refused before it was sent whole: what follows it must wait for that."""
        return self._exchange is not None and self._exchange.has_output

    def _wants_batch(self) -> bool:
        unsent = self._exchange.unsent_bytes if self._exchange else 0
        return self._window.has_room and unsent < UNSENT_BYTES and not self._producer.is_finished

    @property
    def _announcing(self) -> Sequence[int]:
        """What wakes the engine because there may be a batch; nothing does while it would not take one."""
        return self._producer.wake_fds if self._wants_batch() else ()

    @property
    def _patience_s(self) -> float:
        """For how long nobody needs a tick, if the producer announces what it has."""
        return min(self._producer.patience_s, self._checkpoints.patience_s)

    def _take_batches(self) -> bool:
        """Take what the producer has, until it is worth sending; return whether there was anything."""
        taken = size = 0
        while taken < _BATCHES_PER_TURN and size < _BYTES_PER_TURN and self._wants_batch():
            batch = self._producer.next_batch()
            if batch is None:
                break
            taken += 1
            size += len(batch.payload)
            if batch.epoch == batch.source.epoch:  # else it was read before its source was sent back
                self._take(batch)
        return taken > 0

    def _take(self, batch: Batch) -> None:
        if not self._window:
            self._last_progress = self._clock()
        self._window.add(batch)
        if self._exchange:
            self._exchange.enqueue(batch)

    # --- the connection -------------------------------------------------------------------------------------------

    def _connect(self) -> Exchange:
        connection, dialect = self._doorway.enter()
        logger.info("connected to %s%s", self._doorway.server, "" if dialect.needs_open else " (plain protocol)")
        self._exchange = Exchange(connection, dialect, on_new=self._register, on_begin=self._begin, on_sent=self._sent)
        for batch in self._window:
            self._exchange.enqueue(batch)
        self._last_progress = self._clock()
        self._observer.connected(_guarantee(self._settings, dialect))
        return self._exchange

    def _disconnect(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._observer.closed()
        self._exchange = None

    def _idle(self, timeout_s: float) -> None:
        """Nothing is in flight: wait for the file, the producer, or the end of a connection that nobody uses.

        No longer than until the next tick; that may be far off.
        """
        sock = self._exchange.connection.sock if self._exchange else None
        ready = self._waiting.once(
            sock, READ, timeout_s, announcing=self._announcing, patience_s=self._patience_s if timeout_s else 0.0
        )
        if ready and self._exchange:
            self._receive(self._exchange)

    def _talk(self, exchange: Exchange, timeout_s: float) -> None:
        events = READ | WRITE if exchange.has_output else READ
        ready = self._waiting.once(exchange.connection.sock, events, timeout_s, announcing=self._announcing)
        if ready & READ:
            self._receive(exchange)
        if ready & WRITE:
            try:
                self._send(exchange)
            except PeerClosed:
                self._read_last_words(exchange)
                raise
        self._check_progress()

    def _check_progress(self) -> None:
        """After reading, not before: a process that was stopped for a while finds its acks in the socket."""
        is_waiting = bool(self._window) or self._is_sending
        if is_waiting and self._clock() - self._last_progress > self._settings.ack_timeout:
            hint = "" if self._settings.ack == "none" else " (a receiver that never answers needs --ack none)"
            raise PeerSilent(f"no ack and no progress for {self._settings.ack_timeout:g} s{hint}")

    def _read_last_words(self, exchange: Exchange) -> None:
        """Acks that came before the connection broke still count: what they answer is not to be sent again."""
        with contextlib.suppress(PeerClosed):
            while self._receive(exchange):
                pass

    def _send(self, exchange: Exchange) -> None:
        try:
            sent_bytes, sends, got_room = exchange.send()
        finally:
            self._commit_done()
        if got_room:  # else the kernel's buffer had room all the time, which says nothing about the peer
            self._last_progress = self._clock()
        self._metrics.add(bytes_wire=sent_bytes, batches=sends)

    def _register(self, batches: Sequence[Batch]) -> None:
        """Remember sources, and how these batches of them are rendered, before a server has anything of that."""
        for batch in batches:
            note_rendering(batch)
        self._checkpoints.register_all(batch.source for batch in batches)

    def _begin(self, batch: Batch) -> None:
        if self._exchange and len(batch.payload) > self._exchange.dialect.max_batch_bytes:
            self._reconciliation.mend(batch, f"more than {self._exchange.dialect.max_batch_bytes} bytes")
        if note_rendering(batch) and self._exchange and self._exchange.dialect.needs_open:
            self._checkpoints.register(batch.source)
        lines = batch.lines - batch.acked
        batch.times_sent += 1
        batch.sent_at = self._clock()
        if batch.times_sent == 1:
            self._metrics.add(lines_shipped=lines)
        else:
            self._metrics.add(lines_retried=lines)

    def _sent(self, batch: Batch) -> None:
        if self._exchange and self._exchange.dialect.needs_open:
            return
        if not batch.lines:
            self._window.finish(batch)  # the plain protocol has no words for it
        elif self._settings.ack == "none":
            self._answered(batch.lines - batch.acked)

    # --- answers --------------------------------------------------------------------------------------------------

    def _receive(self, exchange: Exchange) -> bool:
        """Take what has come; False when that is nothing."""
        events = exchange.receive()
        if events is None or self._settings.ack == "none":
            return events is not None
        try:
            for event in events:
                self._apply(event, exchange)
                self._last_progress = self._clock()
        finally:
            self._commit_done()
        return True

    def _apply(self, event: Event, exchange: Exchange) -> None:
        match event:
            case Acked(lines):
                self._answered(lines)
            case Refused(reason):
                self._refused(reason)
            case Position(is_answer_to_open=True):
                self._reconciliation.opened(event, exchange)
            case Position(source, committed):
                self._commit(source, committed)
            case BatchRefused():
                self._reconciliation.refused(event)
            case Alive():
                pass
            case Confused(reason) | Gibberish(reason):
                raise PeerConfused(reason)
            case _:
                raise PeerConfused(f"the server answers what was not asked: {event}")

    def _answered(self, lines: int) -> None:
        now = self._clock()
        for batch, count in self._window.answer(lines):
            self._metrics.acked(count, now - batch.sent_at)
            self._attempts.succeeded()

    def _refused(self, reason: str) -> None:
        batch, line = self._window.next_unanswered_line()
        list(self._window.answer(1))
        self._attempts.succeeded()
        self._reconciliation.reject(batch, line, reason)

    def _commit(self, source_id: str, committed: int) -> None:
        now = self._clock()
        for batch in self._window.mark_stored(source_id, committed):
            self._metrics.acked(batch.lines, now - batch.sent_at)
            self._attempts.succeeded()
        self._commit_done()

    def _commit_done(self) -> None:
        for batch in self._window.take_done():
            advance_checkpoint(batch, is_plain=self._doorway.is_plain)
            self._checkpoints.follow(batch.source)

    # --- failures and waiting -------------------------------------------------------------------------------------

    def _recover(self, error: DeliveryError) -> None:
        """Drop the connection; wait before the next one, unless nothing is in flight and nobody needs one."""
        self._disconnect()
        if isinstance(error, BeginAnew):
            logger.debug("%s", error)
            return
        if not self._window and isinstance(error, PeerClosed):
            logger.debug("%s while nothing was in flight", error)
            return
        self._metrics.add(reconnects=1)
        self._observer.failed(str(error))
        self._on_failure()
        self._waiting.wait(None, 0, self._attempts.failed(error, self._unacked()))
        while not self._may_connect():
            self._waiting.once(None, 0, self._settings.poll_interval)

    def _tick(self) -> None:
        self._producer.tick()
        self._checkpoints.save_if_due()

    def _unacked(self) -> str:
        return f"{self._window.unacked_lines} lines in flight are not acked"

    def _flush(self) -> None:
        """Without acks the last word is the kernel's: wait until the peer's has taken every byte."""
        if self._settings.ack != "none" or self._exchange is None:
            return
        try:
            self._exchange.connection.hand_over(timeout_s=self._settings.ack_timeout, wait=self._waiting.wait)
        except PeerClosed as error:
            raise GaveUp(f"{error}; what the receiver had not read is lost") from error


def _guarantee(settings: ShipSettings, dialect: Dialect) -> Guarantee:
    if dialect.needs_open:
        return Guarantee.EXACTLY_ONCE
    return Guarantee.BEST_EFFORT if settings.ack == "none" else Guarantee.AT_LEAST_ONCE
