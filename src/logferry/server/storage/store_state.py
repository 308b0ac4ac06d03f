"""The state of a store: one value that changes only as a table allows. All implementations of the seam share it."""

import threading
import time
from collections.abc import Callable
from typing import Final

from logferry.server.storage.store import StoreState

STATE_CHANGES: Final = {
    StoreState.NEW: (StoreState.STORING,),
    StoreState.STORING: (StoreState.STALLED, StoreState.CLOSING, StoreState.FAILED),
    StoreState.STALLED: (StoreState.STORING, StoreState.CLOSING, StoreState.FAILED),
    StoreState.CLOSING: (StoreState.CLOSED, StoreState.FAILED),
    StoreState.FAILED: (StoreState.CLOSED,),
    StoreState.CLOSED: (),
}


class StateTracker:
    """The state of one store and the reason for that state. Any thread may read and change it.

    The writer thread changes to STALLED, back to STORING, and to FAILED. The thread that opens and closes the store
    makes the other changes.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns Unix time."""
        self._clock = clock
        self._lock = threading.Lock()
        self._now = (StoreState.NEW, "", clock())

    @property
    def state(self) -> StoreState:
        """The present state."""
        return self._now[0]

    @property
    def now(self) -> tuple[StoreState, str, float]:
        """The present state, its reason ("" if the state needs none), and since when it is the state (Unix time)."""
        return self._now

    def change(self, state: StoreState, reason: str = "") -> bool:
        """Change to `state` if the table allows it; return whether the state changed.

        Two threads may try to change the state at the same time; then the table decides. For example, a store that is
        CLOSING cannot become STALLED.
        """
        with self._lock:
            is_allowed = state in STATE_CHANGES[self.state]
            if is_allowed:
                self._now = (state, reason, self._clock())
            return is_allowed

    def explain(self, reason: str) -> bool:
        """Give a store that is STALLED another reason; return whether the reason is another one."""
        with self._lock:
            state, before, since = self._now
            is_new = state is StoreState.STALLED and reason != before
            if is_new:
                self._now = (state, reason, since)
            return is_new
