"""Whether the store stores: which streams take nothing now, since when, and why.

The store is STALLED while at least one stream is. Owns the log messages about that. Used in the store's loop alone.
"""

import logging
import time

from logferry.server.storage.store import StoreState
from logferry.server.storage.store_state import StateTracker

logger = logging.getLogger(__name__)


class Stalls:
    """The streams that take nothing."""

    def __init__(self, state: StateTracker) -> None:
        self._state = state
        self._since: dict[str, float] = {}

    def begin(self, stream: str, reason: str, lines: int) -> None:
        """Note that a stream takes nothing, for a reason; `lines` wait in memory."""
        text = f"{stream}: {reason}"
        if stream in self._since:
            if self._state.explain(text):
                logger.error("still cannot store in %s", text)
            return
        self._since[stream] = time.monotonic()
        if not self._state.change(StoreState.STALLED, text):
            self._state.explain(text)
        logger.error("cannot store in %s: holding back acks and trying again; %d lines wait in memory", text, lines)

    def end(self, stream: str) -> None:
        """Note that a stream takes messages."""
        since = self._since.pop(stream, None)
        if since is None:
            return
        logger.info("storing in %s again, after %.1f s", stream, time.monotonic() - since)
        if not self._since:
            self._state.change(StoreState.STORING)
