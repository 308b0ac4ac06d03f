"""One connected client: its bytes become deliveries, stored deliveries become its acks.

The order of a client's acks is that of its lines because there is one road: every answer, an error too, travels
with a delivery through the store's queue (an empty one if nothing is to be stored) and is sent when that comes back.

What a client can cost is bounded here: it is not read from while it has too much unstored, while it does
not take its acks, or while all clients together have too much (memory.py). Acks that it is owed wait as pairs of
(ack, count), not as text.
"""

import asyncio
import contextlib
import fcntl
import logging
import socket
import sys
import termios
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from logferry.protocol.connection import Broken, Limits, ServerConnection, ServerEvent
from logferry.protocol.messages import ACK_OK, error_ack
from logferry.protocol.validation import Accept, Lines
from logferry.server.segments import Stream, host_name
from logferry.server.store import Delivery

if TYPE_CHECKING:
    from logferry.server.server import Server

logger = logging.getLogger(__name__)

# Twenty milliseconds of work for the store, so that it never waits for one busy client, and little enough that a few
# busy clients stay far below the server's 80 MB. Reading goes on at half of it.
MAX_UNSTORED_BYTES: Final = 4 * 1024 * 1024

# Acks are written this much at a time; the transport says when it has too many of them.
_ACK_PIECE_BYTES: Final = 128 * 1024

# More pieces than this are joined: a copy is cheaper than a long writev of crumbs.
_MAX_PIECES: Final = 16

Answers = list[tuple[bytes, int]]
"""Ack lines and how often each is to be sent, in order."""


@dataclass(slots=True, eq=False)
class PeerDelivery(Delivery):
    """A delivery that knows whom to answer, and what, once it is stored."""

    peer: "Peer"
    answers: Answers


class Peer(asyncio.Protocol):
    """A client's connection. All methods run in the server's event loop."""

    def __init__(self, server: "Server", *, limits: Limits, accept: Accept) -> None:
        self._server = server
        self._connection = ServerConnection(limits=limits, accept=accept)
        self._transport: asyncio.Transport
        self._stream = Stream("unknown", "plain")
        self._answers: deque[tuple[bytes, int]] = deque()
        self._deliveries = 0  # in the store's queue
        self._partial_bytes = 0  # as last told to the account
        self._unjudged_bytes = 0
        self._unstored_bytes = 0
        self._reading = True
        self._taking_acks = True
        self._judging = False
        self._eof_seen = False
        self._eof_waits = False  # until a large frame is judged to its end
        self._no_more_input = False  # whatever still comes is thrown away
        self._is_lost = False
        self._rejected = 0
        self._not_taking_acks_since: float | None = None
        self._untaken_before = 0
        self._finishing_since: float | None = None
        self.last_heard = 0.0
        self.name = "?"

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, or refuse it when the server is full."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address = str((transport.get_extra_info("peername") or ("unknown",))[0])
        self._stream = Stream(host_name(address), "plain")
        self.name = f"{address} port {(transport.get_extra_info('peername') or (0, 0))[1]}"
        self.last_heard = self._server.now()
        self._set_socket_options()
        logger.debug("%s connected", self.name)
        refusal = self._server.admit(self)
        if refusal:
            self._no_more_input = True
            self._answers.append((error_ack(refusal), 1))
            self._send_answers()

    def _set_socket_options(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Judge what came and hand it to the store."""
        self.last_heard = self._server.now()
        if not self._no_more_input:
            self._take(self._connection.receive_data(data))

    def eof_received(self) -> bool:
        """The client sends no more (`nc -N`); the connection stays open until all is acked."""
        self._eof_seen = True
        if self._finishing_since is not None:
            return False  # both sides have said all: asyncio closes
        self._eof_waits = self._connection.has_more
        if not self._eof_waits:
            self._take_the_end()
        return True

    def pause_writing(self) -> None:
        """The client does not take its acks: take nothing from it."""
        self._taking_acks = False
        self._not_taking_acks_since = self._server.now()
        self._untaken_before = self._untaken_bytes()
        self.regulate()

    def resume_writing(self) -> None:
        """The client takes its acks again."""
        self._taking_acks = True
        self._not_taking_acks_since = None
        self._send_answers()
        self._go_on_judging()
        self.regulate()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection; what has come of it whole is in the store's queue and stays there."""
        self._is_lost = True
        self._no_more_input = True
        self._answers.clear()
        self._discard_input()
        self._server.forget(self)
        if self._rejected > 1:
            logger.warning("%s: %d lines rejected in all", self.name, self._rejected)
        logger.debug("%s disconnected%s", self.name, f": {error}" if error else "")

    # --- from bytes to the store

    def _take(self, events: Iterable[ServerEvent]) -> None:
        delivery, is_broken = self._combine(events)
        self._account_for_input()
        if delivery.answers:
            self._submit(delivery)
        if is_broken:
            self._no_more_input = True
            self._discard_input()
        self._server.regulate_memory()
        self.regulate()
        if self._connection.has_more and not self._judging:
            self._judging = True
            self.regulate()
            self._server.call_soon(self._judge_more)

    def _combine(self, events: Iterable[ServerEvent]) -> tuple[PeerDelivery, bool]:
        """Make one delivery of a read's events; tell whether the stream is broken."""
        delivery = PeerDelivery(self._stream, [], 0, 0, self, [])
        is_broken = False
        for event in events:
            if isinstance(event, Lines):
                delivery.pieces.append(event.payload)
                delivery.lines += event.count
                delivery.size += len(event.payload)
                _add_answer(delivery.answers, ACK_OK, event.count)
            else:
                is_broken = isinstance(event, Broken)
                self._note_rejected(event.reason)
                _add_answer(delivery.answers, error_ack(event.reason), 1)
        if len(delivery.pieces) > _MAX_PIECES:
            delivery.pieces = [b"".join(delivery.pieces)]
        return delivery, is_broken

    def _note_rejected(self, reason: str) -> None:
        self._rejected += 1
        self._server.lines_rejected += 1
        if self._rejected == 1:
            logger.warning("%s: rejected: %s (more of this client are only counted)", self.name, reason)

    def _submit(self, delivery: PeerDelivery) -> None:
        self._deliveries += 1
        self._add_unstored(delivery.size)
        if self._server.acks_on_receipt:
            self._answers.extend(delivery.answers)
            delivery.answers = []
            self._send_answers()
        self._server.submit(delivery)

    def _judge_more(self) -> None:
        """Go on with a large frame, one step at a time, so that other clients have their turn."""
        self._judging = False
        if self._is_lost:
            return
        if self._must_wait():
            self.regulate()
        elif self._connection.has_more:
            self._take(self._connection.next_events())
        if self._eof_waits and not self._connection.has_more:
            self._eof_waits = False
            self._take_the_end()

    def _go_on_judging(self) -> None:
        if (self._connection.has_more or self._eof_waits) and not self._judging and not self._must_wait():
            self._judging = True
            self._server.call_soon(self._judge_more)

    def _take_the_end(self) -> None:
        if not self._no_more_input:
            events = self._connection.receive_eof()
            self._no_more_input = True
            self._take(events)
        self._finish_if_done()

    # --- from the store to acks

    def stored(self, delivery: PeerDelivery) -> None:
        """A delivery has come back from the store; `send_answers` follows once for the group."""
        self._deliveries -= 1
        self._add_unstored(-delivery.size)
        if not self._is_lost:
            for ack, count in delivery.answers:
                self._answers.append((ack, count))

    def after_stored(self) -> None:
        """Send what is owed after a group, and read on."""
        if self._is_lost:
            return
        self._send_answers()
        self._go_on_judging()
        self.regulate()

    def _send_answers(self) -> None:
        while self._answers and self._taking_acks and not self._is_lost:
            self._transport.write(self._next_answers())
        self._finish_if_done()

    def _next_answers(self) -> bytes:
        parts: list[bytes] = []
        room = _ACK_PIECE_BYTES
        while self._answers and room > 0:
            ack, count = self._answers.popleft()
            now = min(count, room // len(ack) + 1)
            parts.append(ack * now)
            room -= len(ack) * now
            if now < count:
                self._answers.appendleft((ack, count - now))
        return b"".join(parts)

    # --- limits

    @property
    def has_nothing_pending(self) -> bool:
        """Whether everything that came whole is stored, and every ack handed to the system."""
        return not (self._deliveries or self._answers or self._connection.has_more or self._eof_waits)

    @property
    def partial_bytes(self) -> int:
        """What the server holds of a message that is not whole yet."""
        return self._partial_bytes

    def _must_wait(self) -> bool:
        return self._unstored_bytes > MAX_UNSTORED_BYTES or not self._taking_acks

    def regulate(self) -> None:
        """Read from the client if, and only if, there is room for what it sends."""
        if self._is_lost or self._eof_seen or self._transport.is_closing():
            return
        room = MAX_UNSTORED_BYTES if self._reading else MAX_UNSTORED_BYTES // 2
        wanted = self._no_more_input or not (
            self._unstored_bytes > room
            or not self._taking_acks
            or self._connection.has_more
            or self._server.memory.gate_is_closed
            or self._server.is_stopping
        )
        if wanted != self._reading:
            self._reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def sweep(self, now: float) -> None:
        """End what has gone on for too long: silence, not taking acks, a close that the other side does not see."""
        patience = self._server.patience
        if self._finishing_since is not None:
            if now - self._finishing_since > patience.linger_s:
                self._transport.abort()
        elif self._not_taking_acks_since is not None:
            self._note_progress(now)
            if now - self._not_taking_acks_since > patience.ack_stall_s:
                self.drop(f"has not taken its acks for {patience.ack_stall_s:g} s")
        elif now - self.last_heard > self._server.idle_timeout and self.has_nothing_pending:
            logger.info("%s: silent for %g s, closing", self.name, self._server.idle_timeout)
            self.finish()

    def _note_progress(self, now: float) -> None:
        """A slow client is not a dead one. While it is waited for nothing is written, so what is untaken only falls."""
        untaken = self._untaken_bytes()
        if untaken < self._untaken_before:
            self._not_taking_acks_since = now
        self._untaken_before = untaken

    def _untaken_bytes(self) -> int:
        """Return how many bytes of acks wait in the transport and, where the system tells it, in the socket."""
        in_socket = bytearray(4)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, in_socket)
        return self._transport.get_write_buffer_size() + int.from_bytes(in_socket, sys.byteorder)

    def cut(self) -> None:
        """Close at once, whatever is still to be sent."""
        self._transport.abort()

    def drop(self, why: str) -> None:
        """Cut the connection at once."""
        self._server.clients_dropped += 1
        logger.warning("%s %s: dropped", self.name, why)
        self._transport.abort()

    def refuse_partial(self, reason: str) -> None:
        """Throw away the message that is on its way, answer with `reason`, and close."""
        logger.warning("%s: %s", self.name, reason)
        self._server.clients_dropped += 1
        self._no_more_input = True
        self._discard_input()
        self._submit(PeerDelivery(self._stream, [], 0, 0, self, [(error_ack(reason), 1)]))

    def _discard_input(self) -> None:
        self._connection.discard()
        self._account_for_input()

    def _account_for_input(self) -> None:
        memory = self._server.memory
        partial, unjudged = self._connection.buffered_bytes, self._connection.unjudged_bytes
        memory.partial += partial - self._partial_bytes
        memory.unstored += unjudged - self._unjudged_bytes
        self._partial_bytes, self._unjudged_bytes = partial, unjudged

    def _add_unstored(self, size: int) -> None:
        self._unstored_bytes += size
        self._server.memory.unstored += size

    # --- the end

    def stop(self) -> None:
        """The server stops: take no more; what came whole is still stored and acked."""
        self.regulate()

    def finish(self) -> None:
        """Send what is in the transport's buffer, then close.

        The write side goes first, and what the client still sends is thrown away until it closes too: closing a socket
        with unread bytes in it sends a reset, which can overtake the last acks. `sweep` sets that an end.
        """
        if self._finishing_since is not None or self._is_lost:
            return
        self._finishing_since = self._server.now()
        self._no_more_input = True
        self._discard_input()
        self.regulate()
        if self._eof_seen:
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:
            self._transport.abort()

    def _finish_if_done(self) -> None:
        if self._no_more_input and self.has_nothing_pending and not self._is_lost:
            self.finish()


def _add_answer(answers: Answers, ack: bytes, count: int) -> None:
    if answers and answers[-1][0] == ack:
        answers[-1] = (ack, answers[-1][1] + count)
    else:
        answers.append((ack, count))
