"""What is known of the connection to the server: told by the engine, asked by whoever wants to know."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from logferry.client.delivery.output import Guarantee

IDLE: Final = "idle"
CONNECTED: Final = "connected"
WAITING: Final = "waiting"


@dataclass(frozen=True, slots=True)
class LinkState:
    """One moment. Times are Unix times, 0 for never.

    `state` is `idle` (no connection, and no need of one), `connected`, or `waiting` (the last attempt or connection
    failed; there will be another), `since` when it became so. `delivery` is what the last connection could promise:
    `exactly once`, `at least once` or `best effort`; "" before the first one.
    """

    state: str = IDLE
    since: float = 0.0
    delivery: str = ""
    error: str = ""  # the last failure, also when it is over
    error_at: float = 0.0


class Link:
    """The state of one client's connection. One thread tells, any may ask: a state is replaced as a whole."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, on_change: Callable[[], object] = lambda: None
    ) -> None:
        """`clock` gives Unix time; `on_change` is told of each new state, in the thread that tells."""
        self._clock = clock
        self._on_change = on_change
        self.state = LinkState(since=clock())

    def connected(self, guarantee: Guarantee) -> None:
        """Say that there is a connection, and what it can promise."""
        self._become(state=CONNECTED, since=self._clock(), delivery=guarantee.value)

    def closed(self) -> None:
        """Say that there is no connection any more; one that failed is still waited for."""
        if self.state.state == CONNECTED:
            self._become(state=IDLE, since=self._clock())

    def failed(self, error: str) -> None:
        """Say that a connection, or the attempt at one, failed and that there will be another."""
        now = self._clock()
        since = self.state.since if self.state.state == WAITING else now
        self._become(state=WAITING, since=since, error=error, error_at=now)

    def _become(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._on_change()
