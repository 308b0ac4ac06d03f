"""Memory pressure: which client may complete its message although memory is short, and which client is dropped.

Owns the order in which clients get their turn. A turn is the permission to send the rest of one message; it ends with
that message, so that under any number of large messages each is completed in its turn, and memory stays bounded. A
client that keeps memory and does nothing that would free it is dropped; the one that has done so longest, first.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from logferry.server.clients.flow_control import MemoryAccount, MemoryBudget

# Each may hold one message above the limit of all: 16 MiB at most.
_MAX_TURNS: Final = 2

# What a client must send of a message that it has begun, or take of its answers, per second, while others wait for the
# memory that it holds. A modem does not; any network that carries logs does.
LEAST_BYTES_PER_S: Final = 64 * 1024

# How far behind this rate a client may be. Below one second, a pause of an honest client would count.
_MAX_BEHIND_S: Final = 1.0


class Member(Protocol):
    """A connection under pressure."""

    @property
    def memory(self) -> MemoryAccount:
        """What the client holds."""

    def regulate(self) -> None:
        """Go on with the client if and only if there is room."""

    def take_turn(self) -> None:
        """Complete the message: read from the client, whatever others hold."""

    def behind_s(self, now: float) -> float:
        """Return for how long the client has done nothing about the memory that it holds; 0 if it waits for us."""

    def drop_for_memory(self) -> None:
        """Drop the client because others need the memory that it holds."""


class Pressure:
    """The turns of all clients."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._waiting: dict[Member, None] = {}  # in the order in which they came
        self._turns: set[Member] = set()

    def wait(self, client: Member) -> None:
        """Note that a client waits for the room to complete its message."""
        if client not in self._turns:
            self._waiting[client] = None

    def leave(self, client: Member) -> None:
        """End the turn of a client, or its wait."""
        self._waiting.pop(client, None)
        self._turns.discard(client)
        client.memory.has_turn = False

    def regulate(self) -> None:
        """Give turns under pressure; end all of them without."""
        if not self._budget.is_tight:
            for client in [*self._turns]:
                self.leave(client)
            self._waiting.clear()
            return
        for client in [*self._turns]:  # the store may have caught up
            client.regulate()
        while self._waiting and len(self._turns) < _MAX_TURNS and self._budget.has_turns:
            client = next(iter(self._waiting))
            del self._waiting[client]
            self._turns.add(client)
            client.take_turn()

    def drop_those_behind(self, clients: Iterable[Member], now: float) -> None:
        """Drop clients until there is room, if it is clients that the others wait for."""
        budget = self._budget
        if not budget.waits_for_clients:
            return
        least = budget.total // (2 * max(1, budget.clients))  # dropping a client that holds less would not help
        held = ((client.behind_s(now), client) for client in clients if client.memory.held >= least)
        behind = [(seconds, client) for seconds, client in held if seconds > _MAX_BEHIND_S]
        for _, client in sorted(behind, key=lambda each: each[0], reverse=True):
            if budget.total <= budget.limit // 2:
                return
            client.drop_for_memory()
