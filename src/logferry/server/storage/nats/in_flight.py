"""How much is on its way to NATS at a time, and whose turn it is when there is no more room: senders take turns."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

# Each waits for an answer or two. More at a time are not faster, and the servers would answer the last ones too late.
MAX_MESSAGES: Final = 256
MAX_BYTES: Final = 24 * 1024 * 1024


class InFlight:
    """Room for messages. Used in the store's loop alone."""

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages = 0
        self._bytes = 0
        self._waiting: OrderedDict[str | int, deque[tuple[int, asyncio.Future[None]]]] = OrderedDict()

    @asynccontextmanager
    async def holding(self, sender: str | int, size: int) -> AsyncIterator[None]:
        """Hold the room of a message inside an `async with`."""
        await self._enter(sender, size)
        try:
            yield
        finally:
            self._leave(size)

    async def _enter(self, sender: str | int, size: int) -> None:
        """Wait until there is room for a message and the requests before it; `_leave` must follow."""
        if not self._waiting and self._has_room(size):
            self._take(size)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(sender, deque()).append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(size)
            raise

    def _leave(self, size: int) -> None:
        """Give the room of a message back."""
        self._messages -= 1
        self._bytes -= size
        while self._waiting:
            sender, turns = next(iter(self._waiting.items()))
            size, turn = turns[0]
            if not turn.cancelled() and not self._has_room(size):
                return
            turns.popleft()
            del self._waiting[sender]
            if turns:
                self._waiting[sender] = turns  # behind the others
            if not turn.cancelled():
                self._take(size)
                turn.set_result(None)

    def _has_room(self, size: int) -> bool:
        """Whether there is room; a message that is larger than all of it goes alone."""
        is_small_enough = self._bytes + size <= self._max_bytes or not self._messages
        return self._messages < self._max_messages and is_small_enough

    def _take(self, size: int) -> None:
        self._messages += 1
        self._bytes += size
