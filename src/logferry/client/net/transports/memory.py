"""A transport without a network: two ends in one process, deterministic, for tests of what is built on transports.

Each end has a number in place of a descriptor; `ready` returns what a poll would return.
"""

import itertools
from collections.abc import Sequence
from typing import Final, Self

from logferry.client.net.transports.transport import Part
from logferry.client.net.waiting.readiness import READ, WRITE
from logferry.errors import PeerClosed

# At most this many bytes wait in one direction.
CAPACITY_BYTES: Final = 1024 * 1024

_numbers = itertools.count(1_000_000)  # far above the descriptors of a process


class MemoryTransport:
    """See Transport; one end of a pair."""

    def __init__(self, capacity: int) -> None:
        self._number = next(_numbers)
        self._capacity = capacity
        self._peer: MemoryTransport = self
        self._arrived = bytearray()
        self._has_ended = False  # this end sends no more
        self._is_broken = False
        self.is_closed = False

    @classmethod
    def pair(cls, *, capacity: int = CAPACITY_BYTES) -> tuple[Self, Self]:
        """Return two ends; each accepts at most `capacity` bytes that the other has not received."""
        ours, theirs = cls(capacity), cls(capacity)
        ours._peer, theirs._peer = theirs, ours
        return ours, theirs

    def fileno(self) -> int:
        """See Transport: a number that is not a descriptor."""
        return self._number

    def ready(self) -> int:
        """Return what this end is ready for, as a poll would return it."""
        if self._is_broken:
            return READ | WRITE
        can_read = self._arrived or self._peer._has_ended
        return (READ if can_read else 0) | (WRITE if self._room else 0)

    def send(self, parts: Sequence[Part], *, more: bool) -> int:
        """See Transport."""
        if self._is_broken or self._has_ended or self._peer.is_closed:
            raise PeerClosed("the connection broke while sending: the other end is closed")
        data = b"".join(parts)[: self._room]
        self._peer._arrived += data
        return len(data)

    def flush(self) -> None:
        """See Transport: nothing is held back."""

    def receive(self, limit: int) -> bytes | None:
        """See Transport."""
        if self._is_broken:
            raise PeerClosed("the connection broke: the other end has broken it")
        data = bytes(self._arrived[:limit])
        del self._arrived[:limit]
        return data or (b"" if self._peer._has_ended else None)

    def wants(self) -> int:
        """See Transport: always 0."""
        return 0

    def has_buffered(self) -> bool:
        """See Transport: always False, because `ready` knows everything that has arrived."""
        return False

    def is_private(self) -> bool:
        """See Transport: always True."""
        return True

    def unconfirmed_bytes(self) -> int:
        """See Transport: the bytes that the other end has not received."""
        return len(self._peer._arrived)

    def end_of_data(self) -> None:
        """See Transport."""
        self._has_ended = True

    def close(self) -> None:
        """See Transport."""
        self._has_ended = True
        self.is_closed = True

    def reset(self) -> None:
        """Break the connection: what the other end has not received is lost."""
        self._peer._is_broken = True
        self._peer._arrived.clear()
        self.close()

    @property
    def _room(self) -> int:
        return max(0, self._capacity - len(self._peer._arrived))
