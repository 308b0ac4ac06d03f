"""All connections of a server: admitting them, regulating their memory, enforcing time limits, and closing them all.

Owns the set of connections and creates new ones. Everything runs in the event loop.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from logferry.server.clients.connection.connection import Connection, Services
from logferry.server.clients.connection.patience import Patience
from logferry.server.clients.identities.authenticator import Authenticator, PeerInfo
from logferry.server.clients.identities.grants import Grants
from logferry.server.clients.identities.networks import Networks
from logferry.server.clients.memory.flow_control import MemoryBudget
from logferry.server.clients.memory.parties import Parties
from logferry.server.clients.memory.pressure import Pressure
from logferry.server.clients.reporting.client_log import ClientLog
from logferry.server.clients.reporting.client_record import ClientRecord
from logferry.server.clients.reporting.counters import ClientCounters
from logferry.server.clients.scheduling.held_back import HeldDeliveries
from logferry.server.clients.scheduling.paused import Paused
from logferry.server.clients.scheduling.places import Places, most_sources
from logferry.server.clients.scheduling.questions import QuestionOrder
from logferry.server.clients.services import Scheduler, StoreAccess
from logferry.server.clients.sessions.base import Channel, ClientDelivery, SessionTerms
from logferry.server.clients.tls.failures import TOO_MANY
from logferry.server.clients.tls.layer import TlsLayer, TlsServices

# Connections that the server refuses at a time by closing its half first: the client sees an end and not a reset. Each
# has a descriptor until the client closes, too. More are closed as soon as they are accepted.
_MAX_LINGERING: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterSettings:
    """What a server's settings say about its connections."""

    max_connections: int
    patience: Patience
    terms: SessionTerms
    proxies: Networks = field(default_factory=Networks)


class Roster:
    """The connections of a server; the Registry that each connection uses."""

    def __init__(
        self,
        settings: RosterSettings,
        *,
        scheduler: Scheduler,
        store: StoreAccess,
        authenticator: Authenticator,
        budget: MemoryBudget,
        counters: ClientCounters,
        log: ClientLog,
        tls: TlsServices | None = None,
    ) -> None:
        self._tls = tls
        self._max_connections = counters.max_connections = settings.max_connections
        self._scheduler = scheduler
        self._budget = budget
        self._counters = counters
        self._log = log
        self._parties = Parties(scheduler.call_in_next_pass)
        self._paused = Paused(budget, scheduler)
        self._pressure = Pressure(budget, scheduler, self.regulate_memory)
        self._questions = QuestionOrder(budget, scheduler.time)
        self._places = Places[Connection]()
        self._held = HeldDeliveries(budget, store.give_up)
        self._services = Services(
            scheduler=scheduler,
            store=store,
            registry=self,
            authenticator=authenticator,
            grants=Grants(scheduler.time),
            parties=self._parties,
            budget=budget,
            paused=self._paused,
            pressure=self._pressure,
            questions=self._questions,
            counters=counters,
            log=log,
            patience=settings.patience,
            proxies=settings.proxies,
            terms=settings.terms,
        )
        self._numbers: Iterator[int] = itertools.count(1)
        self._connections: set[Connection] = set()
        self._refused: set[Connection] = set()  # about to close
        self._has_refused = False  # since the last sweep, because the server was full
        self._is_stopping = False

    def reconfigure(self, settings: RosterSettings) -> None:
        """Apply new settings: to new connections; the time limits and the memory limit to all. Nobody is dropped."""
        self._max_connections = self._counters.max_connections = settings.max_connections
        self._services = replace(
            self._services, patience=settings.patience, terms=settings.terms, proxies=settings.proxies
        )
        for connection in self._connections:
            connection.change_patience(settings.patience)
        self.regulate_memory()

    def new_connection(self) -> Connection:
        """Create the connection for a client that has just been accepted."""
        return Connection(next(self._numbers), self._services)

    def new_encrypted_connection(self) -> TlsLayer:
        """Create the same for a client that must speak TLS."""
        assert self._tls
        return TlsLayer(self.new_connection(), self._tls)

    @property
    def room_for_handshakes(self) -> int:
        """How many connections to begin a handshake with now: each costs much more than one that waits for it."""
        return self._tls.handshakes.can_take if self._tls else 0

    def note_surplus(self, address: Sequence[Any]) -> None:
        """Count and log a connection that was closed because too many wait for their handshake."""
        self._counters.connections_total += 1
        record = ClientRecord(PeerInfo(*address[:2]), self._counters, self._log)
        record.note_handshake_failed(TOO_MANY)

    def has_room_for(self, number: int) -> bool:
        """Whether the server can take this many more connections, or refuse them politely; a few may linger."""
        taken = len(self._connections) + len(self._refused)
        return taken + number <= self._max_connections + _MAX_LINGERING

    def note_refused(self) -> None:
        """Count and log a connection that was closed as soon as it was accepted."""
        self._counters.connections_total += 1
        self._note_refused()

    def _note_refused(self) -> None:
        self._has_refused = True
        self._counters.connections_refused += 1
        self._log.refused(len(self._connections))

    # --- for the connections: see Registry

    def admit(self, connection: Connection) -> str:
        """Register a new connection; return why the server refuses it, or "" if it is admitted."""
        self._counters.connections_total += 1
        if self._is_stopping:
            self._refused.add(connection)
            return "the server is stopping"
        if len(self._connections) >= self._max_connections and not self._make_room():
            self._refused.add(connection)
            self._note_refused()
            return "the server is full"
        self._connections.add(connection)
        self._note_number()
        return ""

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest; return whether one has been idle long enough."""
        idle = self._places.longest_idle(self._connections, self._scheduler.time())
        if idle is None:
            return False
        self._connections.discard(idle)
        idle.give_place()
        return True

    def make_room_for_source(self, asker: Connection) -> bool:
        """Drop a connection that holds more sources than `asker`, and does less; return whether there was one."""
        holder = most_sources(self._connections, asker, self._scheduler.time())
        if holder is None:
            return False
        self._connections.discard(holder)
        holder.drop_for_sources()
        return True

    def forget(self, connection: Connection) -> None:
        """Remove a connection that has ended."""
        self._connections.discard(connection)
        self._refused.discard(connection)
        self._note_number()
        self.regulate_memory()

    def _note_number(self) -> None:
        self._counters.connections = self._budget.clients = len(self._connections)

    def regulate_memory(self) -> None:
        """Apply what the memory of all clients allows now: read from them, or from some of them, or not."""
        if self._budget.update():
            self._apply_pressure()
        elif not self._budget.is_tight:  # the usual case
            self._questions.proceed()
            return
        if self._budget.waits_for_clients:
            readings = (connection.reading for connection in self._connections)
            self._pressure.drop_those_behind(readings, self._scheduler.time())
        self._pressure.regulate(self._scheduler.time())
        self._questions.proceed()

    def _apply_pressure(self) -> None:
        if not self._budget.is_tight:
            self._counters.memory_full_since = None
        elif self._counters.memory_full_since is None:
            self._counters.memory_full_since = self._scheduler.time()
        if self._budget.is_tight and not self._budget.is_store_alone:
            for connection in list(self._connections):
                connection.reading.regulate()
            return
        for connection in list(self._connections):
            connection.reading.apply_pressure()
        self._paused.resume()

    # --- for the server

    def answer(self, group: Sequence[ClientDelivery]) -> None:
        """Answer each client once for a group that has come back from the store; an error costs only its client."""
        for delivery in group:
            if delivery.is_held:
                self._held.remove(delivery)
            try:
                delivery.channel.stored(delivery)
            except Exception as error:
                delivery.channel.fail(error)
        self.regulate_memory()
        if self._budget.is_store_alone and self._budget.has_room_in_store:
            self._paused.read_some()
        channels: Iterable[Channel] = {delivery.channel: None for delivery in group}
        for channel in channels:
            try:
                channel.after_stored()
            except Exception as error:
                channel.fail(error)

    def hold(self, group: Sequence[ClientDelivery]) -> None:
        """Note that the store has to hold deliveries back while it stores others."""
        for delivery in group:
            delivery.channel.held_back(delivery)
        self._held.add(group)
        self.regulate_memory()

    def notify_damage(self, sources: Mapping[str, Sequence[str]]) -> None:
        """Notify connected clients of their damaged sources."""
        for connection in list(self._connections):
            connection.notify_damage(sources)

    def sweep(self) -> None:
        """Enforce the time limits of every connection, and log the counts of suppressed messages."""
        now = self._scheduler.time()
        others_wait, self._has_refused = self._has_refused, False
        for connection in [*self._connections, *self._refused]:
            connection.sweep(now, others_wait=others_wait)
        self.regulate_memory()
        self._log.flush_if_due()

    def end_those_not_admitted(self) -> None:
        """End connections of clients that the authenticator would not admit any more."""
        for connection in list(self._connections):
            connection.end_unless_still_admitted()

    def stop_reading(self) -> None:
        """Accept no new clients and read no new data: the server is stopping."""
        self._is_stopping = True
        for connection in list(self._connections):
            connection.stop()

    @property
    def has_nothing_pending(self) -> bool:
        """Whether every complete message is stored and its acks are handed to the kernel."""
        return all(connection.has_nothing_pending for connection in self._connections)

    @property
    def is_empty(self) -> bool:
        """Whether all clients have left."""
        return not self._connections

    def finish(self) -> None:
        """Close the server's half of every connection."""
        for connection in list(self._connections):
            connection.finish()

    def cut(self) -> None:
        """Abort every connection immediately."""
        for connection in [*self._connections, *self._refused]:
            connection.cut()
