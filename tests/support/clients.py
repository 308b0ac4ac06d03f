"""Connections without sockets: a transport, a clock and a store that a test holds in its hands."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from logferry.protocol.lines.validation import Accept
from logferry.protocol.messages.requests import Question
from logferry.protocol.plain.server import Limits
from logferry.server.clients.bridge.store_bridge import answer_to, sign_of_life
from logferry.server.clients.connection.connection import Connection
from logferry.server.clients.connection.patience import Patience
from logferry.server.clients.identities.authenticator import Authenticator, Everybody
from logferry.server.clients.identities.networks import Networks
from logferry.server.clients.memory.flow_control import MemoryBudget
from logferry.server.clients.memory.parties import Party
from logferry.server.clients.reporting.client_log import ClientLog
from logferry.server.clients.reporting.counters import ClientCounters
from logferry.server.clients.roster import Roster, RosterSettings
from logferry.server.clients.sessions.base import ClientDelivery, SessionTerms
from logferry.server.storage.memory_store import MemoryStore
from logferry.server.storage.owners import Owner

MIB = 1024 * 1024


class ManualScheduler:
    """A clock that a test moves, and callbacks that run when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._waiting: deque[Callable[[], object]] = deque()
        self.is_full = False
        self.worked = 0.0  # steps
        self.later: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        """See Scheduler; likewise below."""
        return self.now

    def is_pass_full(self, party: Party | None) -> bool:
        return self.is_full

    def work(self, steps: float, party: Party | None) -> None:
        self.worked += steps

    def call_soon(self, callback: Callable[[], object], party: Party | None = None) -> None:
        self._waiting.append(callback)

    call_in_next_pass = call_soon

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> None:
        self.later.append((self.now + delay_s, callback))

    def run_what_is_due(self) -> None:
        """Run what was to be called by now."""
        due = [callback for at, callback in self.later if at <= self.now]
        self.later = [each for each in self.later if each[0] > self.now]
        for callback in due:
            callback()

    def run(self) -> None:
        """Run everything that waits, and what that adds."""
        while self.run_one():
            pass

    def run_one(self) -> bool:
        """Run what waits for longest; return False if nothing waits."""
        if not self._waiting:
            return False
        self._waiting.popleft()()
        return True


class MemoryAccess:
    """The StoreAccess of a memory store, in one thread."""

    def __init__(self, store: MemoryStore, scheduler: ManualScheduler) -> None:
        self._store = store
        self._scheduler = scheduler
        self.answer: Callable[[Sequence[ClientDelivery]], None]

    def submit(self, delivery: ClientDelivery) -> None:
        """See StoreAccess; likewise below."""
        self._store.submit(delivery, self._on_stored)

    def give_up(self, deliveries: Collection[ClientDelivery]) -> None:
        self._store.give_up(deliveries)

    def damaged_sources(self, owner: str) -> Sequence[str]:
        return self._store.damaged_sources(owner)

    def sign_of_life(self) -> bytes:
        return sign_of_life(self._store)

    def ask(self, question: Question, owner: Owner, on_answer: Callable[[bytes], None]) -> None:
        line = answer_to(question, owner, self._store)
        self._scheduler.call_in_next_pass(lambda: on_answer(line))

    def _on_stored(self, group: Sequence[ClientDelivery]) -> None:
        self._scheduler.call_in_next_pass(lambda: self.answer(group))


class FakeSocket:
    """Takes options, and has no descriptor to ask about."""

    def setsockopt(self, *_: object) -> None:
        """Take an option."""

    def fileno(self) -> int:
        """Refuse: a test says itself what the transport holds."""
        raise OSError("a fake socket has no descriptor")


class FakeClient(asyncio.Transport):
    """Both the transport that a connection has and the client at its other end."""

    def __init__(self, world: "World", connection: Connection, address: str, port: int) -> None:
        super().__init__({"peername": (address, port), "socket": FakeSocket()})
        self._world = world
        self.connection = connection
        self.received = b""
        self.writes = 0
        self.max_size = 0  # of a read; 0: as asyncio has it
        self.untaken_bytes = 0  # of what the server has written
        self.is_read_from = True
        self.server_has_closed = False
        self.was_cut = False
        self.is_gone = False
        connection.connection_made(self)

    # --- what a client does

    def send(self, data: bytes) -> None:
        """Send bytes, and let the server do what they lead to."""
        self.connection.data_received(data)
        self._world.run()

    def finish_sending(self) -> None:
        """Close the sending half."""
        if not self.connection.eof_received():
            self.close()
        self._world.run()

    def leave(self, error: Exception | None = None) -> None:
        """Close the connection, or have it break."""
        if not self.is_gone:
            self.is_gone = True
            self.connection.connection_lost(error)
            self._world.run()

    def answers(self) -> list[dict[str, Any]]:
        """Return the answers since the last call."""
        lines, self.received = self.received.splitlines(), b""
        return [json.loads(line) for line in lines]

    def statuses(self) -> list[str]:
        """Return the statuses of the answers since the last call."""
        return [answer["status"] for answer in self.answers()]

    # --- what asyncio does

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.Transport; likewise below."""
        assert not self.server_has_closed, "a write after the end"
        self.received += data
        self.writes += 1

    def write_eof(self) -> None:
        self.server_has_closed = True

    def pause_reading(self) -> None:
        assert self.is_read_from, "paused twice"
        self.is_read_from = False

    def resume_reading(self) -> None:
        assert not self.is_read_from, "resumed twice"
        self.is_read_from = True

    def is_closing(self) -> bool:
        return self.is_gone or self.was_cut

    def get_write_buffer_size(self) -> int:
        return self.untaken_bytes

    def close(self) -> None:
        self.server_has_closed = True
        self._world.scheduler.call_in_next_pass(self.leave)

    def abort(self) -> None:
        self.was_cut = True
        self._world.scheduler.call_in_next_pass(self.leave)


class World:
    """A roster on a memory store, without an event loop, a socket or a thread."""

    def __init__(
        self,
        *,
        authenticator: Authenticator | None = None,
        durability: str = "fsync",
        max_connections: int = 100,
        memory_limit_bytes: int = 64 * MIB,
        patience: Patience | None = None,
        limits: Limits | None = None,
        proxies: Sequence[str] = (),
        scheduler: ManualScheduler | None = None,
    ) -> None:
        self.scheduler = scheduler or ManualScheduler()
        self.store = MemoryStore(durability=durability)
        self.store.open(lambda: None)
        self.budget = MemoryBudget(memory_limit_bytes)
        self.counters = ClientCounters()
        self.log = ClientLog(clock=self.scheduler.time)
        limits = limits or Limits()
        terms = SessionTerms(limits, Accept.LEVEL_AND_MESSAGE, durability, limits.max_record_bytes, self.store.id)
        access = MemoryAccess(self.store, self.scheduler)
        self.roster = Roster(
            RosterSettings(
                max_connections=max_connections,
                patience=patience or Patience(),
                terms=terms,
                proxies=Networks(proxies),
            ),
            scheduler=self.scheduler,
            store=access,
            authenticator=authenticator or Everybody(),
            budget=self.budget,
            counters=self.counters,
            log=self.log,
        )
        access.answer = self.roster.answer

    def connect(self, address: str = "10.0.0.7", port: int = 5000) -> FakeClient:
        """Connect a client."""
        client = FakeClient(self, self.roster.new_connection(), address, port)
        self.run()
        return client

    def run(self) -> None:
        """Let the server do everything that it has to do now."""
        self.scheduler.run()

    def pass_time(self, seconds: float) -> None:
        """Move the clock, and let the server look at its connections."""
        self.scheduler.now += seconds
        self.roster.sweep()
        self.run()

    def resume_store(self) -> None:
        """Let a stalled store go on."""
        self.store.resume()
        self.run()

    def stored_lines(self) -> list[bytes]:
        """Return all lines that are stored."""
        return b"".join(map(bytes, self.store.records.lines.values())).splitlines(keepends=True)
