"""Carries what a query finds from its thread to the event loop, in bounded memory.

Owns the bound. A feed that waits makes the query as slow as its reader; one that drops leaves out what a slow reader
cannot take, and counts it. The thread of the query writes; the event loop reads.
"""

import asyncio
import threading
from collections import deque
from typing import Final, NamedTuple

# What one query may have waiting for its reader.
MAX_BYTES: Final = 1024 * 1024
MAX_ITEMS: Final = 2000


class Taken(NamedTuple):
    """What has come since the last time: `left_out` items were dropped before them; `is_end`: nothing follows."""

    items: list[bytes]
    left_out: int
    is_end: bool


class Feed:
    """A queue with one writer and one reader."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._drops = False
        self._items: deque[bytes] = deque()
        self._size = 0
        self._left_out = 0
        self._is_over = False
        self._is_closed = False
        self._changed = threading.Condition()
        self._ready = asyncio.Event()

    def drop_from_now_on(self) -> None:
        """Leave out what the reader cannot take: it has what was there before it came."""
        with self._changed:
            self._drops = True

    def put(self, item: bytes) -> bool:
        """Add an item; return whether it was taken. Waits for room, unless the feed drops; False once it is closed."""
        with self._changed:
            if self._drops and self._is_full:
                self._left_out += 1
                return False
            self._changed.wait_for(lambda: not self._is_full or self._is_closed)
            if self._is_closed:
                return False
            was_empty = not self._items
            self._items.append(item)
            self._size += len(item)
        if was_empty:
            self._wake()
        return True

    def end(self) -> None:
        """Say that nothing follows."""
        with self._changed:
            self._is_over = True
        self._wake()

    def close(self) -> None:
        """Take nothing more, and let the writer go on: nobody reads."""
        with self._changed:
            self._is_closed = True
            self._items.clear()
            self._changed.notify_all()

    async def take(self, timeout_s: float) -> Taken:
        """Return what has come, as soon as there is something, or nothing after a time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            pass
        with self._changed:
            self._ready.clear()
            items, self._items = list(self._items), deque()
            self._size = 0
            left_out, self._left_out = self._left_out, 0
            self._changed.notify_all()
            return Taken(items, left_out, self._is_over)

    @property
    def _is_full(self) -> bool:
        return self._size >= MAX_BYTES or len(self._items) >= MAX_ITEMS

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the loop has ended before its queries
            self.close()
