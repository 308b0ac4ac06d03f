"""Decides when a client that has nothing to send connects: at its start, and again after its connection has ended.

A client that follows files stays connected, so that a wrong address shows at once, and so that quiet files are compared
with what the server has (reconciliation.py). Owns that time only; must never connect or wait.
"""

import math
from typing import Final

from logferry.client.delivery.servers.retry import Backoff

# A connection that lasts shorter than this counts as a failure for the pause before the next one.
_SHORT_S: Final = 10.0


class IdleConnection:
    """When to connect although there is nothing to send. For the engine's thread."""

    def __init__(self, backoff: Backoff, now: float, *, is_wanted: bool) -> None:
        """Without `is_wanted`, an engine connects only when it has something to send."""
        self._backoff = backoff
        self._is_wanted = is_wanted
        self._connected_at = now
        self._short_ones = 0  # connections in a row
        self._connect_at = now if is_wanted else math.inf

    @property
    def next_timer(self) -> float | None:
        """When to connect; None if nothing but a batch is a reason to."""
        return self._connect_at if self._connect_at < math.inf else None

    def connected(self, now: float) -> None:
        """Note a new connection."""
        self._connected_at, self._connect_at = now, math.inf

    def ended(self, now: float, *, is_needed: bool) -> None:
        """Note that the peer ended a connection on which nothing was owed; connect again soon if that `is_needed`."""
        self._short_ones = self._short_ones + 1 if now - self._connected_at < _SHORT_S else 1
        self._connect_at = now + self._backoff.delay_s(self._short_ones) if is_needed and self._is_wanted else math.inf

    def failed(self, now: float) -> None:
        """Note that a connection, or an attempt, has failed, and that the pause after the failure has passed."""
        self._connect_at = now if self._is_wanted else math.inf
