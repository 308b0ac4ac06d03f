"""The state of a store: one value that changes only as a table allows. All implementations of the seam share it."""

import threading
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

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = (StoreState.NEW, "")

    @property
    def state(self) -> StoreState:
        """The present state."""
        return self._now[0]

    @property
    def now(self) -> tuple[StoreState, str]:
        """The present state and its reason, "" if the state needs none."""
        return self._now

    def change(self, state: StoreState, reason: str = "") -> bool:
        """Change to `state` if the table allows it; return whether the state changed.

        Two threads may try to change the state at the same time; then the table decides. For example, a store that is
        CLOSING cannot become STALLED.
        """
        with self._lock:
            is_allowed = state in STATE_CHANGES[self.state]
            if is_allowed:
                self._now = (state, reason)
            return is_allowed
