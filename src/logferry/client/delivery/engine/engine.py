"""The delivery engine: takes batches from a producer, submits them to an output, and resends what was not stored.

It owns the window, the advance of the checkpoints, and the retries. It must never wait except in `EngineWait`, and
knows neither sockets nor protocols: an output reports events. Basic mode is the engine alone; resilient.py puts a
prefetch queue before it.

The engine runs in one thread, which also syncs checkpoints: before an exactly-once output gets the first batch of a
source, or the first batch with a new render spec, that source or spec is on disk. All batches of a turn share the cost.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from logferry import __version__
from logferry.client.delivery.accounts.accounts import Accounts
from logferry.client.delivery.accounts.balance import balance
from logferry.client.delivery.accounts.progress import DeliveryProgress
from logferry.client.delivery.accounts.window import Window, note_given_up, note_rendering
from logferry.client.delivery.batches.batches import BatchProducer
from logferry.client.delivery.engine.outgoing import OutgoingBatches
from logferry.client.delivery.engine.refusals import Refusals
from logferry.client.delivery.engine.waiting import EngineWait
from logferry.client.delivery.output import (
    BatchRejected,
    Connected,
    Disconnected,
    Guarantee,
    LineRejected,
    Located,
    Output,
    OutputEvent,
    Sent,
    SourceAt,
    SourceDamaged,
    SourceRefused,
    Stalled,
    Stored,
    Withheld,
)
from logferry.client.delivery.positions.positions import SourcePositions
from logferry.client.delivery.positions.reconciliation import Reconciliation
from logferry.client.delivery.positions.resume import SourceResumption, StartOver, StoredExtents
from logferry.client.delivery.servers.idle_connection import IdleConnection
from logferry.client.delivery.servers.observer import ConnectionObserver, NullObserver
from logferry.client.delivery.servers.retry import AlwaysOpen, Attempts, Backoff, ReconnectGate
from logferry.client.delivery.servers.server_choice import ServerChoice
from logferry.client.delivery.servers.stalls import StallWatch
from logferry.client.delivery.servers.status_pings import StatusPings
from logferry.client.net.waiting.readiness import Wait, poll
from logferry.client.net.waiting.wakeup import StopSignal
from logferry.client.state.known_losses import KnownLosses
from logferry.config import ShipSettings
from logferry.errors import DeliveryAbandoned, DeliveryError, PeerClosed, PeerTimeout
from logferry.model.batch import Batch
from logferry.protocol.messages.client_state import ClientState
from logferry.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

# Enough for a throughput of 100 MB/s at a round-trip time of 80 ms. The largest part of the client's memory.
WINDOW_BYTES: Final = 8 * 1024 * 1024

# A turn takes one large batch, or enough small ones to share the fixed costs of a batch (above all the sync of the
# checkpoint for the first batch of a source). That is a few milliseconds of work.
_BATCHES_PER_TURN: Final = 128
_BYTES_PER_TURN: Final = 64 * 1024


class DeliveryEngine:
    """Delivers all batches of a producer to one output."""

    def __init__(
        self,
        producer: BatchProducer,
        output: Output,
        settings: ShipSettings,
        *,
        metrics: Metrics,
        stop: StopSignal,
        checkpoints: DeliveryProgress,
        stored_extents: StoredExtents,
        reconciles: bool = True,
        known_losses: KnownLosses | None = None,
        asks_always: bool = False,
        servers: ServerChoice | None = None,
        gate: ReconnectGate | None = None,
        observer: ConnectionObserver | None = None,
        on_damage: Callable[[str], None] = lambda _: None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        poll: Wait = poll,
    ) -> None:
        """`known_losses` keeps what is refused, and which unknown windows the server has recorded. Without
        `reconciles`, the producer can read nothing again but what it has open, as with standard input. With
        `asks_always`, the engine connects once even if there is nothing to deliver. `servers` chooses among several.

        Tests pass a `clock` and a `poll` of their own, so that no real time passes.
        """
        self._known_losses = known_losses or KnownLosses(None)
        self._producer = producer
        self._output = output
        self._settings = settings
        self._metrics = metrics
        self._checkpoints = checkpoints
        self._servers = servers or ServerChoice(())
        self._gate = gate or AlwaysOpen()
        self._observer = observer or NullObserver()
        self._on_damage = on_damage
        backoff = backoff or Backoff(ceiling_s=settings.backoff_max)
        self._attempts = Attempts(settings, backoff)
        self._idle = IdleConnection(backoff, clock(), is_wanted=settings.mode == "continuous")
        self._clock = clock

        self._window = Window(max_bytes=WINDOW_BYTES)
        self._must_connect = asks_always
        self._is_connecting = False
        self._stored_before = 0  # lines, when the current connection began, or the last one
        self._outgoing: OutgoingBatches | None = None  # while there is a connection
        self._unregistered: set[str] = set()  # sources opened on this connection whose first batch is still to come

        self._waiting = self._engine_wait(stop, poll)
        self._refusals = Refusals(
            *(producer, self._window, metrics, self._known_losses), note_given_up=self._attempts.advanced
        )
        self._accounts = Accounts(
            *(self._window, checkpoints, self._attempts, self._known_losses), metrics=metrics, clock=clock
        )
        self._positions = self._source_positions(stored_extents)
        self._reconciliation = self._new_reconciliation(is_possible=reconciles)
        self._pings = StatusPings(self._describe)
        self._stalls = StallWatch(self._observer, self._gate, describe=self._unacked)
        self._can_reconcile = False  # the current connection, or the last one

    def _engine_wait(self, stop: StopSignal, poll: Wait) -> EngineWait:
        return EngineWait(
            *(self._settings, stop),
            clock=self._clock,
            on_tick=self._tick,
            on_stop=self._producer.stop,
            describe=self._unacked,
            poll=poll,
        )

    def _new_reconciliation(self, *, is_possible: bool) -> Reconciliation:
        return Reconciliation(
            *(self._checkpoints, self._producer, self._window),
            notice=self._waiting.notice,
            is_wanted=is_possible,
            is_of_run=self._settings.mode == "batch",
        )

    def _source_positions(self, stored_extents: StoredExtents) -> SourcePositions:
        resumption = SourceResumption(
            *(self._producer, self._window),
            mark_stored=self._accounts.stored_up_to,
            note_passed=self._refusals.passed,
            stored_extents=stored_extents,
            wait=self._waiting.wait,
            notice=self._waiting.notice,
        )
        return SourcePositions(
            *(self._producer, self._window, self._checkpoints, resumption, self._accounts, self._metrics),
            counts_stored_before=self._settings.mode == "batch",
            servers=self._servers.names,
        )

    def run(self) -> None:
        """Deliver until the producer is finished (or a stop was requested) and every line is answered.

        Raises DeliveryAbandoned when the engine has to give up; the message says how many lines are not acked.
        """
        try:
            while self._has_work():
                try:
                    self._turn()
                except DeliveryError as error:
                    self._recover(error)
            if self._must_connect or self._reconciliation.is_asking:
                raise DeliveryAbandoned(f"stopped; {self._unacked()}")
            self._finish()
            balance(self._metrics, acked=self._accounts.lines_stored, refused=self._refusals.lines, window=self._window)
        finally:
            self._disconnect()
            self._attempts.flush()
            self._servers.flush()
            self._refusals.flush()

    def _has_work(self) -> bool:
        self._waiting.notice_stop()
        if self._waiting.is_stopping and self._outgoing is None and self._window.has_only_windows():
            return not self._producer.is_finished
        if self._window or not self._producer.is_finished:
            return True
        self._reconciliation.ask_last(self._clock())
        return (self._must_connect or self._reconciliation.is_asking) and not self._waiting.is_stopping

    def _turn(self) -> None:
        """Take batches, submit what the output accepts, and apply its events; wait only if there is nothing to take."""
        may_take = self._take_batches() or self._producer.is_busy
        if self._window or (self._must_connect and self._producer.is_finished):
            self._submit()
            timeout_s = 0.0 if may_take and self._wants_batch() else self._settings.poll_interval
            self._drive(timeout_s)
        else:  # wait for files, or for the end of an idle connection; perhaps nothing needs a tick for a long time
            self._connect_if_due()
            timeout_s = 0.0 if may_take else math.inf
            self._drive(timeout_s, patience_s=self._patience_s if timeout_s else 0.0)

    # --- taking and submitting ------------------------------------------------------------------------------------

    def _take_batches(self) -> bool:
        """Take batches from the producer until a turn has enough; return whether it took any."""
        taken = size = 0
        while taken < _BATCHES_PER_TURN and size < _BYTES_PER_TURN and self._wants_batch():
            batch = self._producer.next_batch()
            if batch is None:
                break
            taken += 1
            size += len(batch.payload)
            if batch.epoch != batch.source.epoch:  # it was read before its source was sent back
                self._window.discarded_lines += batch.lines
            elif self._outgoing is not None and batch.start < batch.source.elsewhere_until and self._passes(batch):
                continue
            elif self._outgoing is None or self._positions.is_welcome(batch.source):
                self._window.add(batch)
                if self._outgoing is not None:
                    self._outgoing.add(batch)
            else:
                self._window.discarded_lines += batch.lines
        return taken > 0

    def _passes(self, batch: Batch) -> bool:
        """Go past what other servers have instead of sending a batch; return whether they have any of it."""
        passed = self._positions.passed(batch)
        for skipped in passed or ():
            self._window.add(skipped)
            if self._outgoing is not None:
                self._outgoing.add(skipped)
        return passed is not None

    def _wants_batch(self) -> bool:
        has_room = not self._is_connecting if self._outgoing is None else self._outgoing.has_room
        return has_room and self._window.has_room and not self._producer.is_finished

    @property
    def _announcing(self) -> Sequence[int]:
        """The descriptors that announce a batch; none while the engine would not take a batch."""
        return self._producer.wake_fds if self._wants_batch() else ()

    @property
    def _patience_s(self) -> float:
        """For how many seconds the engine can skip ticks, as long as no descriptor announces anything."""
        return min(self._producer.patience_s, self._checkpoints.patience_s)

    def _connect_if_due(self) -> None:
        due = self._idle.next_timer
        if due is not None and due <= self._clock() and self._outgoing is None and not self._is_connecting:
            self._connect()

    def _connect(self) -> None:
        self._output.connect(self._clock())
        self._is_connecting = True

    def _submit(self) -> None:
        if self._outgoing is not None:
            self._outgoing.submit()
            if self._outgoing.is_exhausted and self._outgoing.waiting_batches == len(self._window):
                raise StartOver("this connection has opened as many sources as it may; opening another connection")
        elif not self._is_connecting:
            self._connect()

    def _prepare(self, batches: Sequence[Batch]) -> None:
        """Save sources, how their batches are rendered and what they give up, before an output gets any of the batches.

        Raises StartOver when one of the batches is larger than the output accepts.
        """
        rendered = [batch for batch in batches if not batch.unknown]  # not of sources whose files are gone
        changed = [batch for batch in rendered if note_rendering(batch) | note_given_up(batch)]
        new = [*changed, *(batch for batch in rendered if batch.source.id in self._unregistered)]
        if new and self._positions.connection.guarantee is Guarantee.EXACTLY_ONCE:
            self._checkpoints.register_all({batch.source.id: batch.source for batch in new}.values())
            self._unregistered.difference_update(batch.source.id for batch in new)
        most = self._positions.connection.limits.max_batch_bytes
        for batch in batches:
            if len(batch.payload) > most:
                self._refusals.one_by_one(batch, f"more than {most} bytes")

    # --- events ---------------------------------------------------------------------------------------------------

    def _drive(self, timeout_s: float, *, patience_s: float = 0.0) -> None:
        events = self._wait_for_events(timeout_s, announcing=self._announcing, patience_s=patience_s)
        try:
            for event in events:
                self._apply(event)
        finally:
            self._accounts.advance_checkpoints()
        is_owed = bool(self._window) and self._outgoing is not None
        self._stalls.check(self._positions.connection.server, self._clock(), is_owed=is_owed)

    def _wait_for_events(
        self, timeout_s: float, *, announcing: Sequence[int] = (), patience_s: float = 0.0
    ) -> list[OutputEvent]:
        self._reconciliation.ask_if_due(self._output, self._clock())
        self._pings.send_if_due(self._output, self._clock())
        timers = [self._output.next_timer(), self._reconciliation.next_timer, self._stalls.next_timer]
        timers.append(self._pings.next_timer)
        if self._outgoing is None and not self._is_connecting and not self._window:
            timers.append(self._idle.next_timer)
        for timer in timers:
            if timer is not None:
                timeout_s = min(timeout_s, max(0.0, timer - self._clock()))
        interest = self._output.interest()
        ready = self._waiting.once(interest, timeout_s, announcing=announcing, patience_s=patience_s)
        return self._output.drive(ready, self._clock())

    def _apply(self, event: OutputEvent) -> None:
        match event:
            case Stored(batch, lines):
                self._stalls.has_acks = True
                self._accounts.stored(batch, lines)
                self._window.answered(batch, lines)
            case Sent():
                self._accounts.sent(event)
            case SourceAt():
                self._resume_source(event)
            case SourceRefused():
                self._start_anew(event)
            case Located():
                self._note_located(event)
            case SourceDamaged(source_id):
                self._on_damage(source_id)
            case LineRejected(batch, line, reason):
                self._stalls.has_acks = True
                batch.rejected += 1
                self._window.answered(batch, 1)
                self._attempts.succeeded()
                self._refusals.line(batch, line, reason)
            case BatchRejected():
                self._accounts.advance_checkpoints()
                self._refusals.batch(event)
            case Connected():
                self._note_connected(event)
            case Withheld(reason, since):
                self._stalls.withheld(self._positions.connection.server, reason, since)
            case Stalled(reason):
                raise PeerTimeout(reason)
            case Disconnected(error):
                raise error

    def _note_connected(self, connection: Connected) -> None:
        self._is_connecting = False
        is_plain = connection.guarantee is not Guarantee.EXACTLY_ONCE
        if not is_plain:
            self._attempts.welcomed()
        level = logging.DEBUG if self._attempts.is_strange else logging.INFO  # a connection alone proves nothing
        logger.log(level, "connected to %s%s", connection.server, " (plain protocol)" if is_plain else "")
        self._unregistered.clear()
        self._must_connect = False
        self._stored_before = self._accounts.lines_stored
        self._checkpoints.learn_store(connection.server, connection.store)
        self._accounts.begin(connection)
        self._positions.begin(connection)
        self._outgoing = OutgoingBatches(self._output, connection, prepare=self._prepare)
        for batch in self._window.unfinished():
            self._outgoing.add(batch)
        self._observer.connected(connection.guarantee)
        now = self._clock()
        self._idle.connected(now)
        self._can_reconcile = self._reconciliation.begin(connection, self._positions.stores, now)
        self._pings.begin(connection, now)

    def _note_located(self, located: Located) -> None:
        if self._outgoing is not None:
            self._reconciliation.take(located, self._clock(), is_opened=self._outgoing.knows)

    def _resume_source(self, position: SourceAt) -> None:
        source = self._window.source(position.source)
        if source is not None:
            self._positions.resume(source, position)
        if self._outgoing is not None:
            self._unregistered.add(position.source)
            self._outgoing.opened(position.source, self._window.of_source(source) if source else ())

    def _start_anew(self, refused: SourceRefused) -> None:
        source = self._window.source(refused.source)
        if self._outgoing is not None:
            self._outgoing.opened(refused.source, ())
        if source is not None:
            self._positions.start_anew(source, refused)

    # --- failures and the end -------------------------------------------------------------------------------------

    def _disconnect(self) -> None:
        self._output.abandon()
        if self._outgoing is not None:
            self._reconciliation.note_opened(self._outgoing.open_ids)
        self._reconciliation.end()
        self._must_connect |= self._reconciliation.is_owed
        self._pings.end()
        self._stalls.disconnected()
        if self._outgoing is not None:
            self._observer.closed()
        self._outgoing = None
        self._is_connecting = False

    def _recover(self, error: DeliveryError) -> None:
        """Drop the connection, and back off before the next one, unless an idle connection was closed."""
        was_connected = self._outgoing is not None
        self._disconnect()
        if isinstance(error, StartOver):
            logger.debug("%s", error)
            self._waiting.wait({}, self._attempts.started_over())
            self._idle.failed(self._clock())
            return
        if not (self._window or self._must_connect) and was_connected and isinstance(error, PeerClosed):
            logger.debug("%s while nothing was in flight", error)
            self._attempts.succeeded()
            self._idle.ended(self._clock(), is_needed=self._can_reconcile)
            return
        self._metrics.add(reconnects=1)
        self._observer.failed(str(error))
        if self._accounts.lines_stored > self._stored_before:
            self._servers.delivered()
        failure = self._servers.failed(error, self._clock())
        if failure is None:  # another server
            self._idle.failed(self._clock())
            return
        self._gate.connection_failed()
        self._waiting.wait({}, self._attempts.failed(failure, self._unacked()))
        while not self._gate.may_connect():
            self._waiting.once({}, self._settings.poll_interval)
        self._idle.failed(self._clock())

    def _tick(self) -> None:
        self._producer.tick()
        self._checkpoints.save_if_due()

    def _describe(self) -> ClientState:
        """Return how the client is; the sums over all files are those of the last status."""
        lag = self._metrics.lag
        return ClientState(
            __version__,
            lag.unread_bytes,
            lag.unacked_bytes,
            self._window.unacked_lines,
            int(lag.behind_since * 1000),
            self._stalls.reason,
        )

    def _unacked(self) -> str:
        must_ask = self._must_connect or self._reconciliation.is_asking
        if must_ask and not self._window.unacked_lines:
            return "the server was not asked what it has"
        return f"{self._window.unacked_lines} lines in flight are not acked"

    def _finish(self) -> None:
        """Wait until data that no answer confirms has left. Raises DeliveryAbandoned, which says what is lost."""
        self._output.finish(self._clock())
        while self._output.is_finishing:
            for event in self._wait_for_events(math.inf):
                if isinstance(event, Disconnected):
                    raise DeliveryAbandoned(str(event.error)) from event.error
