"""One connected client: turns its bytes into deliveries, and stored deliveries into answers.

The client's first bytes show which protocol it speaks; a session (sessions/) implements the protocol. Answers keep the
order of the client's lines because they all take one path: every answer, including an error, travels with a delivery
through the store's queue (an empty delivery if there is nothing to store) and is sent when the delivery comes back.

The connection bounds what a client can cost: it does not read while the client has too much unstored data, while the
client does not read its answers, or while all clients together hold too much (flow_control.py). A connection must
never know the server: `Services` has everything that it uses.
"""

import asyncio
import contextlib
import fcntl
import socket
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from logferry.errors import cause_of
from logferry.protocol.delivery_requests import Note, Question, Repair, Skip, Window
from logferry.protocol.opening import Opened, Opening, Speaks
from logferry.protocol.strangers import NO_HEADER, Stranger
from logferry.server.clients.answers import AnswerQueue
from logferry.server.clients.authenticator import Authenticator, Credentials, Denied, PeerInfo, Principal
from logferry.server.clients.client_log import ClientLabel, ClientLog
from logferry.server.clients.counters import ClientCounters
from logferry.server.clients.flow_control import MemoryBudget, MemoryShare
from logferry.server.clients.lifecycle import Event, Lifecycle, Output
from logferry.server.clients.patience import Overdue, Patience, Watch
from logferry.server.clients.proxies import Proxies
from logferry.server.clients.sessions.base import ClientDelivery, Session, SessionTerms, Turn, UnknownProtocol
from logferry.server.clients.sessions.delivery import DeliverySession
from logferry.server.clients.sessions.plain import PlainSession
from logferry.server.storage.log_names import LogName, host_name


class Scheduler(Protocol):
    """The event loop's clock and callback queue."""

    def time(self) -> float:
        """Return the monotonic time, in seconds."""

    def call_soon(self, callback: Callable[[], object], /) -> object:
        """Call `callback` after other clients have had their turn."""


class StoreAccess(Protocol):
    """A connection's access to the store."""

    def submit(self, delivery: ClientDelivery) -> None:
        """Submit a delivery; its channel's `stored` and `after_stored` are called in the event loop."""

    def ask(self, question: Question, on_answer: Callable[[bytes], None]) -> None:
        """Answer a question in another thread; `on_answer` receives the answer line in the event loop."""

    def damaged_sources(self, client: str) -> Sequence[str]:
        """Return sources of a client that are known to be damaged."""

    def sign_of_life(self) -> bytes:
        """Return a heartbeat, which says why the store stores nothing now, if it does not."""


class Registry(Protocol):
    """What a connection needs to know of all the others."""

    def admit(self, connection: "Connection") -> str:
        """Register a new connection; return why the server refuses it, or "" if it is admitted."""

    def forget(self, connection: "Connection") -> None:
        """Remove a connection that has ended."""

    def regulate_memory(self) -> None:
        """Stop reading from all clients while their total is too high, and resume when there is room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What all connections of a server share."""

    scheduler: Scheduler
    store: StoreAccess
    registry: Registry
    authenticator: Authenticator
    budget: MemoryBudget
    counters: ClientCounters
    log: ClientLog
    patience: Patience
    proxies: Proxies
    terms: SessionTerms


class Connection(asyncio.Protocol):
    """A client's connection. All methods run in the server's event loop. `number` is unique among connections."""

    def __init__(self, number: int, services: Services) -> None:
        self._number = number
        self._services = services
        self._scheduler = services.scheduler
        self._registry = services.registry
        self._store = services.store
        self._promises_nothing = services.terms.durability == "none"
        self._transport: asyncio.Transport
        self._label: ClientLabel
        self._connected_at: float
        self._watch: Watch
        self._life = Lifecycle()
        self._session: Session = UnknownProtocol()
        self._opening: Opening | None = Opening()  # None once the client's protocol is identified
        self._answers = AnswerQueue()
        self._memory = MemoryShare(services.budget)
        self._deliveries = 0  # in the store's queue
        self._is_reading = True
        self._will_judge = False  # `_judge_more` is scheduled
        self._is_admitted = False
        self._was_dropped = False
        self._lines_acked = 0
        self._lines_rejected = 0
        self._last_rejection = ""
        self._why_ended = ""

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit a new connection, or refuse it if the server is full or stopping."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address, port = (transport.get_extra_info("peername") or ("unknown", 0))[:2]
        self._label = ClientLabel(PeerInfo(str(address), port))
        self._opening = Opening(expects_header=self._services.proxies.include(str(address)))
        self._connected_at = self._scheduler.time()
        self._watch = Watch(self._services.patience, self._scheduler.time())
        self._set_socket_options()
        self._why_ended = self._registry.admit(self)
        self._is_admitted = not self._why_ended
        if not self._is_admitted:
            self.finish()

    def _set_socket_options(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Judge what has arrived and submit it to the store."""
        self._watch.heard = self._scheduler.time()
        if not self._life.takes_input:
            return
        if self._opening is not None:
            self._open(self._opening, data)
        else:
            self._take(self._session.take(data))

    def eof_received(self) -> bool:
        """Note that the client sends no more (`nc -N`); the connection stays open until everything is acked."""
        if self._life.output is not Output.OPEN:
            self._life.on(Event.END_TAKEN)
            return False  # both sides have sent everything: asyncio closes
        if self._session.has_more:
            self._life.on(Event.END_ARRIVED)
        else:
            self._take_end()
        return True

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its acks."""
        self._watch.blocked(self._scheduler.time(), self._untaken_bytes())
        self.regulate()

    def resume_writing(self) -> None:
        """Resume: the client is reading its acks again."""
        self._watch.unblocked()
        self._send_answers()
        self._continue_judging()
        self.regulate()

    def connection_lost(self, error: Exception | None) -> None:
        """Remove the connection. Its complete messages are in the store's queue and stay there."""
        self._life.on(Event.LOSE)
        self._answers.clear()
        self._discard_input()
        farewell = self._session.leave()
        if farewell:
            self._submit(farewell)
        self._registry.forget(self)
        self._log_end(error)

    def _log_end(self, error: Exception | None) -> None:
        services, principal = self._services, self._label.principal
        why = self._why_ended or _why_closed(error)
        if principal:
            services.counters.leave(principal)
            services.log.disconnected(
                self._label,
                why,
                lines_acked=self._lines_acked,
                lines_rejected=self._lines_rejected,
                was_dropped=self._was_dropped,
            )
        else:
            services.counters.connections_silent += (
                self._is_admitted and self._opening is not None and self._opening.is_silent
            )
            services.log.left_unknown(self._label, why)

    # --- identifying the client and its protocol

    def _open(self, opening: Opening, data: bytes) -> None:
        awaited_header = opening.awaits_header
        opened = opening.receive_data(data)
        if awaited_header and opening.header and opening.header.address:
            header, via = opening.header, str(self._label.peer)
            self._label = replace(self._label, peer=PeerInfo(header.address, header.port, via))
        self._begin(opened)

    def _begin(self, opened: Opened | None) -> None:
        """Start the session of the protocol that the client's first bytes show, or close on a stranger."""
        if opened is None:
            self._account_for_input()
            self._registry.regulate_memory()
            return
        self._opening = None
        if isinstance(opened.peer, Stranger):
            self._turn_away(opened.peer)
            return
        if opened.peer is Speaks.DELIVERY:
            self._session = DeliverySession(self, self._number, terms=self._services.terms)
        else:
            self._start_plain_session()
        self._take(self._session.take(opened.data))

    def _turn_away(self, stranger: Stranger) -> None:
        self._opening = None
        self.note_stranger(stranger)
        if stranger.answer:
            self._answers.add(stranger.answer)
        self._ignore_input()
        self._send_answers()

    def note_stranger(self, stranger: Stranger) -> None:
        """Count and log that the client is not a log client."""
        self._why_ended = f"not a log client: {stranger}"
        self._services.counters.connections_strange += 1
        self._services.log.stranger(self._label, stranger)

    def _start_plain_session(self) -> None:
        log = LogName(host_name(self._label.peer.address), "plain")
        self._session = PlainSession(self, log, terms=self._services.terms)
        if not self._identify(None):
            self._ignore_input()
            self._finish_if_done()

    def identify(self, credentials: Credentials) -> Principal | None:
        """Authenticate a client that has sent a hello; return its principal, or None if it is denied."""
        return self._identify(credentials)

    def _identify(self, credentials: Credentials | None) -> Principal | None:
        services = self._services
        answer = services.authenticator.check(credentials, self._label.peer)
        host = credentials.host if credentials else ""
        self._label = replace(self._label, host=host, protocol=self._session.protocol)
        if isinstance(answer, Denied):
            self._why_ended = f"denied: {answer.reason}"
            services.counters.connections_denied += 1
            services.log.denied(self._label, answer.reason)
            return None
        self._label = replace(self._label, principal=answer)
        services.counters.enter(answer)
        services.log.connected(self._label)
        return answer

    # --- from bytes to the store

    def _take(self, turn: Turn) -> None:
        self._account_for_input()
        for delivery in turn.deliveries:
            self._submit(delivery)
        if turn.is_broken:
            self._why_ended = self._why_ended or f"it broke the protocol: {self._last_rejection}"
            self._ignore_input()
            self._finish_if_done()
        self._registry.regulate_memory()
        self.regulate()
        if self._session.has_more and not self._will_judge:
            self._judge_soon()
            self.regulate()

    def note_rejected(self, reason: str) -> None:
        """Count a rejected line, frame or batch, and log the first."""
        self._lines_rejected += 1
        self._last_rejection = reason
        self._services.counters.lines_rejected += 1
        if self._lines_rejected == 1:
            self._services.log.rejected(self._label, reason)

    def note_loss(self, path: str, loss: Skip | Note) -> None:
        """Count and log bytes of a file that are not stored unchanged."""
        self._services.counters.losses_reported += 1
        self._services.log.lost(self._label, path, loss.start, loss.end, loss.reason)

    def note_window(self, path: str, window: Window) -> None:
        """Count and log that bytes of a file may be lost that nobody saw."""
        self._services.counters.windows_reported += 1
        self._services.log.unknown_window(self._label, path, window.start, window.reason)

    def note_repeat(self, path: str, start: int, end: int) -> None:
        """Log that bytes of a file that the client is about to resend are already stored."""
        self._services.log.repeats(self._label, path, start, end)

    def _submit(self, delivery: ClientDelivery) -> None:
        self._deliveries += 1
        self._memory.submitted(delivery.cost)
        if self._promises_nothing and self._session.answers_on_receipt:
            self._answers.extend(delivery.answers)
            delivery.answers = []
            self._send_answers()
        self._store.submit(delivery)

    def _judge_soon(self) -> None:
        self._will_judge = True
        self._scheduler.call_soon(self._judge_more)

    def _judge_more(self) -> None:
        """Judge the next step of a large frame; between steps, other clients have their turn."""
        self._will_judge = False
        if self._life.is_lost:
            return
        if self._must_wait():
            self.regulate()
        elif self._session.has_more:
            self._take(self._session.take_more())
        if self._life.is_ending and not self._session.has_more:
            self._take_end()

    def _continue_judging(self) -> None:
        is_unfinished = self._session.has_more or self._life.is_ending
        if is_unfinished and not self._will_judge and not self._must_wait():
            self._judge_soon()

    def _take_end(self) -> None:
        takes_input = self._life.takes_input
        self._life.on(Event.END_TAKEN)
        if takes_input:
            if self._opening is not None and (opened := self._opening.receive_eof()):
                self._begin(opened)
            self._take(self._session.take_end())
        self._finish_if_done()

    # --- from the store to answers

    def stored(self, delivery: ClientDelivery) -> None:
        """Take a delivery back from the store; one `after_stored` follows for the group."""
        self._deliveries -= 1
        self._memory.stored(delivery.cost)
        if not self._life.is_lost:
            self._lines_acked += self._session.stored(delivery)

    def after_stored(self) -> None:
        """Send the answers to a stored group, and resume judging and reading."""
        if self._life.is_lost:
            return
        self._answers.extend(self._session.take_answers())
        self._send_answers()
        self._continue_judging()
        self.regulate()

    def answer_now(self, line: bytes) -> None:
        """Send an answer that does not wait for the store."""
        if self._life.can_answer:
            self._answers.add(line)
            self._send_answers()

    def send_sign_of_life(self) -> None:
        """Send a heartbeat that says whether the store is storing."""
        self.answer_now(self._store.sign_of_life())

    def ask_store(self, question: Question) -> None:
        """Have another thread answer a question of the client."""
        size = len(question.payload) if isinstance(question, Repair) else 0
        self._memory.submitted(size)

        def answered(line: bytes) -> None:
            self._memory.stored(size)
            if self._life.can_answer:
                self._session.store_answered(line)
                self.regulate()

        self._store.ask(question, answered)

    def damaged_sources(self, client: str) -> Sequence[str]:
        """Return sources of the client that are known to be damaged."""
        return self._store.damaged_sources(client)

    def notify_damage(self, sources: Mapping[str, Sequence[str]]) -> None:
        """Notify the client if it shipped any of `sources`, by the ids of clients, which are damaged."""
        if self._life.can_answer:
            self._session.notify_damage(sources)

    def _send_answers(self) -> None:
        while self._answers and not self._watch.is_blocked and self._life.can_answer:
            self._watch.answered = self._scheduler.time()
            self._transport.write(self._answers.next_piece())
        self._finish_if_done()

    # --- limits

    @property
    def has_nothing_pending(self) -> bool:
        """Whether every complete message is stored and every ack handed to the kernel."""
        session = self._session
        return not (self._deliveries or self._answers or session.has_more or session.is_busy or self._life.is_ending)

    @property
    def partial_bytes(self) -> int:
        """How many bytes of an incomplete message the server holds."""
        return self._memory.partial

    def _must_wait(self) -> bool:
        return self._memory.is_exhausted or self._watch.is_blocked

    def regulate(self) -> None:
        """Read from the client if and only if there is room for what it sends; discarded input needs no room."""
        life = self._life
        if life.is_lost or life.client_has_closed or self._transport.is_closing():
            return
        wanted = life.is_ignoring or (
            life.is_open
            and not self._watch.is_blocked
            and not self._session.has_more
            and self._memory.has_room(is_reading=self._is_reading)
        )
        if wanted != self._is_reading:
            self._is_reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def change_patience(self, patience: Patience) -> None:
        """Apply other time limits from now on."""
        self._services = replace(self._services, patience=patience)
        self._watch.patience = patience

    def sweep(self, now: float) -> None:
        """Enforce the time limits, and send a waiting client a sign of life."""
        is_idle = self.has_nothing_pending
        client_waits = self._session.expects_signs_of_life and not (is_idle and self._is_reading)
        patience = self._services.patience
        if self._awaits_header and now - self._connected_at > patience.header_s:
            self._turn_away(NO_HEADER)
        match self._watch.overdue(now, is_idle=is_idle, client_waits=client_waits, untaken_bytes=self._untaken_bytes):
            case Overdue.CLOSE:
                self._transport.abort()
            case Overdue.ACKS_NOT_TAKEN:
                self._drop(f"it has not read its acks for {patience.ack_stall_s:g} s")
            case Overdue.SILENCE:
                self._why_ended = self._why_ended or f"silent for {patience.idle_s:g} s"
                self.finish()
            case Overdue.SIGN_OF_LIFE:
                self.send_sign_of_life()

    @property
    def _awaits_header(self) -> bool:
        return self._opening is not None and self._opening.awaits_header and self._life.is_open

    def _untaken_bytes(self) -> int:
        """Return how many bytes of acks wait in the transport and, where the system reports it, in the socket."""
        in_socket = bytearray(4)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, in_socket)
        return self._transport.get_write_buffer_size() + int.from_bytes(in_socket, sys.byteorder)

    def _discard_input(self) -> None:
        self._session.discard()
        if self._opening is not None:
            self._opening.discard()
        self._account_for_input()

    def _account_for_input(self) -> None:
        session, opening = self._session, self._opening
        held_bytes = session.buffered_bytes + (opening.held_bytes if opening is not None else 0)
        self._memory.hold(held_bytes, session.unjudged_bytes)

    # --- closing

    def stop(self) -> None:
        """Read no more, because the server is stopping; complete messages are still stored and acked."""
        self._why_ended = self._why_ended or "the server is stopping"
        self._life.on(Event.STOP)
        self.regulate()

    def refuse_partial(self, why: str) -> None:
        """Discard the incomplete message, answer what came before it, and close (rule A6: without an error)."""
        self._note_dropped(why)
        self._ignore_input()
        self._finish_if_done()

    def _drop(self, why: str) -> None:
        self._note_dropped(why)
        self._transport.abort()

    def cut(self) -> None:
        """Close immediately, discarding what is still to be sent."""
        self._transport.abort()

    def _note_dropped(self, why: str) -> None:
        self._why_ended = why
        self._was_dropped = True
        self._services.counters.clients_dropped += 1

    def _ignore_input(self) -> None:
        self._life.on(Event.IGNORE)
        self._discard_input()

    def finish(self) -> None:
        """Send what is in the transport's buffer, then close.

        The write side closes first, and the server discards what the client still sends until the client closes too:
        closing a socket that has unread bytes sends a reset, which can overtake the last acks. `sweep` limits the wait.
        """
        if self._life.output is not Output.OPEN:
            return
        self._watch.closing(self._scheduler.time())
        self._life.on(Event.CLOSE)
        self._discard_input()
        self.regulate()
        if self._life.client_has_closed:
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:
            self._transport.abort()

    def _finish_if_done(self) -> None:
        if not self._life.takes_input and self.has_nothing_pending and not self._life.is_lost:
            self.finish()


def _why_closed(error: Exception | None) -> str:
    if error is None:
        return "the client closed the connection"
    return f"the connection broke: {cause_of(error) if isinstance(error, OSError) else error}"
