"""The current state of the connection to the server: the delivery engine reports it, the status shows it.

Owns that state; the only history that it keeps is the last failure. Must never call back into delivery.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from logferry.client.delivery.output import Guarantee

IDLE: Final = "idle"
CONNECTED: Final = "connected"
WAITING: Final = "waiting"


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """The state at one moment. Times are Unix times, 0 for never.

    `state` is `idle` (not connected, and nothing to send), `connected`, or `waiting` (the last attempt or connection
    failed; the client will retry); it began at `since`. `delivery` is what the last connection guaranteed:
    `exactly once`, `at least once` or `best effort`; "" before the first connection.
    """

    state: str = IDLE
    since: float = 0.0
    delivery: str = ""
    error: str = ""  # the last failure, even if the client has recovered
    error_at: float = 0.0
    stall: str = ""  # why the server stores nothing, although it is connected, since `stalled_since`
    stalled_since: float = 0.0


class ConnectionTracker:
    """Keeps the state of one client's connection; a ConnectionObserver of the delivery engine.

    Only the engine's thread calls `connected`, `closed`, `failed` and `stalled`. Any thread may read `state`: each
    change replaces the whole object.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.time, on_change: Callable[[], object] = lambda: None
    ) -> None:
        """`clock` returns Unix time; `on_change` is called after each change, in the engine's thread."""
        self._clock = clock
        self._on_change = on_change
        self.state = ConnectionState(since=clock())

    def connected(self, guarantee: Guarantee) -> None:
        """Note a connection and what it guarantees."""
        self._become(state=CONNECTED, since=self._clock(), delivery=guarantee.value, stall="", stalled_since=0.0)

    def closed(self) -> None:
        """Note the end of a connection; a client that waits after a failure keeps waiting."""
        if self.state.state == CONNECTED:
            self._become(state=IDLE, since=self._clock())

    def failed(self, error: str) -> None:
        """Note that a connection, or an attempt to connect, has failed and that the client will retry."""
        now = self._clock()
        since = self.state.since if self.state.state == WAITING else now
        self._become(state=WAITING, since=since, error=error, error_at=now)

    def stalled(self, reason: str, since: float) -> None:
        """Note that the server is connected but stores nothing, or with an empty reason that it stores again."""
        if reason != self.state.stall:
            self._become(stall=reason, stalled_since=since)

    def _become(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._on_change()
