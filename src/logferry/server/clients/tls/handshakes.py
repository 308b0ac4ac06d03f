"""Handshakes take turns: a flood of them leaves time and memory for clients that are connected, and for new ones.

Owns the handshakes that have something to do, and the limit of those that have begun: that have had a step. In a pass
of the event loop they have as long as everything else in it took, or one step: a pass may accept a hundred connections.
Those that begin come in the order in which they came, and share the time with those that go on. So a new client waits
for the connections that were there before it, and not for those that a flood adds. When many wait, further ones wait
before they are connections (arrivals.py), where they cost little. Never reads a byte.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

# Of handshakes that have begun and are not finished: each costs about 50 KB. A client on a slow network takes part of a
# second, so this is enough for a thousand new clients a second.
_MAX_BEGUN: Final = 512

# Of connections that wait for a step: further ones begin when these are fewer. They are enough for a pass or two.
_MOST_WAITING: Final = 32

# In a pass, however long everything else took: others wait meanwhile.
_MOST_S: Final = 0.01

# A handshake takes two or three, a few more if its messages come in pieces. Who sends byte by byte gives way first.
_MANY_STEPS: Final = 8


class Loop(Protocol):
    """What is used of an event loop."""

    def time(self) -> float:
        """Return the monotonic time, in seconds."""

    def call_soon(self, callback: Callable[[], Any], /) -> Any:
        """Call in the next pass."""


class Shaking(Protocol):
    """A connection in its handshake."""

    @property
    def network(self) -> str:
        """What one peer may have many connections from."""

    def step(self) -> None:
        """Take what the peer has sent; calls `Handshakes.leave` when the handshake is over."""

    def give_way(self) -> None:
        """End the handshake because there are too many; calls `Handshakes.leave`."""


class Handshakes:
    """The handshakes of a server. Everything runs in the event loop."""

    def __init__(self, loop: Loop, *, limit: int = _MAX_BEGUN) -> None:
        self._loop = loop
        self._limit = limit
        # By network, with how many steps each has had; who has been without progress longest comes first.
        self._begun: dict[str, dict[Shaking, int]] = {}
        self._number = 0
        # For a step, by network in the order of turns.
        self._going_on: dict[str, dict[Shaking, None]] = {}
        self._new: dict[str, dict[Shaking, None]] = {}
        self._number_waiting = 0  # of both
        self._steps = 0
        self._is_scheduled = False
        self._ended_at = 0.0  # the last steps

    @property
    def in_progress(self) -> int:
        """How many have begun and are not finished."""
        return self._number

    @property
    def can_take(self) -> int:
        """How many more connections may begin now: one at least, so that no number of others keeps new ones out."""
        return max(1, _MOST_WAITING - self._number_waiting)

    def want_step(self, shaking: Shaking) -> None:
        """Call `step` when it is this connection's turn. Networks take turns, and the connections of each."""
        begun = self._begun.get(shaking.network, {})
        if shaking in begun:
            begun[shaking] = begun.pop(shaking)
        waiting = (self._going_on if shaking in begun else self._new).setdefault(shaking.network, {})
        self._number_waiting += shaking not in waiting
        waiting[shaking] = None
        self._schedule()

    def leave(self, shaking: Shaking) -> None:
        """Forget a connection whose handshake is over, if it is known."""
        self._number -= _remove(shaking, self._begun)
        self._number_waiting -= _remove(shaking, self._going_on) + _remove(shaking, self._new)

    def _schedule(self) -> None:
        if self._number_waiting and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._is_scheduled = False
        now = self._loop.time()
        until = now + min(now - self._ended_at, _MOST_S)
        try:
            while self._number_waiting:
                self._step()
                if self._loop.time() >= until:
                    break
        finally:
            self._ended_at = self._loop.time()
            self._schedule()

    def _step(self) -> None:
        """Have one begin or go on, in turn: many that send byte by byte would otherwise keep new ones out."""
        self._steps += 1
        may_begin = bool(self._new) and (self._steps % 2 == 1 or not self._going_on)
        if may_begin and self._has_room():
            shaking = self._next_of(self._new)
            self._number += 1
            self._begun.setdefault(shaking.network, {})[shaking] = 1
        else:
            shaking = self._next_of(self._going_on)
            self._begun[shaking.network][shaking] += 1
        shaking.step()

    def _next_of(self, table: dict[str, dict[Shaking, None]]) -> Shaking:
        network = next(iter(table))
        waiting = table.pop(network)
        shaking = next(iter(waiting))
        del waiting[shaking]
        self._number_waiting -= 1
        if waiting:
            table[network] = waiting  # behind the others
        return shaking

    def _has_room(self) -> bool:
        """Whether one more may begin; at the limit, another one gives way, if all do not wait for the server."""
        if self._number >= self._limit and (victim := self._victim()):
            victim.give_way()
        return self._number < self._limit

    def _victim(self) -> Shaking | None:
        """Return who must give way, of the network with most: who has had many steps, or else has been quiet longest.

        Of those that wait for the server and have had a few steps, nobody does: they are about to finish.
        """
        most = max(map(len, self._begun.values()))
        for network, begun in self._begun.items():
            if len(begun) == most:
                going_on = self._going_on.get(network, {})
                by_steps = (each for each, steps in begun.items() if steps >= _MANY_STEPS)
                quiet = (each for each in begun if each not in going_on)
                if victim := next(by_steps, None) or next(quiet, None):
                    return victim
        return None


def _remove(shaking: Shaking, table: dict[str, dict[Shaking, Any]]) -> bool:
    """Remove a connection from a table; return whether it was there."""
    entries = table.get(shaking.network, {})
    if shaking not in entries:
        return False
    del entries[shaking]
    if not entries:
        del table[shaking.network]
    return True
