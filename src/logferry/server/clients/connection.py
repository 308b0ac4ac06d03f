"""One connected client: its bytes become deliveries, stored deliveries become its answers.

Which protocol it speaks is seen from its first bytes; a conversation does the rest of the talking (conversation.py,
delivery_conversation.py). The order of a client's answers is that of its lines because there is one road: every
answer, an error too, travels with a delivery through the store's queue (an empty one if nothing is to be stored) and
is sent when that comes back.

What a client can cost is bounded here: it is not read from while it has too much unstored, while it does
not take its answers, or while all clients together have too much (memory.py). Answers that it is owed wait as pairs of
(line, count), not as text.
"""

import asyncio
import contextlib
import fcntl
import logging
import socket
import sys
import termios
from collections import deque
from typing import TYPE_CHECKING, Final

from logferry.protocol.delivery import Report
from logferry.protocol.delivery_server import is_hello_prefix
from logferry.protocol.plain_server import Limits
from logferry.protocol.validation import Accept
from logferry.server.clients.sessions.delivery import ALIVE, DeliveryConversation
from logferry.server.clients.sessions.plain import Conversation, PeerDelivery, PlainConversation, Turn
from logferry.server.storage.segment_paths import LogName, host_name

if TYPE_CHECKING:
    from logferry.server.server import Server

logger = logging.getLogger(__name__)

# Twenty milliseconds of work for the store: while half of it is synced the other half is read and judged (with 4 MiB
# one client gets a quarter less), and little enough that the server stays below 80 MB. Reading goes on at half of it.
MAX_UNSTORED_BYTES: Final = 8 * 1024 * 1024

# Acks are written this much at a time; the transport says when it has too many of them.
_ACK_PIECE_BYTES: Final = 128 * 1024


class Peer(asyncio.Protocol):
    """A client's connection. All methods run in the server's event loop."""

    def __init__(self, server: "Server", number: int, *, limits: Limits, accept: Accept, durability: str) -> None:
        self._server = server
        self._number = number  # no other connection has it
        self._limits = limits
        self._accept = accept
        self._durability = durability
        self._transport: asyncio.Transport
        self._first_bytes: bytes | None = b""  # too few to tell the protocol; None once that is known
        self._conversation: Conversation
        self._extension: DeliveryConversation | None = None  # the same, if it is that one
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
        self._last_answered = 0.0
        self.last_heard = 0.0
        self.name = "?"

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, or refuse it when the server is full."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address = str((transport.get_extra_info("peername") or ("unknown",))[0])
        self._conversation = PlainConversation(
            self, LogName(host_name(address), "plain"), limits=self._limits, accept=self._accept
        )
        self.name = f"{address} port {(transport.get_extra_info('peername') or (0, 0))[1]}"
        self.last_heard = self._last_answered = self._server.now()
        self._set_socket_options()
        logger.debug("%s connected", self.name)
        if not self._server.admit(self):
            self.finish()

    def _set_socket_options(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Judge what came and hand it to the store."""
        self.last_heard = self._server.now()
        if self._no_more_input:
            return
        if self._first_bytes is not None:
            data = self._first_bytes + data
            is_hello = is_hello_prefix(data)
            self._first_bytes = data if is_hello is None else None
            if is_hello is None:
                return
            if is_hello:
                self._extension = DeliveryConversation(
                    self, self._number, limits=self._limits, durability=self._durability
                )
                self._conversation = self._extension
        self._take(self._conversation.take(data))

    def eof_received(self) -> bool:
        """The client sends no more (`nc -N`); the connection stays open until all is acked."""
        self._eof_seen = True
        if self._finishing_since is not None:
            return False  # both sides have said all: asyncio closes
        self._eof_waits = self._conversation.has_more
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
        farewell = self._conversation.leave()
        if farewell:
            self._submit(farewell)
        self._server.forget(self)
        if self._rejected > 1:
            logger.warning("%s: %d lines rejected in all", self.name, self._rejected)
        logger.debug("%s disconnected%s", self.name, f": {error}" if error else "")

    # --- from bytes to the store

    def _take(self, turn: Turn) -> None:
        self._account_for_input()
        for delivery in turn.deliveries:
            self._submit(delivery)
        if turn.is_broken:
            self._no_more_input = True
            self._discard_input()
        self._server.regulate_memory()
        self.regulate()
        if self._conversation.has_more and not self._judging:
            self._judging = True
            self.regulate()
            self._server.call_soon(self._judge_more)

    def note_rejected(self, reason: str) -> None:
        """Count a line, frame or batch that is not taken, and log the first."""
        self._rejected += 1
        self._server.lines_rejected += 1
        if self._rejected == 1:
            logger.warning("%s: rejected: %s (more of this client are only counted)", self.name, reason)

    def _submit(self, delivery: PeerDelivery) -> None:
        self._deliveries += 1
        self._add_unstored(delivery.cost)
        if self._server.acks_on_receipt and self._conversation.answers_on_receipt:
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
        elif self._conversation.has_more:
            self._take(self._conversation.take_more())
        if self._eof_waits and not self._conversation.has_more:
            self._eof_waits = False
            self._take_the_end()

    def _go_on_judging(self) -> None:
        if (self._conversation.has_more or self._eof_waits) and not self._judging and not self._must_wait():
            self._judging = True
            self._server.call_soon(self._judge_more)

    def _take_the_end(self) -> None:
        if not self._no_more_input:
            turns = [self._conversation.take(self._first_bytes)] if self._first_bytes else []
            turns.append(self._conversation.take_end())
            self._no_more_input = True
            for turn in turns:
                self._take(turn)
        self._finish_if_done()

    # --- from the store to answers

    def stored(self, delivery: PeerDelivery) -> None:
        """A delivery has come back from the store; `after_stored` follows once for the group."""
        self._deliveries -= 1
        self._add_unstored(-delivery.cost)
        if not self._is_lost:
            self._conversation.stored(delivery)

    def after_stored(self) -> None:
        """Send what is owed after a group, and read on."""
        if self._is_lost:
            return
        self._answers.extend(self._conversation.take_answers())
        self._send_answers()
        self._go_on_judging()
        self.regulate()

    def answer_now(self, line: bytes) -> None:
        """Send something that does not wait for the store."""
        if not self._is_lost:
            if self._answers and self._answers[-1][0] == line:
                self._answers[-1] = (line, self._answers[-1][1] + 1)
            else:
                self._answers.append((line, 1))
            self._send_answers()

    def make_report(self, request: Report) -> None:
        """Have a report of a source made in another thread."""
        self._server.make_report(self, request)

    def report_made(self, line: bytes) -> None:
        """A report is there."""
        if self._extension and not self._is_lost:
            self._extension.report_made(line)

    def _send_answers(self) -> None:
        while self._answers and self._taking_acks and not self._is_lost:
            self._last_answered = self._server.now()
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
        conversation = self._conversation
        return not (
            self._deliveries or self._answers or conversation.has_more or conversation.is_busy or self._eof_waits
        )

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
            or self._conversation.has_more
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
        elif self._extension and now - self._last_answered > patience.alive_s and self._is_waited_for():
            self.answer_now(ALIVE)

    def _is_waited_for(self) -> bool:
        """Whether the client is owed something, or cannot send while we do not read."""
        return not (self.has_nothing_pending and self._reading)

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

    def refuse_partial(self, why: str) -> None:
        """Throw away the message that is on its way; answer what came before it, and close (rule A6: no error)."""
        logger.warning("%s: %s: dropped", self.name, why)
        self._server.clients_dropped += 1
        self._no_more_input = True
        self._discard_input()
        self._finish_if_done()

    def _discard_input(self) -> None:
        self._conversation.discard()
        self._account_for_input()

    def _account_for_input(self) -> None:
        memory = self._server.memory
        partial, unjudged = self._conversation.buffered_bytes, self._conversation.unjudged_bytes
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
