"""Turns: of all clients whose messages take several steps, one does one step in each pass of the event loop.

Owns the queue of those that wait. However many clients send what takes long to judge, a pass takes little more than a
step, and what other clients send is read, stored and answered between two of them. Never reads what a client sent.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """The event loop's clock, and a queue that gives one turn a pass: see Scheduler. Only the loop's thread uses it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], object]] = deque()
        self.time = loop.time  # connections read it for each piece of data
        self.call_in_next_pass = loop.call_soon

    def call_soon(self, callback: Callable[[], object], /) -> None:
        """Call `callback` when all that wait already have had their turn, one in each pass of the loop."""
        self._waiting.append(callback)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        callback = self._waiting.popleft()
        if self._waiting:
            self._loop.call_soon(self._next)
        callback()
