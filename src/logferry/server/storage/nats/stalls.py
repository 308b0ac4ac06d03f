"""Whether the store stores: what takes nothing now, since when, and why; and how it is tried again meanwhile.

What stalls is a stream, or the subject of one source. The store is STALLED while anything is. While a stream is, only a
few requests try it, so that those for other streams have room. Owns the log messages about stalls. Used in the store's
loop alone.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from logferry.server.storage.store import StoreState
from logferry.server.storage.store_state import StateTracker

logger = logging.getLogger(__name__)

# How many requests try a stream that is stalled at a time.
_MAX_TRIES: Final = 4


class Stalls:
    """The streams and subjects that take nothing."""

    def __init__(self, state: StateTracker) -> None:
        self._state = state
        self._since: dict[str, float] = {}
        self._tries: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def begin(self, what: str, reason: str, lines: int) -> None:
        """Note that a stream or subject takes nothing, for a reason; `lines` wait in memory."""
        text = f"{what}: {reason}"
        if what in self._since:
            if self._state.explain(text):
                logger.error("still cannot store in %s", text)
            return
        self._since[what] = time.monotonic()
        if not self._state.change(StoreState.STALLED, text):
            self._state.explain(text)
        logger.error("cannot store in %s: holding back acks and trying again; %d lines wait in memory", text, lines)

    def end(self, what: str) -> None:
        """Note that a stream or subject takes messages."""
        since = self._since.pop(what, None)
        if since is None:
            return
        logger.info("storing in %s again, after %.1f s", what, time.monotonic() - since)
        for turn in self._waiting.pop(what, ()):
            if not turn.done():
                turn.set_result(None)
        if not self._since:
            self._state.change(StoreState.STORING)

    @asynccontextmanager
    async def trying(self, stream: str) -> AsyncIterator[None]:
        """Make a request of a stream inside an `async with`."""
        await self._enter(stream)
        try:
            yield
        finally:
            self._leave(stream)

    async def _enter(self, stream: str) -> None:
        """Wait until a request may be made of a stream; `_leave` must follow."""
        while stream in self._since and self._tries.get(stream, 0) >= _MAX_TRIES:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(stream, deque()).append(turn)
            await turn
        self._tries[stream] = self._tries.get(stream, 0) + 1

    def _leave(self, stream: str) -> None:
        """Note that a request has ended, well or not."""
        self._tries[stream] -= 1
        waiting = self._waiting.get(stream)
        while waiting and self._tries[stream] < _MAX_TRIES:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
