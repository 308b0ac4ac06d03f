"""Places: which connection makes room for a new one when the server has as many as it may have.

Owns the choice: the one that has been idle longest, for a few seconds at least. Idle means that nothing of it is
stored, answered or expected; signs of life and the beginnings of messages keep no place. So nobody can keep all places
by being connected. Our clients connect again when they have something to deliver, and lose nothing. Must never close
a connection by itself.
"""

import heapq
from collections.abc import Iterable
from typing import Final, Generic, Protocol, TypeVar

# Shorter pauses are those of a busy client, of a slow network or of a server that is late.
_MIN_IDLE_S: Final = 5.0

# So long after its last message, a client counts as idle that has begun the next one.
UNFINISHED_S: Final = 60.0

# A look at 10,000 connections takes some milliseconds: it finds several, and is not repeated in vain for a second.
_FOUND_AT_ONCE: Final = 64
_LOOK_AGAIN_S: Final = 1.0


class Occupant(Protocol):
    """A connection that has a place."""

    def idle_s(self, now: float) -> float:
        """Return for how long the connection has been idle; 0 while something of it is pending."""


T = TypeVar("T", bound=Occupant)


class Places(Generic[T]):
    """Who makes room next."""

    def __init__(self) -> None:
        self._idle: list[T] = []  # as they were found, the one that has been idle longest at the end
        self._look_at = 0.0

    def longest_idle(self, occupants: Iterable[T], now: float) -> T | None:
        """Return the connection that is to make room, which must be one of `occupants`; None if no one is idle."""
        if not self._idle and now >= self._look_at:
            idle = (each for each in occupants if each.idle_s(now) >= _MIN_IDLE_S)
            self._idle = heapq.nlargest(_FOUND_AT_ONCE, idle, key=lambda each: each.idle_s(now))[::-1]
            self._look_at = now + _LOOK_AGAIN_S
        while self._idle:
            found = self._idle.pop()
            if found.idle_s(now) >= _MIN_IDLE_S:
                return found
        return None
