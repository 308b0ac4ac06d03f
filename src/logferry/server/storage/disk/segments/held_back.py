"""Deliveries that wait because the disk has no room for the name of their segment, while the writer stores all others.

A file system without inodes, or with a quota of them, takes lines into files that exist, and creates none. Owns these
deliveries, their order, and when the writer tries again. How many bytes may wait, and whose must go, is for those to
decide who have submitted them: `on_held` reports each once. Used by the writer thread alone; never touches a file.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from logferry.server.storage.deliveries import Delivery, ReleaseSources
from logferry.server.storage.log_names import LogName
from logferry.server.storage.store import OnHeld

LAST_RETRY_S: Final = 2.0

# Names of one attempt: while the disk has none, the others must not wait for a client that asks for thousands.
MAX_TRIED: Final = 64


class NamesRefusedError(Exception):
    """The disk refuses to create the segments of these logs, for these reasons; it may still take lines into others."""

    def __init__(self, refused: Mapping[LogName, OSError]) -> None:
        super().__init__(f"no room for {len(refused)} names")
        self.logs: Final = frozenset(refused)
        self.cause: Final = next(iter(refused.values()))


class HeldBack:
    """What waits for a name. Whatever comes of the same logs and sources must wait behind it."""

    def __init__(self, *, first_retry_s: float, on_held: OnHeld) -> None:
        self._first_retry_s = first_retry_s
        self._on_held = on_held
        self._retry_s = first_retry_s
        self._retry_at = 0.0
        self._deliveries: list[Delivery] = []
        self._keys: set[LogName | str] = set()

    def __len__(self) -> int:
        return len(self._deliveries)

    @property
    def lines(self) -> int:
        """How many lines wait."""
        return sum(delivery.lines for delivery in self._deliveries)

    @property
    def wait_s(self) -> float | None:
        """How long until the next attempt, in seconds; None if nothing waits."""
        return max(0.0, self._retry_at - time.monotonic()) if self._deliveries else None

    def hold(self, group: Iterable[Delivery], logs: Collection[LogName]) -> Sequence[Delivery]:
        """Hold back what belongs to `logs`, with everything of the same sources; return the rest of the group."""
        group = list(group)
        self._keys |= {key_of(delivery) for delivery in group if log_of(delivery) in logs}
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(self._retry_s * 2, max(LAST_RETRY_S, self._first_retry_s))
        return self.without_held(group)

    def without_held(self, deliveries: Iterable[Delivery]) -> Sequence[Delivery]:
        """Return the deliveries that need not wait; hold back the others."""
        if not self._keys:
            return list(deliveries)
        free: list[Delivery] = []
        held: list[Delivery] = []
        for delivery in deliveries:
            (held if key_of(delivery) in self._keys else free).append(delivery)
        self._deliveries += held
        if new := [delivery for delivery in held if not delivery.is_held]:
            for delivery in new:
                delivery.is_held = True
            self._on_held(new)
        return free

    def take(self) -> Sequence[Delivery]:
        """Return what waits longest, for the next attempt: all that belongs to a number of logs and sources."""
        oldest = dict.fromkeys(map(key_of, self._deliveries))
        self._keys = set(islice(oldest, MAX_TRIED, None))
        waiting, self._deliveries = self._deliveries, []
        return self.without_held(waiting)

    def give_up(self, unwanted: Collection[Delivery]) -> Sequence[Delivery]:
        """Hold back no longer what is in `unwanted`; return it."""
        given_up = [delivery for delivery in self._deliveries if delivery in unwanted]
        self._deliveries = [delivery for delivery in self._deliveries if delivery not in unwanted]
        self._keys = set(map(key_of, self._deliveries))
        for delivery in given_up:
            delivery.is_given_up = True
        return given_up

    def end(self) -> None:
        """Begin with short waits again: an attempt has succeeded."""
        self._retry_s = self._first_retry_s


def key_of(delivery: Delivery) -> LogName | str:
    """Return what decides the order of a delivery: its source, or the log of lines without a source."""
    request = delivery.source_request
    if request is None or isinstance(request.message, ReleaseSources):
        return delivery.log
    return request.message.source


def log_of(delivery: Delivery) -> LogName:
    """Return the log in which the lines of a delivery are kept."""
    return (delivery.source_request and delivery.source_request.log) or delivery.log
