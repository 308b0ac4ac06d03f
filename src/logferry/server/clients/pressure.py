"""Memory pressure: which client may complete its message although memory is short, and which client is dropped.

Owns the order in which clients get their turn: who holds least is first, so that nobody waits for many that have large
messages, and now and then who waits longest. A turn is the permission to send the rest of one message; it ends with
that message, so that under any number of large messages each is completed in its turn, and memory stays bounded; a turn
that takes long ends for a client that holds less. A client that keeps memory and does nothing that would free it is
dropped; the one that has done so longest, first.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from logferry.server.clients.flow_control import MemoryAccount, MemoryBudget

# What a client must send of a message that it has begun, or take of its answers, per second, while others wait for the
# memory that it holds. A modem does not; any network that carries logs does.
LEAST_BYTES_PER_S: Final = 256 * 1024

# What all clients with an unfinished message together need not exceed: a busy server reads more slowly than a large
# fleet could send.
_ENOUGH_BYTES_PER_S: Final = 16 * 1024 * 1024

# How far behind this rate a client may be: a pause of an honest client is shorter, even on a busy machine.
_MAX_BEHIND_S: Final = 0.75

# What the client that has the turn must send while others wait for theirs. Otherwise it waits for its next one.
_TURN_BYTES_PER_S: Final = 1024 * 1024

# How long a turn lasts while a client waits that holds less. Such a turn ends; if memory is very short, its client is
# dropped, unless it sends at a rate at which its message would soon have been complete.
_LONG_TURN_S: Final = 0.5
_LONG_TURN_BYTES_PER_S: Final = 4 * 1024 * 1024

# What clients hold is compared in pieces of this size: a read more or less makes no difference.
_PIECE_BYTES: Final = 64 * 1024

# Of this many turns, one goes to the client that waits longest.
_OLDEST_IN: Final = 4

# How often that is checked.
_CHECK_S: Final = 0.25


class Member(Protocol):
    """A connection under pressure."""

    @property
    def memory(self) -> MemoryAccount:
        """What the client holds."""

    def regulate(self) -> None:
        """Go on with the client if and only if there is room."""

    def take_turn(self) -> None:
        """Complete the message: read from the client, whatever others hold."""

    def takes_rest(self) -> bool:
        """Whether what may be the rest of the client's message has arrived; it is then read next, once per message."""

    def read_once(self, size: int) -> None:
        """Read up to `size` bytes once, whatever others hold."""

    def behind_s(self, now: float, least_per_s: int) -> float:
        """Return for how long the client has done nothing about the memory that it holds; 0 if it waits for us.

        It must have sent `least_per_s` of its message, per second.
        """

    def drop_for_memory(self) -> None:
        """Drop the client because others need the memory that it holds."""


class Pressure:
    """Which client has the turn, and which ones wait for it."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._waiting: dict[Member, None] = {}  # in the order in which they came
        self._turn: Member | None = None  # may hold one message above the limit: 32 MiB if it inflates
        self._last: MemoryAccount | None = None  # of the client that had the turn before
        self._checked_at = 0.0
        self._turn_since = 0.0
        self._turns = 0  # given
        self._unfinished: dict[Member, int] = {}  # how many turns of the same message have ended

    def wait(self, client: Member) -> None:
        """Note that a client waits for the room to complete its message."""
        if client is not self._turn:
            self._waiting[client] = None

    def leave(self, client: Member) -> None:
        """End the turn of a client, or its wait."""
        self._waiting.pop(client, None)
        self._unfinished.pop(client, None)
        client.memory.has_turn = False
        if self._turn is client:
            self._turn, self._last = None, client.memory

    def regulate(self, now: float) -> None:
        """Under pressure, give the turn to the next client, or go on with the one that has it; without, end it."""
        if not self._budget.is_tight:
            if self._turn:
                self.leave(self._turn)
            self._waiting.clear()
            self._unfinished.clear()
            return
        if self._turn:  # the store may have caught up
            self._turn.regulate()
        while self._waiting and self._has_turn_to_give:
            self._turn, self._turn_since = self._next(), now
            del self._waiting[self._turn]
            self._turn.take_turn()

    def _next(self) -> Member:
        self._turns += 1
        return next(iter(self._waiting)) if self._turns % _OLDEST_IN == 0 else min(self._waiting, key=self._rank)

    def _rank(self, client: Member) -> tuple[int, int]:
        return self._unfinished.get(client, 0), client.memory.partial // _PIECE_BYTES

    @property
    def _has_turn_to_give(self) -> bool:
        budget = self._budget
        if self._turn or not budget.has_turns:
            return False
        if budget.total <= budget.most_without_turns or self._last is None:
            return True
        return not (self._last.unjudged or self._last.unstored)  # what it completed in its turn

    def drop_those_behind(self, clients: Iterable[Member], now: float) -> None:
        """Drop clients until there is room, if it is clients that the others wait for. Call this often."""
        budget = self._budget
        if not budget.waits_for_clients or now - self._checked_at < _CHECK_S:
            return
        self._checked_at = now
        # Dropping a client that holds less would not help, unless the others wait for it to complete its message.
        least = budget.total // (2 * max(1, budget.clients))
        members = list(clients)
        unfinished = sum(1 for client in members if client.memory.partial)
        least_per_s = min(LEAST_BYTES_PER_S, _ENOUGH_BYTES_PER_S // max(1, unfinished))
        behind: list[tuple[float, Member]] = []
        for client in members:
            if (client.memory.held < least and client is not self._turn) or client.takes_rest():
                continue
            seconds = client.behind_s(now, least_per_s)
            if seconds > _MAX_BEHIND_S:
                behind.append((seconds, client))
        for _, client in sorted(behind, key=lambda each: each[0], reverse=True):
            if budget.total <= budget.limit // 2:
                return
            client.drop_for_memory()
        self._end_slow_turn(now)

    def _end_slow_turn(self, now: float) -> None:
        turn = self._turn
        if turn is None or not self._waiting:
            return
        is_slow = turn.behind_s(now, _TURN_BYTES_PER_S) > _MAX_BEHIND_S
        is_long = now - self._turn_since > _LONG_TURN_S and min(map(self._rank, self._waiting)) < self._rank(turn)
        if self._budget.total <= self._budget.most_without_turns:
            if is_slow or is_long:
                self._end_unfinished(turn)
        elif is_slow or (is_long and turn.behind_s(now, _LONG_TURN_BYTES_PER_S) > _MAX_BEHIND_S):
            turn.drop_for_memory()  # its next turn could add as much

    def _end_unfinished(self, turn: Member) -> None:
        turns = self._unfinished.get(turn, 0) + 1
        self.leave(turn)
        self._unfinished[turn] = turns
        turn.regulate()
