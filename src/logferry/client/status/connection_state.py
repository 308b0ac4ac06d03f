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
    `exactly once`, `at least once` or `best effort`; "" before the first connection. Names are "host:port".
    """

    state: str = IDLE
    since: float = 0.0
    delivery: str = ""
    error: str = ""  # the last failure, even if the client has recovered
    error_at: float = 0.0
    stall: str = ""  # why the server stores nothing, although it is connected, since `stalled_since`
    stalled_since: float = 0.0
    server: str = ""  # the one in use, or the one that is tried next; since `server_since`
    server_since: float = 0.0
    is_preferred: bool = True  # the server in use is the first of several that this client prefers
    why_not_first: str = ""  # with several servers: why the preferred one is not in use


# A connection that owes acks for 10 s is reported as stalled. One that is not, after this time, owes none.
_PROVEN_S: Final = 15.0

# The engine reports the end of a connection, and then at once why it failed.
_END_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Nothing is delivered since a monotonic time, when `progress` had been made."""

    since: float
    progress: int
    reason: str


class ConnectionTracker:
    """Keeps the state of one client's connection; a ConnectionObserver of the delivery engine.

    Only the engine's thread calls `connected`, `closed`, `failed`, `stalled` and `uses`. Any thread may read `state`
    and `switches`, and call `stalled_for`: each change replaces a whole object.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_change: Callable[[], object] = lambda: None,
        progress: Callable[[], int] = lambda: 0,
    ) -> None:
        """`clock` returns Unix time; `on_change` is called after each change, in the engine's thread. `progress` counts
        the lines that the server has answered.
        """
        self._clock = clock
        self._monotonic = monotonic
        self._on_change = on_change
        self._progress = progress
        self._connected_at = self._closed_at = monotonic()
        self._has_stalled = False  # on the current connection, or the last one
        self._was_proven = False  # the last connection
        self._trouble: _Trouble | None = None
        self.state = ConnectionState(since=clock())
        self.switches: dict[str, int] = {}  # to another server, by reason; there are few reasons

    def uses(self, server: str, reason: str, *, is_preferred: bool = True, why_not_first: str = "") -> None:
        """Note which server is used from now on; `reason` is why not the one before it, "" for the first one."""
        if reason:
            self.switches = {**self.switches, reason: self.switches.get(reason, 0) + 1}
        since = self._clock()
        self._become(server=server, server_since=since, is_preferred=is_preferred, why_not_first=why_not_first)

    def connected(self, guarantee: Guarantee) -> None:
        """Note a connection and what it guarantees."""
        self._connected_at, self._has_stalled = self._monotonic(), False
        self._become(state=CONNECTED, since=self._clock(), delivery=guarantee.value, stall="", stalled_since=0.0)

    def closed(self) -> None:
        """Note the end of a connection; a client that waits after a failure keeps waiting."""
        if self.state.state == CONNECTED:
            self._closed_at = self._monotonic()
            self._was_proven = not self._has_stalled and self._closed_at - self._connected_at > _PROVEN_S
            self._become(state=IDLE, since=self._clock())

    def failed(self, error: str) -> None:
        """Note that a connection, or an attempt to connect, has failed and that the client will retry."""
        self._note_trouble(error)
        now = self._clock()
        since = self.state.since if self.state.state == WAITING else now
        self._become(state=WAITING, since=since, error=error, error_at=now)

    def stalled(self, reason: str, since: float) -> None:
        """Note that the server is connected but stores nothing, or with an empty reason that it stores again."""
        if reason:
            self._has_stalled = True
            self._note_trouble(reason)
        if reason != self.state.stall:
            self._become(stall=reason, stalled_since=since)

    def stalled_for(self) -> tuple[float, str]:
        """Return for how many seconds nothing has been delivered although something should be, and why.

        A connection that comes about and ends without an ack does not end that: an ack does, or that nothing is owed.
        """
        trouble = self._trouble
        if trouble is None or trouble.progress != self._progress() or self._is_proven():
            return 0.0, ""
        return self._monotonic() - trouble.since, trouble.reason

    def _is_proven(self) -> bool:
        state = self.state
        is_connected = state.state == CONNECTED and not state.stall
        return state.state == IDLE or (is_connected and self._monotonic() - self._connected_at > _PROVEN_S)

    def _note_trouble(self, reason: str) -> None:
        now, progress, trouble = self._monotonic(), self._progress(), self._trouble
        was_idle = self.state.state == IDLE and now - self._closed_at > _END_S
        is_new = trouble is None or trouble.progress != progress or self._was_proven or was_idle
        since = now if is_new or trouble is None else trouble.since
        self._was_proven = False
        self._trouble = _Trouble(since, progress, reason)

    def _become(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._on_change()
