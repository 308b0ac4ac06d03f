"""Turns: of all clients whose messages take several steps, one does one step in each pass of the event loop.

Owns the queue of those that wait, and the account of what was done in a pass. However many clients send what takes
long to judge, a pass takes little more than a few steps, and what other clients send is read, stored and answered
between two of them. In a pass that takes long for other reasons, such as a flood of connections, more than one has its
turn: they have as long as everything else took, up to a limit. Never reads what a client sent.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

# What is judged in one pass as it is read; what is read after that waits for a turn. These are four milliseconds, or
# the full reads of sixteen clients.
_PASS_STEPS: Final = 4.0

# How long turns may take in a pass that took at least this long without them. Others wait meanwhile.
_MOST_S: Final = 0.005


class Turns:
    """The event loop's clock, and a queue that gives one turn a pass: see Scheduler. Only the loop's thread uses it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], object]] = deque()
        self._is_scheduled = False
        self._done = 0.0  # steps, in this pass
        self._ended_at: float | None = None  # the last turns, if others have been waiting since
        self.time = loop.time  # connections read it for each piece of data
        self.call_in_next_pass = loop.call_soon
        self.call_later = loop.call_later

    @property
    def is_pass_full(self) -> bool:
        """See Scheduler; likewise below."""
        return self._done >= _PASS_STEPS

    def work(self, steps: float) -> None:
        if steps and not self._done:
            self._loop.call_soon(self._end_pass)
        self._done += steps

    def _end_pass(self) -> None:
        self._done = 0.0

    def call_soon(self, callback: Callable[[], object], /) -> None:
        """Call `callback` when all that wait already have had their turn, one in each pass of the loop."""
        self._waiting.append(callback)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        began = self.time()
        others_s = began - self._ended_at if self._ended_at is not None else 0.0
        until = began + _MOST_S if others_s >= _MOST_S else began
        try:
            self._waiting.popleft()()
            while self._waiting and self.time() < until:
                self._waiting.popleft()()
        finally:
            self._is_scheduled = bool(self._waiting)
            self._ended_at = self.time() if self._waiting else None
            if self._waiting:
                self._loop.call_soon(self._next)
