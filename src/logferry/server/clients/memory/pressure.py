"""Memory pressure: which clients may complete their messages although memory is short, and which client is dropped.

Owns the order of turns: first whose identity has the fewest, then who has wasted none on its message, who delivers
what it begins, and who holds least; now and then who waits longest. A turn is the permission to send the rest of one
message. Several clients have one at a time, and while others wait, a turn ends as soon as its client is slow: nobody
waits for one that stalls. All together hold at most a reserve above the limit, and one message; beyond that, those are
dropped that have wasted most. A client that keeps memory and does nothing that would free it is dropped, too.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from logferry.server.clients.memory.flow_control import MemoryAccount, MemoryBudget
from logferry.server.clients.memory.parties import Party

# What a client must send of a message that it has begun, or take of its answers, per second, while others wait for the
# memory that it holds. A modem does not; any network that carries logs does.
LEAST_BYTES_PER_S: Final = 256 * 1024

# What all clients with an unfinished message together need not exceed: a busy server reads more slowly than a large
# fleet could send.
_ENOUGH_BYTES_PER_S: Final = 16 * 1024 * 1024

# How far behind this rate a client may be: a pause of an honest client is shorter, even on a busy machine.
_MAX_BEHIND_S: Final = 0.75

# How many clients have a turn at a time, and how many more if they are proven (flow_control.py).
_TURNS: Final = 16
_TURNS_OF_PROVEN: Final = 16

# What the client that has a turn must send while others wait for theirs, and how far behind it may be, or do nothing.
# What a network of 100 Mbit/s carries is three times as much; over a long way, a turn moves a window's worth of data.
_TURN_BYTES_PER_S: Final = 4 * 1024 * 1024
_MAX_BEHIND_IN_TURN_S: Final = 0.1

# How long a turn lasts at most while a client waits that is better.
_LONG_TURN_S: Final = 0.5

# What clients hold is compared in pieces of this size: a read more or less makes no difference.
_PIECE_BYTES: Final = 64 * 1024

# Of this many turns, one goes to the client that waits longest.
_OLDEST_IN: Final = 4

# How often clients are looked at, and turns.
_CHECK_S: Final = 0.25
_CHECK_TURNS_S: Final = 0.05


class Clock(Protocol):
    """What is used of a scheduler (services.py)."""

    def call_later(self, delay_s: float, callback: Callable[[], object], /) -> object:
        """Call `callback` after some seconds."""

    def call_in_next_pass(self, callback: Callable[[], object], /) -> object:
        """Call `callback` in the next pass of the loop."""


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


@dataclass(slots=True)
class _Wasted:
    """Turns of a client that have ended before its message; what it sent in them, and how long they were."""

    turns: int = 0
    sent: int = 0
    seconds: float = 0.0

    @property
    def bytes_per_s(self) -> float:
        return self.sent / max(self.seconds, _CHECK_TURNS_S)


@dataclass(slots=True)
class _Turn:
    """A turn: since when, what the client held of its message then, and whose turn it is."""

    since: float
    partial: int
    party: Party | None


class Pressure:
    """Which clients have a turn, and which ones wait for it."""

    def __init__(self, budget: MemoryBudget, clock: Clock, look_again: Callable[[], None]) -> None:
        """`look_again` is called soon after a client has begun to wait or got a turn; it must call `regulate`."""
        self._budget = budget
        self._clock = clock
        self._look_again = look_again
        self._will_look = self._will_look_now = False
        self._waiting: dict[Member, None] = {}  # in the order in which they came
        self._proven: dict[Member, None] = {}  # of these
        self._turns: dict[Member, _Turn] = {}  # the first may hold one message above the reserve: 32 MiB if it inflates
        self._last: MemoryAccount | None = None  # of the client that had the first turn before
        self._room: tuple[bool, ...] = ()  # in the reserve, as those that have a turn know it
        self._checked_at = self._turns_checked_at = 0.0
        self._given = 0
        self._of_party: Counter[Party | None] = Counter()  # turns
        self._wasted: dict[Member, _Wasted] = {}  # on messages that are still unfinished

    def wait(self, client: Member) -> None:
        """Note that a client waits for the room to complete its message."""
        if client in self._turns or client in self._waiting:
            return
        self._waiting[client] = None
        if client.memory.is_proven:
            self._proven[client] = None
        if not self._will_look_now:
            self._will_look_now = True
            self._clock.call_in_next_pass(self._look_now)

    def leave(self, client: Member) -> None:
        """End the turn of a client, or its wait: its message is complete, or it has left."""
        self._wait_no_more(client)
        self._wasted.pop(client, None)
        self._end(client)

    def _wait_no_more(self, client: Member) -> None:
        self._waiting.pop(client, None)
        self._proven.pop(client, None)

    def _end(self, client: Member) -> None:
        if (turn := self._turns.pop(client, None)) is None:
            return
        self._of_party[turn.party] -= 1
        client.memory.has_turn = False
        if client.memory.is_first:
            client.memory.is_first, self._last = False, client.memory

    def _choose_first(self) -> None:
        """Choose who goes on even if the reserve is used up: the one that has its turn for longest."""
        if (first := next(iter(self._turns), None)) and not first.memory.is_first and self._may_exceed:
            first.memory.is_first = True
            first.regulate()

    def regulate(self, now: float) -> None:
        """Under pressure, give turns to the next clients, and go on with those that have one; without, end all."""
        if not self._budget.is_tight:
            self._forget()
            return
        self._check_turns(now)
        budget = self._budget
        room = budget.has_turns, budget.has_reserve(is_proven=False), budget.has_reserve(is_proven=True)
        if room != self._room:  # the store may have caught up
            self._room = room
            for client in list(self._turns):
                client.regulate()
        self._choose_first()
        while (following := self._next()) is not None:
            self._give_turn(following, now)
            self._choose_first()
        if self._turns and not self._will_look:
            self._will_look = True
            self._clock.call_later(_CHECK_TURNS_S, self._look)

    def _look(self) -> None:
        self._will_look = False
        self._look_again()

    def _look_now(self) -> None:
        self._will_look_now = False
        self._look_again()

    def _forget(self) -> None:
        for client in list(self._turns):
            self._end(client)
        self._of_party.clear()
        self._waiting.clear()
        self._proven.clear()
        self._wasted.clear()

    def _give_turn(self, client: Member, now: float) -> None:
        self._wait_no_more(client)
        self._turns[client] = turn = _Turn(now, client.memory.partial, client.memory.party)
        self._of_party[turn.party] += 1
        client.take_turn()

    def _next(self) -> Member | None:
        """Return who gets a turn now."""
        budget, turns = self._budget, len(self._turns)
        if not self._waiting or not budget.has_turns:
            return None
        if self._proven and turns < _TURNS + _TURNS_OF_PROVEN and budget.has_reserve(is_proven=True):
            return min(self._proven, key=self._rank)
        if turns >= _TURNS or not (budget.has_reserve(is_proven=False) or (not turns and self._may_exceed)):
            return None
        self._given += 1
        return next(iter(self._waiting)) if self._given % _OLDEST_IN == 0 else min(self._waiting, key=self._rank)

    @property
    def _may_exceed(self) -> bool:
        """Whether there may be a first turn: what was completed in the one before is stored."""
        last = self._last
        return last is None or not (last.unjudged or last.unstored)

    def _rank(self, client: Member) -> tuple[int, int, bool, int]:
        memory = client.memory
        turns = self._of_party[memory.party] if memory.party else 0
        return turns, self._wasted_by(client), not memory.is_proven, memory.partial // _PIECE_BYTES

    def _wasted_by(self, client: Member) -> int:
        wasted = self._wasted.get(client)
        return wasted.turns if wasted else 0

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
            if (client.memory.held < least and client not in self._turns) or client.takes_rest():
                continue
            seconds = client.behind_s(now, least_per_s)
            if seconds > _MAX_BEHIND_S:
                behind.append((seconds, client))
        for _, client in sorted(behind, key=lambda each: each[0], reverse=True):
            if budget.total <= budget.limit // 2:
                return
            client.drop_for_memory()

    def _check_turns(self, now: float) -> None:
        """End turns that others wait for, and drop clients if the reserve is used up."""
        if not self._waiting or now - self._turns_checked_at < _CHECK_TURNS_S:
            return
        self._turns_checked_at = now
        best = min(map(self._rank, self._waiting))
        for client, turn in list(self._turns.items()):
            if client.memory.is_proven and client.memory.must_pause:  # it waits for room
                turn.since = now
                continue
            is_long = now - turn.since > _LONG_TURN_S and best < self._rank(client)
            if is_long or client.behind_s(now, _TURN_BYTES_PER_S) > _MAX_BEHIND_IN_TURN_S:
                self._end_unfinished(client, turn, now)
        self._make_room(min(map(self._wasted_by, self._waiting)))

    def _end_unfinished(self, client: Member, turn: _Turn, now: float) -> None:
        wasted = self._wasted.setdefault(client, _Wasted())
        wasted.turns += 1
        wasted.sent += client.memory.partial - turn.partial
        wasted.seconds += now - turn.since
        client.memory.delivered = 0
        if client.memory.is_first and not self._budget.has_reserve(is_proven=True):
            client.drop_for_memory()  # its next turn could add as much
            return
        self._end(client)
        client.regulate()

    def _make_room(self, least_wasted: int) -> None:
        """Drop clients until half of the reserve is free: those that have wasted more turns than one that waits."""
        budget = self._budget
        if budget.has_reserve(is_proven=False):
            return
        worse = [
            (wasted.bytes_per_s, client)
            for client, wasted in self._wasted.items()
            if wasted.turns > least_wasted and client not in self._turns
        ]
        for _, client in sorted(worse, key=lambda each: each[0]):
            client.drop_for_memory()
            if budget.total <= (budget.limit + budget.most_without_turns) // 2:
                return
