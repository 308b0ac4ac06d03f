"""Handshakes take turns: a flood of them leaves time and memory for clients that are connected, and for new ones.

Owns the handshakes that have something to do, and the limit of those that have begun. In a pass of the event loop they
have as long as everything else in it took, or one step: a pass may accept a hundred connections. Those that begin come
in the order in which they came, and share the time with those that go on. So a new client waits for the connections
that were there before it, and not for those that a flood adds. Who waits for the server never gives way; when many
wait, further ones wait before they are connections (arrivals.py), where they cost little. Never reads a byte.
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
        # By network, those without progress longest first; True after the first step.
        self._begun: dict[str, dict[Shaking, bool]] = {}
        self._number = 0
        self._waiting: dict[str, dict[Shaking, None]] = {}  # for their turn, by network in the order of turns
        self._number_waiting = 0
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
        self._begin(shaking)
        entries = self._waiting.setdefault(shaking.network, {})
        self._number_waiting += shaking not in entries
        entries[shaking] = None
        self._make_room()
        self._schedule()

    def leave(self, shaking: Shaking) -> None:
        """Forget a connection whose handshake is over, if it is known."""
        network = shaking.network
        if shaking in self._begun.get(network, ()):
            self._number -= 1
            _remove(shaking, self._begun)
        if shaking in self._waiting.get(network, ()):
            self._number_waiting -= 1
            _remove(shaking, self._waiting)

    def _begin(self, shaking: Shaking) -> None:
        entries = self._begun.setdefault(shaking.network, {})
        self._number += shaking not in entries
        entries[shaking] = entries.pop(shaking, False)

    def _make_room(self) -> None:
        # Of those that wait for the server, nobody gives way: if all do, looking for one would take long.
        if self._number > max(self._limit, self._number_waiting) and (victim := self._victim()):
            victim.give_way()

    def _victim(self) -> Shaking | None:
        """Return who must give way: of the network with most of them, who has kept the server waiting for longest."""
        for network in sorted(self._begun, key=lambda each: len(self._begun[each]), reverse=True):
            waiting = self._waiting.get(network, {})
            if victim := next((each for each in self._begun[network] if each not in waiting), None):
                return victim
        return None

    def _schedule(self) -> None:
        if self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._is_scheduled = False
        now = self._loop.time()
        until = now + min(now - self._ended_at, _MOST_S)
        try:
            while self._waiting:
                self._step()
                if self._loop.time() >= until:
                    break
        finally:
            self._ended_at = self._loop.time()
            self._schedule()

    def _step(self) -> None:
        network = next(iter(self._waiting))
        entries, begun = self._waiting.pop(network), self._begun[network]
        self._steps += 1
        goes_on = self._steps % 2 == 0  # otherwise many that send their part byte by byte would keep new ones out
        shaking = next((each for each in entries if begun[each] == goes_on), next(iter(entries)))
        del entries[shaking]
        self._number_waiting -= 1
        begun[shaking] = True
        if entries:
            self._waiting[network] = entries  # behind the others
        shaking.step()


def _remove(shaking: Shaking, table: dict[str, dict[Shaking, Any]]) -> None:
    entries = table[shaking.network]
    del entries[shaking]
    if not entries:
        del table[shaking.network]
