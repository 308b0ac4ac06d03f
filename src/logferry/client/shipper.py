"""The delivery engine: take batches from a feed, send them, await the acks, and send again what a broken connection
left unanswered. One thread, no blocking call; basic and resilient mode differ only in the feed and in what to wait for
before connecting again.

A batch leaves the window when the server has answered each of its lines, and at no other moment.
"""

import logging
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from logferry.client.feed import Feed
from logferry.client.stop import StopSignal
from logferry.client.tcp_client import READ, WRITE, Backoff, Connection, connect
from logferry.client.window import Batch, Window, rest_of
from logferry.config import ShipSettings
from logferry.errors import DeliveryError, GaveUp, PeerClosed, PeerConfused, PeerSilent
from logferry.metrics import Metrics
from logferry.protocol.connection import Acked, ClientConnection, ClientEvent, Confused, Refused

logger = logging.getLogger(__name__)

# Enough to keep 100 MB/s flowing over a round trip of 80 ms; and the memory it takes is the client's largest part.
WINDOW_BYTES: Final = 8 * 1024 * 1024

# Reading ahead of the socket further than this gains nothing.
UNSENT_BYTES: Final = 512 * 1024

# How many sends in a row before the acks are looked at again.
SENDS_PER_TURN: Final = 256

_AUTO_ATTEMPTS: Final = 5
_REFUSALS_LOGGED: Final = 10
_FLUSH_POLL_S: Final = 0.01


class Shipper:
    """Delivers everything that a feed gives to one server."""

    def __init__(
        self,
        feed: Feed,
        settings: ShipSettings,
        *,
        metrics: Metrics,
        stop: StopSignal,
        on_failure: Callable[[], None] = lambda: None,
        may_connect: Callable[[], bool] = lambda: True,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_failure` is told of each broken connection; after it, `may_connect` holds back the next one."""
        self._feed = feed
        self._settings = settings
        self._metrics = metrics
        self._stop = stop
        self._on_failure = on_failure
        self._may_connect = may_connect
        self._backoff = backoff or Backoff()
        self._clock = clock

        self._window = Window(max_bytes=WINDOW_BYTES)
        self._connection: Connection | None = None
        self._protocol = self._new_protocol()
        self._outgoing: deque[Batch] = deque()  # of the window: not yet handed to this connection
        self._unsent_bytes = 0
        self._pieces: Iterator[bytes] | None = None  # of the first outgoing batch, once it is begun
        self._piece = memoryview(b"")

        now = clock()
        self._failures = 0
        self._refusals = 0
        self._last_progress = now
        self._next_tick = now + settings.poll_interval
        self._deadline = now + settings.deadline if settings.deadline else None
        self._drain_until: float | None = None

    def run(self) -> None:
        """Deliver until the feed is finished (or a stop was asked for) and every line is answered.

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
        self._notice_stop()
        return bool(self._window) or not self._feed.is_finished

    def _turn(self) -> None:
        """One round: take a batch, send what the socket takes, read what has come; wait only if there is nothing."""
        took = self._take_batch()
        if not self._window:
            self._idle(0.0 if took or self._feed.is_busy else self._settings.poll_interval)
            return
        if self._connection is None:
            self._connect()
        may_take = took or self._feed.is_busy
        self._exchange(0.0 if may_take and self._wants_batch() else self._settings.poll_interval)

    def _wants_batch(self) -> bool:
        return self._window.has_room and self._unsent_bytes < UNSENT_BYTES and not self._feed.is_finished

    def _take_batch(self) -> bool:
        if not self._wants_batch():
            return False
        batch = self._feed.next_batch()
        if batch is None:
            return False
        if not self._window:
            self._last_progress = self._clock()
        self._window.add(batch)
        self._enqueue(batch)
        return True

    def _enqueue(self, batch: Batch) -> None:
        self._outgoing.append(batch)
        self._unsent_bytes += len(batch.payload)

    # --- the connection -------------------------------------------------------------------------------------------

    def _new_protocol(self) -> ClientConnection:
        settings = self._settings
        level = settings.compress_level if settings.compress else None
        return ClientConnection(lines_per_send=settings.batch_size, compress_level=level)

    def _connect(self) -> None:
        settings = self._settings
        self._connection = connect(
            settings.server_host, settings.server_port, timeout_s=settings.connect_timeout, wait=self._wait
        )
        logger.info("connected to %s:%d", settings.server_host, settings.server_port)
        self._protocol = self._new_protocol()
        self._last_progress = self._clock()
        self._outgoing.clear()
        self._unsent_bytes = 0
        for batch in self._window:
            self._enqueue(batch)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._pieces = None
        self._piece = memoryview(b"")

    def _idle(self, timeout_s: float) -> None:
        """Nothing is in flight: wait for the file, the feed, or the end of a connection that nobody uses."""
        if self._connection is None:
            self._wait_once(None, 0, timeout_s)
        elif self._wait_once(self._connection.sock, READ, timeout_s):
            self._receive(self._connection)

    def _exchange(self, timeout_s: float) -> None:
        connection = self._connection
        assert connection is not None
        has_output = bool(self._piece) or bool(self._outgoing)
        ready = self._wait_once(connection.sock, READ | WRITE if has_output else READ, timeout_s)
        if ready & READ:
            self._receive(connection)
        if ready & WRITE:
            self._send(connection)
        self._check_progress()

    def _check_progress(self) -> None:
        """After reading, not before: a process that was stopped for a while finds its acks in the socket."""
        if self._window and self._clock() - self._last_progress > self._settings.ack_timeout:
            hint = "" if self._settings.ack == "none" else " (a receiver that never answers needs --ack none)"
            raise PeerSilent(f"no ack and no progress for {self._settings.ack_timeout:g} s{hint}")

    # --- sending --------------------------------------------------------------------------------------------------

    def _send(self, connection: Connection) -> None:
        sent_bytes = 0
        for _ in range(SENDS_PER_TURN):
            if not self._piece and not self._next_piece():
                break
            sent = connection.send(self._piece)
            sent_bytes += sent
            self._piece = self._piece[sent:]
            if self._piece:
                break
        if sent_bytes:
            self._last_progress = self._clock()
            self._metrics.add(bytes_wire=sent_bytes)

    def _next_piece(self) -> bool:
        """Go to the next bytes to send; False when there are none."""
        while self._outgoing:
            if self._pieces is None:
                self._begin_batch(self._outgoing[0])
            piece = next(self._pieces or iter(()), None)
            if piece is not None:
                self._piece = memoryview(piece)
                return True
            self._finish_batch()
        return False

    def _begin_batch(self, batch: Batch) -> None:
        lines = batch.lines - batch.acked
        self._pieces = self._protocol.pieces(rest_of(batch), lines)
        batch.times_sent += 1
        batch.sent_at = self._clock()
        if batch.times_sent == 1:
            self._metrics.add(lines_shipped=lines, batches=1)
        else:
            self._metrics.add(lines_retried=lines, batches=1)

    def _finish_batch(self) -> None:
        """The first outgoing batch is in the kernel's hands."""
        self._pieces = None
        batch = self._outgoing.popleft()
        self._unsent_bytes -= len(batch.payload)
        if self._settings.ack == "none":
            self._answered(batch.lines - batch.acked)

    # --- receiving ------------------------------------------------------------------------------------------------

    def _receive(self, connection: Connection) -> None:
        data = connection.receive()
        if self._settings.ack == "none":
            return
        for event in self._protocol.receive_data(data):
            self._apply(event)
            self._failures = 0
            self._last_progress = self._clock()

    def _apply(self, event: ClientEvent) -> None:
        match event:
            case Acked(lines):
                self._answered(lines)
            case Refused(reason):
                self._refused(reason)
            case Confused(reason):
                raise PeerConfused(reason)

    def _answered(self, lines: int) -> None:
        now = self._clock()
        for batch, count in self._window.answer(lines):
            self._metrics.acked(count, now - batch.sent_at)

    def _refused(self, reason: str) -> None:
        batch, line = self._window.next_unanswered_line()
        self._window.answer(1)
        self._metrics.add(lines_rejected=1)
        self._refusals += 1
        if self._refusals <= _REFUSALS_LOGGED:
            last = "; further refusals are only counted" if self._refusals == _REFUSALS_LOGGED else ""
            where = f"{batch.source.path}, bytes {batch.start} to {batch.end}"
            logger.error("the server refused a line (%s): %s: %.200r%s", reason, where, line, last)

    # --- failures and waiting -------------------------------------------------------------------------------------

    def _recover(self, error: DeliveryError) -> None:
        """Drop the connection; wait before the next one, unless nothing is in flight and nobody needs one."""
        self._disconnect()
        if not self._window and isinstance(error, PeerClosed):
            logger.debug("%s while nothing was in flight", error)
            return
        self._failures += 1
        self._metrics.add(reconnects=1)
        self._on_failure()
        self._give_up_after_too_many(error)
        delay_s = self._backoff.delay_s(self._failures)
        if self._failures & (self._failures - 1) == 0:  # 1, 2, 4, 8...: an outage of hours fills no log
            logger.warning("%s; failure %d in a row, trying again in %.1f s", error, self._failures, delay_s)
        self._wait(None, 0, delay_s)
        while not self._may_connect():
            self._wait_once(None, 0, self._settings.poll_interval)

    def _give_up_after_too_many(self, error: DeliveryError) -> None:
        attempts = self._settings.max_attempts
        if attempts is None:
            is_patient = self._settings.resilient or self._settings.mode == "continuous"
            attempts = 0 if is_patient else _AUTO_ATTEMPTS
        if attempts and self._failures >= attempts:
            raise GaveUp(f"{error}; gave up after {self._failures} failures in a row, {self._unacked()}") from error

    def _unacked(self) -> str:
        return f"{self._window.unacked_lines} lines in flight are not acked"

    def _wait(self, sock: socket.socket | None, events: int, timeout_s: float) -> int:
        """Wait the whole time, or until `sock` is ready (see tcp_client.Wait)."""
        end = self._clock() + timeout_s
        while not (ready := self._wait_once(sock, events, end - self._clock())):
            if self._clock() >= end:
                break
        return ready

    def _wait_once(self, sock: socket.socket | None, events: int, timeout_s: float) -> int:
        """Wait until `sock` is ready, something wakes the engine, or the time is over; do what is due."""
        now = self._clock()
        ends = [now + timeout_s, self._next_tick, *(end for end in (self._deadline, self._drain_until) if end)]
        ready = self._poll(sock, events, max(0.0, min(ends) - now))
        self._notice_stop()
        self._check_deadlines()
        if self._clock() >= self._next_tick:
            self._feed.tick()
            self._next_tick = self._clock() + self._settings.poll_interval
        return ready

    def _poll(self, sock: socket.socket | None, events: int, timeout_s: float) -> int:
        poll = select.poll()
        wakeup = self._stop.wakeup
        poll.register(wakeup.fileno(), select.POLLIN)
        if sock is not None:
            poll.register(
                sock.fileno(), (select.POLLIN if events & READ else 0) | (select.POLLOUT if events & WRITE else 0)
            )
        ready = 0
        for fd, mask in poll.poll(timeout_s * 1000):
            if fd == wakeup.fileno():
                wakeup.clear()
            else:
                failed = mask & ~(select.POLLIN | select.POLLOUT)
                ready = (READ if mask & select.POLLIN or failed else 0) | (
                    WRITE if mask & select.POLLOUT or failed else 0
                )
        return ready & events if events else ready

    def _notice_stop(self) -> None:
        if self._stop.is_requested and self._drain_until is None:
            self._drain_until = self._clock() + self._settings.shutdown_timeout
            self._feed.stop()

    def _check_deadlines(self) -> None:
        now = self._clock()
        if self._deadline is not None and now >= self._deadline:
            raise GaveUp(f"the deadline of {self._settings.deadline:g} s is over; {self._unacked()}")
        if self._drain_until is not None and now >= self._drain_until:
            raise GaveUp(f"stopped; {self._unacked()} after {self._settings.shutdown_timeout:g} s of waiting")

    def _flush(self) -> None:
        """Without acks the last word is the kernel's: wait until the peer's has taken every byte."""
        connection = self._connection
        if self._settings.ack != "none" or connection is None:
            return
        connection.end_of_data()
        end = self._clock() + self._settings.ack_timeout
        while waiting := connection.bytes_not_taken():
            if self._clock() >= end:
                raise GaveUp(f"the receiver has not taken the last {waiting} bytes")
            self._wait(None, 0, _FLUSH_POLL_S)
