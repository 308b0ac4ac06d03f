"""Places: which connection makes room for another when the server has as many, or as many sources, as it may have.

Owns the choice: of connections the one that has been idle longest, for a few seconds at least; of sources, the one that
holds the most, if that is more than the other holds. Idle means that nothing of it is
stored, answered or expected; signs of life and the beginnings of messages keep no place. So nobody can keep all places
by being connected. Our clients connect again when they have something to deliver, and lose nothing. Must never close
a connection by itself.
"""

import heapq
from collections.abc import Iterable
from typing import Final, Generic, Protocol, TypeVar

from logferry.server.clients.memory.flow_control import MemoryAccount

# Shorter pauses are those of a busy client, of a slow network or of a server that is late.
_MIN_IDLE_S: Final = 5.0

# A client that has begun a message counts as idle this long after the one before.
UNFINISHED_S: Final = 60.0

# A look at 10,000 connections takes some milliseconds: it finds several, and is not repeated in vain for a second.
_FOUND_AT_ONCE: Final = 64
_LOOK_AGAIN_S: Final = 1.0


class Occupant(Protocol):
    """A connection that has a place."""

    def idle_s(self, now: float) -> float:
        """Return for how long the connection has been idle; 0 while something of it is pending."""


class Holder(Occupant, Protocol):
    """A connection that may have sources open."""

    @property
    def memory(self) -> MemoryAccount:
        """What the client holds."""


T = TypeVar("T", bound=Occupant)
H = TypeVar("H", bound=Holder)


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


def most_sources(holders: Iterable[H], asker: Holder, now: float) -> H | None:
    """Return the connection that is to make room for a source of `asker`; None if there is not one.

    Above its share of the sources, a client gets room only from those that are idle.
    """
    most = max(asker.memory.sources, asker.memory.source_share)
    larger = [each for each in holders if each is not asker and each.memory.sources > most]
    idle = [each for each in larger if each.idle_s(now) >= _MIN_IDLE_S]
    may_take_any = asker.memory.sources < asker.memory.source_share
    return max(idle or (larger if may_take_any else ()), key=lambda each: each.memory.sources, default=None)
