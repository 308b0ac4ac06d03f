"""Handshakes take turns: a flood of them leaves time and memory for the clients that are connected.

Owns the queue of handshakes that have something to do, and the limit of those that have begun. One step takes place in
a pass of the event loop, and then the loop has as long for everybody else as that step took. Never reads a byte.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

# Of handshakes that have begun and are not finished: each costs about 50 KB. A client on a slow network takes part of a
# second, so this is enough for a thousand new clients a second.
_MAX_BEGUN: Final = 512


class Loop(Protocol):
    """What is used of an event loop."""

    def time(self) -> float:
        """Return the monotonic time, in seconds."""

    def call_soon(self, callback: Callable[[], Any], /) -> Any:
        """Call in the next pass."""

    def call_later(self, delay: float, callback: Callable[[], Any], /) -> Any:
        """Call after `delay` seconds."""


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
        self._begun: dict[str, dict[Shaking, None]] = {}  # by network; those that were quiet longest first
        self._number = 0
        self._waiting: dict[str, dict[Shaking, None]] = {}  # for their turn, by network in the order of turns
        self._is_scheduled = False

    @property
    def in_progress(self) -> int:
        """How many have begun and are not finished."""
        return self._number

    def want_step(self, shaking: Shaking) -> None:
        """Call `step` when it is this connection's turn. Networks take turns, and the connections of each."""
        self._begin(shaking)
        if shaking in self._begun.get(shaking.network, ()):
            self._waiting.setdefault(shaking.network, {})[shaking] = None
            self._schedule(0.0)

    def leave(self, shaking: Shaking) -> None:
        """Forget a connection whose handshake is over, if it is known."""
        network = shaking.network
        for table in (self._begun, self._waiting):
            entries = table.get(network, {})
            if shaking in entries:
                del entries[shaking]
                self._number -= table is self._begun
                if not entries:
                    del table[network]

    def _begin(self, shaking: Shaking) -> None:
        entries = self._begun.setdefault(shaking.network, {})
        self._number += shaking not in entries
        entries.pop(shaking, None)
        entries[shaking] = None
        if self._number > self._limit:
            self._victim().give_way()

    def _victim(self) -> Shaking:
        """Return who must give way: of the network with most of them, who has kept the server waiting for longest."""
        network = max(self._begun, key=lambda each: len(self._begun[each]))
        entries, waiting = self._begun[network], self._waiting.get(network, {})
        return next((each for each in entries if each not in waiting), next(reversed(entries)))

    def _schedule(self, delay_s: float) -> None:
        if self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            if delay_s:
                self._loop.call_later(delay_s, self._next)
            else:
                self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._is_scheduled = False
        if not self._waiting:
            return
        network = next(iter(self._waiting))
        entries = self._waiting.pop(network)
        shaking = next(iter(entries))
        del entries[shaking]
        if entries:
            self._waiting[network] = entries  # behind the others
        started = self._loop.time()
        try:
            shaking.step()
        finally:
            self._schedule(self._loop.time() - started)
