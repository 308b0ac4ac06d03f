"""One connected client: turns its bytes into deliveries, and stored deliveries into answers.

The client's first bytes show which protocol it speaks; a session (sessions/) implements the protocol. Answers keep the
order of the client's lines because they all take one path: every answer, including an error, travels with a delivery
through the store's queue (an empty delivery if there is nothing to store) and is sent when the delivery comes back.

The connection bounds what a client can cost: it does not read while the client has too much unstored data, while the
client does not read its answers, or while all clients together hold too much (reading.py). A connection must never know
the server: `Services` has everything that it uses.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from logferry.errors import cause_of
from logferry.protocol.messages.requests import Question
from logferry.protocol.messages.writing import denial_line
from logferry.protocol.opening.opening import Opened, Opening, Speaks
from logferry.protocol.steps import is_small
from logferry.protocol.strangers import NO_HEADER, Stranger
from logferry.server.clients.connection.answering import Answering
from logferry.server.clients.connection.lifecycle import Event, Lifecycle, Output
from logferry.server.clients.connection.patience import Overdue, Patience, Watch
from logferry.server.clients.connection.reading import Reading
from logferry.server.clients.identities.authenticator import (
    ANONYMOUS,
    Authenticator,
    Credentials,
    Denied,
    PeerInfo,
    Principal,
    TokenWanted,
    owner_of,
)
from logferry.server.clients.identities.grants import Grants
from logferry.server.clients.identities.networks import Networks
from logferry.server.clients.memory.flow_control import MemoryAccount, MemoryBudget
from logferry.server.clients.memory.parties import Parties, Party
from logferry.server.clients.memory.pressure import Pressure
from logferry.server.clients.reporting.client_log import ClientLog
from logferry.server.clients.reporting.client_record import ClientRecord
from logferry.server.clients.reporting.counters import ClientCounters
from logferry.server.clients.scheduling.paused import Paused
from logferry.server.clients.scheduling.places import UNFINISHED_S
from logferry.server.clients.scheduling.questions import QuestionOrder, Questions
from logferry.server.clients.services import Scheduler, StoreAccess
from logferry.server.clients.sessions.base import ClientDelivery, Session, SessionTerms, Turn, UnknownProtocol
from logferry.server.clients.sessions.delivery import DeliverySession
from logferry.server.clients.sessions.plain import PlainSession
from logferry.server.clients.tls.engine import TlsEngine
from logferry.server.clients.tls.failures import handshake_failure
from logferry.server.clients.tls.layer import TlsLayer
from logferry.server.clients.tls.names import names_in
from logferry.server.storage.log_names import plain_log
from logferry.server.storage.owners import Owner

# Refused lines of a client that has gone, which learns of none of them; after these, the rest is not judged.
_MOST_UNHEARD: Final = 100


class Registry(Protocol):
    """What a connection needs to know of all the others."""

    def admit(self, connection: "Connection") -> str:
        """Register a new connection; return why the server refuses it, or "" if it is admitted."""

    def forget(self, connection: "Connection") -> None:
        """Remove a connection that has ended."""

    def make_room_for_source(self, asker: "Connection") -> bool:
        """Drop a connection that holds more sources than `asker`, and does less; return whether there was one."""

    def regulate_memory(self) -> None:
        """Apply what the memory of all clients allows now: read from them, or from some of them, or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What all connections of a server share."""

    scheduler: Scheduler
    store: StoreAccess
    registry: Registry
    authenticator: Authenticator
    grants: Grants
    parties: Parties
    budget: MemoryBudget
    paused: Paused
    pressure: Pressure
    questions: QuestionOrder
    counters: ClientCounters
    log: ClientLog
    patience: Patience
    proxies: Networks
    terms: SessionTerms


class Connection(asyncio.Protocol):
    """A client's connection. All methods run in the server's event loop. `number` is unique among connections."""

    record: ClientRecord
    answering: Answering
    reading: Reading

    def __init__(self, number: int, services: Services) -> None:
        self._number = number
        self._sender: str | int = number  # whose turn in the store its deliveries take: a known client's, or its own
        self._services = services
        self._scheduler = services.scheduler
        self._registry = services.registry
        self._store = services.store
        self._promises_nothing = services.terms.durability == "none"
        self._transport: asyncio.Transport
        self._connected_at: float
        self._served_at: float  # when the server last did something that clients connect for
        self._watch: Watch
        self._life = Lifecycle()
        self._session: Session = UnknownProtocol()
        self._opening: Opening | None = Opening()  # None once the client's protocol is identified
        self.memory = MemoryAccount(services.budget)
        self._questions = Questions(
            services.questions,
            services.store,
            self.memory,
            takes_answers=self._takes_answers,
            on_answer=self._question_answered,
        )
        self._deliveries = 0  # in the store's queue
        self._held_deliveries = 0  # of these, in wait for a name on the disk: perhaps for days
        self._will_judge = False  # `_judge_more` is scheduled
        self._refused_before: int | None = None  # lines, before it was noticed that the client has gone
        self._is_admitted = False
        self._granted_sources = 0
        self._tls: TlsLayer | None = None
        self._is_cut_short = False  # the client has not declared the end of its data

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit a new connection, or refuse it if the server is full or stopping."""
        assert isinstance(transport, asyncio.Transport)
        services = self._services
        self._transport = transport
        address, port = (transport.get_extra_info("peername") or ("unknown", 0))[:2]
        self.record = ClientRecord(PeerInfo(str(address), port), services.counters, services.log)
        self._await_first_bytes(expects_header=services.proxies.include(str(address)))
        self._connected_at = self._served_at = self._scheduler.time()
        self._watch = Watch(services.patience, self._connected_at)
        self.answering = Answering(transport, self._life, self._watch, self.memory, self._scheduler)
        self.reading = Reading(
            self,
            transport,
            life=self._life,
            watch=self._watch,
            memory=self.memory,
            answering=self.answering,
            scheduler=self._scheduler,
            pressure=services.pressure,
            paused=services.paused,
        )
        self._set_socket_options()
        self.record.why_ended = self._registry.admit(self)
        self._is_admitted = not self.record.why_ended
        if self._is_admitted:
            self.reading.regulate()
        else:
            self.finish()

    def _await_first_bytes(self, *, expects_header: bool) -> None:
        if isinstance(self._transport, TlsLayer):
            self._tls = self._transport
            self._tls.begin(expects_header=expects_header)  # comes before the handshake
        else:
            self._opening = Opening(expects_header=expects_header)

    def _set_socket_options(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Judge what has arrived and submit it to the store."""
        self._watch.heard = self._scheduler.time()
        self.reading.was_read(len(data))
        if not self._life.takes_input:
            return
        if self._opening is not None:
            self._open(self._opening, data)
        else:
            self._take_data(data)

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
        self.answering.blocked()
        self.reading.regulate()

    def resume_writing(self) -> None:
        """Resume: the client is reading its acks again."""
        self.answering.unblocked()
        self._finish_if_done()
        self._questions.proceed()
        self.continue_judging()
        self.reading.regulate()

    def connection_lost(self, error: Exception | None) -> None:
        """Remove the connection. Its complete messages are in the store's queue and stay there."""
        self._life.on(Event.LOSE)
        self.answering.discard()
        self._questions.discard()
        self._release_sources()
        if self.reading.grant is not None:
            self._services.grants.leave(self.reading.grant, sources=self._granted_sources)
        if (party := self.party) is not None:
            party.remove(self.reading)
            self.memory.leave()
            self._services.parties.forget_if_gone(party)
        self._registry.forget(self)
        is_silent = self._is_admitted and self._opening is not None and self._opening.is_silent
        self.record.ended(_why_closed(error), is_silent=is_silent)

    def _release_sources(self) -> None:
        self._discard_input()
        farewell = self._session.leave()
        self._account_for_input()
        if farewell:
            self._submit(farewell)

    # --- identifying the client and its protocol

    def _open(self, opening: Opening, data: bytes) -> None:
        awaited_header = opening.awaits_header
        opened = opening.receive_data(data)
        if awaited_header and opening.header:
            self.came_through_proxy(opening.header.address, opening.header.port)
        self._begin(opened)

    def _begin(self, opened: Opened | None) -> None:
        """Start the session of the protocol that the client's first bytes show, or close on a stranger."""
        if opened is None:
            self._account_for_input()
            self._registry.regulate_memory()
            return
        self._opening = None
        if isinstance(opened.peer, Stranger):
            self.turn_away(opened.peer)
            return
        if opened.peer is Speaks.DELIVERY:
            self._begin_session(DeliverySession(self, self._number, terms=self._services.terms))
        else:
            self._start_plain_session()
        self._take_data(opened.data)

    def _begin_session(self, session: Session) -> None:
        self._session = self.reading.session = session

    def came_through_proxy(self, address: str, port: int) -> None:
        """Take what a proxy says about the client, if anything."""
        if address:
            self.record.came_through_proxy(address, port)

    def turn_away(self, stranger: Stranger) -> None:
        """Close on a peer that is not a log client, or does not speak TLS where it must."""
        self._opening = None
        self.record.note_stranger(stranger)
        self._ignore_input()
        self._send([(stranger.answer, 1)] if stranger.answer else [])

    def _start_plain_session(self) -> None:
        answer = self.identify(None)
        folder = answer.folder if isinstance(answer, Principal) else ""
        log = plain_log(self.record.label.peer.address, identity=folder)
        self._begin_session(PlainSession(self, log, terms=self._services.terms))
        if isinstance(answer, Denied):
            self.answer_now(denial_line(answer.reason))
            self._ignore_input()
            self._finish_if_done()

    def identify(self, credentials: Credentials | None) -> Principal | Denied | TokenWanted:
        """Authenticate a client that has sent a hello, or speaks the plain protocol; see Authenticator."""
        answer = self._services.authenticator.check(credentials, self.record.label.peer)
        if isinstance(answer, TokenWanted):
            return answer
        host, session = (credentials.host, self._session) if credentials else ("", PlainSession)
        self.record.identified(answer, host=host, protocol=session.protocol)
        if isinstance(answer, Principal):
            self.reading.grant = self._services.grants.enter(answer)
            if (party := self._services.parties.enter(answer)) is not None:
                party.add(self.reading)
                self.memory.join(party)
            if credentials or answer != ANONYMOUS:
                self._sender = owner_of(answer, credentials).name
        return answer

    def end_unless_still_admitted(self) -> None:
        """End a connection whose client would not be admitted any more, or with other limits: it logs in again."""
        principal = self.record.label.principal
        if principal and self._life.is_open and not self._services.authenticator.still_admits(principal):
            self.record.ends_because("its entry in the clients file was changed or removed")
            self.answer_now(denial_line("the entry of this client was changed or removed"))
            self._take_no_more()

    # --- TLS

    def secured(self, engine: TlsEngine) -> None:
        """Take what the handshake has shown about the client."""
        self.record.secured(names_in(engine.certificate))

    @property
    def _is_shaking(self) -> bool:
        return self._tls is not None and not self._tls.is_secured and self._life.is_open

    def handshake_failed(self, error: Exception | str, certificate: bytes = b"") -> None:
        """Log why there will be no connection with TLS, and close; `certificate` is what the client offers."""
        self._opening = None
        self.record.note_handshake_failed(handshake_failure(error, certificate))
        self._ignore_input()
        self._finish_if_done()

    def tls_broke(self, error: Exception) -> None:
        """Close: nobody knows what else the client wanted to send. What is complete is stored, and sent again."""
        self.record.note_dropped(f"what it sent is not TLS: {handshake_failure(error).reason}")
        self.answering.discard()
        self._questions.discard()
        self._ignore_input()
        self._transport.close()

    def cut_short(self) -> bool:
        """Take the end of a client that has not declared it: somebody else may have cut the connection."""
        self._is_cut_short = True
        return self.eof_received()

    def account_for_input(self) -> None:
        """Charge what is held of the client, which has sent something that is not decrypted yet."""
        self._watch.heard = self._scheduler.time()
        self.memory.one_read = 0
        self._account_for_input()
        self._registry.regulate_memory()
        self.reading.regulate()

    # --- from bytes to the store

    def _take_data(self, data: bytes) -> None:
        session, scheduler = self._session, self._scheduler
        if scheduler.is_pass_full(self.party) and not self.memory.has_turn and self._may_take_long(data):
            self._leave_to_turn(data)
            return
        session.inflate_at_once(is_allowed=not self.memory.is_under_pressure)
        self.answering.gather()
        turn = session.take(data)
        self.answering.release()
        scheduler.work(session.work, self.party)
        self._take(turn)

    def _may_take_long(self, data: bytes) -> bool:
        """Whether judging `data` may take more than a small part of a step."""
        return not (self._session.is_continued_by(data) if self.memory.partial else is_small(data))

    def _leave_to_turn(self, data: bytes) -> None:
        session = self._session
        session.hold(data)
        self.memory.hold(self._partial_bytes, session.unjudged_bytes, session.open_sources)
        self.memory.defer(len(data))
        if session.has_more and not self._will_judge:
            self._judge_soon()
        self._registry.regulate_memory()
        self.reading.regulate()

    def _take(self, turn: Turn) -> None:
        self._account_for_input()
        for delivery in turn.deliveries:
            self._submit(delivery)
        if turn.is_broken:
            self.record.ends_because(f"it broke the protocol: {self.record.last_rejection}")
            self._take_no_more()
        elif turn.has_ended:
            self._ignore_input()
            self._finish_if_done()
        self._questions.proceed()
        if turn.deliveries or self._session.has_more:
            self.reading.took_turn()
        self._registry.regulate_memory()
        self.reading.regulate()
        if self._session.has_more and not self._will_judge:
            self._judge_soon()
            self.reading.regulate()

    def _submit(self, delivery: ClientDelivery) -> None:
        self._deliveries += 1
        delivery.sender = self._sender
        self.memory.submitted(delivery.cost)
        if self._promises_nothing and self._session.answers_on_receipt:
            answers, delivery.answers = delivery.answers, []
            self._send(answers)
        self._store.submit(delivery)

    def _judge_soon(self) -> None:
        self._will_judge = True
        self._scheduler.call_soon(self._judge_more, self.party)

    def _judge_more(self) -> None:
        """Judge the next step of a large frame; between steps, other clients have their turn."""
        self._will_judge = False
        if self._life.is_lost:
            return
        try:
            self._judge_step()
        except Exception as error:  # the transport calls nothing of this, and would not end the connection
            self.fail(error)

    def _judge_step(self) -> None:
        if self.reading.must_wait:
            self.reading.regulate()
        elif self._session.has_more and self._is_wasted():
            self._ignore_input()
            self._transport.abort()
            return
        elif self._session.has_more:
            self.memory.defer(0)
            self._session.inflate_at_once(is_allowed=not self.memory.is_under_pressure)
            self.answering.gather()
            turn = self._session.take_more()
            self.answering.release()
            self._scheduler.work(self._session.work, self.party)
            self._take(turn)
        if self._life.is_ending and not self._session.has_more:
            self._take_end()

    def _is_wasted(self) -> bool:
        """Whether the client has gone and needs nothing more: it sends again what has no ack, or all of it is refused.

        Refusing lines takes the most time for each byte, and meanwhile the connection keeps its place from others.
        """
        if not self.answering.is_reset():
            return False
        if self._session.expects_signs_of_life:
            return True
        if self._refused_before is None:
            self._refused_before = self.record.lines_rejected
        is_wasted = self.record.lines_rejected - self._refused_before >= _MOST_UNHEARD
        if is_wasted:
            self.record.ends_because(f"it has gone, and {_MOST_UNHEARD} lines were refused that it had sent before")
        return is_wasted

    def continue_judging(self) -> None:
        """Judge more of what was read, if there is more and nothing keeps it waiting."""
        is_unfinished = self._session.has_more or self._life.is_ending
        if is_unfinished and not self._will_judge and not self.reading.must_wait:
            self._judge_soon()

    def _take_end(self) -> None:
        takes_input = self._life.takes_input
        self._life.on(Event.END_TAKEN)
        if takes_input and self._is_cut_short:
            self._discard_input()
        elif takes_input:
            if self._opening is not None and (opened := self._opening.receive_eof()):
                self._begin(opened)
            self._take(self._session.take_end())
        self._finish_if_done()

    # --- from the store to answers

    def stored(self, delivery: ClientDelivery) -> None:
        """Take a delivery back from the store; one `after_stored` follows for the group."""
        self._deliveries -= 1
        self._held_deliveries -= delivery.is_held
        self.memory.stored(delivery.cost, was_held=delivery.is_held)
        if self._life.is_lost and (party := self.party) is not None:
            self._services.parties.forget_if_gone(party)
        elif not self._life.is_lost and not delivery.is_given_up:
            self.record.lines_acked += self._session.stored(delivery)

    def held_back(self, delivery: ClientDelivery) -> None:
        """Note that a delivery has to wait for a name on the disk."""
        self._held_deliveries += 1
        self.memory.hold_back(delivery.cost)

    def after_stored(self) -> None:
        """Send the answers to a stored group, and resume judging and reading."""
        self._served_at = self._scheduler.time()
        if self._life.is_lost or self._transport.is_closing():
            return
        self._send(self._session.take_answers())
        self.continue_judging()
        self.reading.regulate()

    def answer_now(self, line: bytes) -> None:
        """Send an answer that does not wait for the store."""
        if self._life.can_answer:
            self._send([(line, 1)])

    def send_sign_of_life(self) -> None:
        """Send a heartbeat that says whether the store is storing."""
        self.answer_now(self._store.sign_of_life())

    def ask(self, question: Question, owner: Owner) -> str | None:
        """Have another thread answer a question of `owner`; return what is wrong if the client asks too much."""
        return self._questions.take(question, owner)

    def _question_answered(self, line: bytes) -> None:
        self._served_at = self._scheduler.time()
        self.answer_now(line)
        self.continue_judging()
        self.reading.regulate()

    def _takes_answers(self) -> bool:
        return self._life.can_answer and not self._watch.is_blocked and not self.answering.is_pending

    def damaged_sources(self, owner: str) -> Sequence[str]:
        """Return sources of an owner that are known to be damaged."""
        return self._store.damaged_sources(owner)

    def notify_damage(self, sources: Mapping[str, Sequence[str]]) -> None:
        """Notify the client if it shipped any of `sources`, by the ids of clients, which are damaged."""
        if self._life.can_answer and not self.memory.is_exhausted:
            self._session.notify_damage(sources)

    def _send(self, answers: list[tuple[bytes, int]]) -> None:
        self.answering.add(answers)
        self._finish_if_done()

    # --- limits

    @property
    def has_nothing_pending(self) -> bool:
        """Whether every complete message is stored and every ack handed to the kernel."""
        return not self._deliveries and self._has_nothing_to_do

    @property
    def _has_nothing_to_do(self) -> bool:
        return not (
            self.answering.is_pending or self._session.has_more or self._questions.is_busy or self._life.is_ending
        )

    def idle_s(self, now: float) -> float:
        """Return for how long the client has had nothing stored or answered; 0 while something is pending.

        A client that has ended its side only waits for the ack of lines that need a name on the disk: these are stored
        without it as well, and the client does not send them again.
        """
        is_pending = self._deliveries > (self._held_deliveries if self._life.client_has_closed else 0)
        if is_pending or not self._has_nothing_to_do:
            return 0.0
        return now - self._served_at - (UNFINISHED_S if self.memory.partial else 0.0)

    def take_source(self) -> str:
        """Charge one more open source; return why the client must not open it, "" if it may."""
        if not self.memory.has_room_for_source and not self._registry.make_room_for_source(self):
            return "the sources that are open on all connections are too many for this server"
        if self.reading.grant is None:
            return ""
        problem = self.reading.grant.take_source()
        self._granted_sources += not problem
        return problem

    def change_patience(self, patience: Patience) -> None:
        """Apply other time limits from now on."""
        self._services = replace(self._services, patience=patience)
        self._watch.patience = patience

    def sweep(self, now: float, *, others_wait: bool) -> None:
        """Enforce the time limits, and send a waiting client a sign of life.

        If others wait, because the server is full and has refused them, a connection that has not said who it is ends
        as soon as one from a proxy would.
        """
        is_idle = self.has_nothing_pending
        client_waits = self._session.expects_signs_of_life and not (is_idle and self.reading.is_reading)
        patience = self._services.patience
        if self._awaits_header and now - self._connected_at > patience.header_s:
            self.turn_away(NO_HEADER)
        elif self._is_shaking and now - self._connected_at > patience.handshake_s:
            self.handshake_failed(TimeoutError(f"not finished within {patience.handshake_s:g} s"))
        elif others_wait and self._opening is not None and now - self._connected_at > patience.header_s:
            self.record.ends_because("the server is full, and it has not said who it is")
            self.finish()
        untaken_bytes = self.answering.untaken_bytes
        match self._watch.overdue(now, is_idle=is_idle, client_waits=client_waits, untaken_bytes=untaken_bytes):
            case Overdue.CLOSE:
                self._transport.abort()
            case Overdue.ACKS_NOT_TAKEN:
                self._drop(f"it has not read its acks for {patience.ack_stall_s:g} s")
            case Overdue.SILENCE:
                self.record.ends_because(f"silent for {patience.idle_s:g} s")
                self.finish()
            case Overdue.SIGN_OF_LIFE if self._reads_nothing and self.answering.is_reset():
                self._transport.abort()  # only reading would notice it; the client sends again what it has no ack for
            case Overdue.SIGN_OF_LIFE:
                self.send_sign_of_life()

    @property
    def _reads_nothing(self) -> bool:
        return self._life.client_has_closed or not self.reading.is_reading

    @property
    def _awaits_header(self) -> bool:
        first = self._tls or self._opening
        return first is not None and first.awaits_header and self._life.is_open

    def _discard_input(self) -> None:
        self.memory.defer(0)
        self.reading.leave()
        self._session.discard()
        if self._opening is not None:
            self._opening.discard()
        self._account_for_input()

    @property
    def _partial_bytes(self) -> int:
        """How many bytes are held of what the client has sent and not completed."""
        opening = self._opening.held_bytes if self._opening is not None else 0
        encrypted = self._tls.held_bytes if self._tls is not None else 0
        return self._session.buffered_bytes + opening + encrypted

    @property
    def party(self) -> Party | None:
        """The identity that the client has proven, with all its connections."""
        return self.memory.party

    def _account_for_input(self) -> None:
        session, partial = self._session, self._partial_bytes
        if partial <= self.memory.partial or not self.memory.partial:  # another message than before
            self.reading.begins_message()
        self.memory.hold(partial, session.unjudged_bytes, session.open_sources)

    # --- closing

    def stop(self) -> None:
        """Read no more, because the server is stopping; complete messages are still stored and acked."""
        self.record.ends_because("the server is stopping")
        self._life.on(Event.STOP)
        self.reading.regulate()

    def drop_for_memory(self) -> None:
        """Drop the client because others need the memory that it holds, without an error (rule A6).

        What came before an incomplete message is stored and acked, unless the client does not take its answers; its
        questions are forgotten, because they hold memory.
        """
        if self._watch.is_blocked:
            self._drop("memory is short, and it does not read its acks")
            return
        self.record.note_dropped("memory is short, and it has not completed its message for the longest time")
        self._take_no_more()

    @property
    def has_left(self) -> bool:
        """Whether nobody can be answered any more."""
        return self._life.is_lost

    def drop_for_names(self) -> None:
        """Drop the client: too much waits for names on the disk, and most of that is its own."""
        if not self._life.is_lost:
            self._drop("the disk has no room for new files (inodes), and too much of it waits for some")

    def give_place(self) -> None:
        """Close the connection, which is idle, because the server is full and others want to connect."""
        self.record.ends_because("the server is full, and it has been idle for the longest time")
        self._ignore_input()
        self._transport.abort()

    def drop_for_sources(self) -> None:
        """Drop the client: too many sources are open, and it holds more of them than others that need one."""
        self._release_sources()
        self._drop("too many sources are open, and it holds the most of those that store nothing")

    def fail(self, error: Exception) -> None:
        """Log an error of the server itself, and cut this connection: the client sends again what is not acked."""
        self.record.note_failed(error)
        self._drop("the server has failed; its log says why")

    def _drop(self, why: str) -> None:
        self.record.note_dropped(why)
        self.answering.discard()
        self._questions.discard()
        self._ignore_input()
        self._transport.abort()

    def cut(self) -> None:
        """Close immediately, discarding what is still to be sent."""
        self._transport.abort()

    def _take_no_more(self) -> None:
        """Forget what the client has asked and what it sends; close once what came before is answered."""
        self._questions.discard()
        self._ignore_input()
        self._finish_if_done()

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
        self.reading.regulate()
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
