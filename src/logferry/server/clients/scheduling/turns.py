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

from logferry.protocol.steps import STEP_BYTES
from logferry.server.clients.memory.flow_control import READ_BYTES
from logferry.server.clients.memory.parties import Party

# What is judged in one pass as it is read; what is read after that waits for a turn. These are four milliseconds, or
# the full reads of sixteen clients.
_PASS_STEPS: Final = 4.0

# How long turns may take in a pass that took at least this long without them. Others wait meanwhile.
_MOST_S: Final = 0.005

# What is judged of one party's reads in a pass while others have something to do, too: a full read, as of a party with
# one connection.
_PASS_STEPS_OF_PARTY: Final = READ_BYTES / STEP_BYTES

# When another party has had something to do, it is expected to have more within this many passes.
_CONTENDED_PASSES: Final = 16


class Turns:
    """The event loop's clock, and a queue that gives one turn a pass: see Scheduler. Only the loop's thread uses it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[object, deque[Callable[[], object]]] = {}  # by party, in the order of turns
        self._is_scheduled = False
        self._done = 0.0  # steps, in this pass
        self._done_for: dict[Party, float] = {}
        self._passes = 0
        self._last: Party | None = None  # for which something was done
        self._contended_until = 0
        self._ended_at: float | None = None  # the last turns, if others have been waiting since
        self.time = loop.time  # connections read it for each piece of data
        self.call_in_next_pass = loop.call_soon
        self.call_later = loop.call_later

    def is_pass_full(self, party: Party | None) -> bool:
        """See Scheduler; likewise below."""
        if self._done >= _PASS_STEPS:
            return True
        if party is None or self._passes >= self._contended_until:
            return False
        return self._done_for.get(party, 0.0) >= _PASS_STEPS_OF_PARTY

    def work(self, steps: float, party: Party | None) -> None:
        if steps and not self._done:
            self._loop.call_soon(self._end_pass)
        self._done += steps
        if party is not self._last:
            self._last, self._contended_until = party, self._passes + _CONTENDED_PASSES
        if party is not None:
            self._done_for[party] = self._done_for.get(party, 0.0) + steps

    def _end_pass(self) -> None:
        self._done = 0.0
        self._done_for.clear()
        self._passes += 1

    def call_soon(self, callback: Callable[[], object], party: Party | None) -> None:
        """Call `callback` when all that wait already have had their turn, one in each pass of the loop."""
        self._waiting.setdefault(party or callback, deque()).append(callback)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        began = self.time()
        others_s = began - self._ended_at if self._ended_at is not None else 0.0
        until = began + _MOST_S if others_s >= _MOST_S else began
        try:
            self._take_turn()
            while self._waiting and self.time() < until:
                self._take_turn()
        finally:
            self._is_scheduled = bool(self._waiting)
            self._ended_at = self.time() if self._waiting else None
            if self._waiting:
                self._loop.call_soon(self._next)

    def _take_turn(self) -> None:
        party = next(iter(self._waiting))
        callbacks = self._waiting.pop(party)
        callback = callbacks.popleft()
        if callbacks:
            self._waiting[party] = callbacks  # behind the others
        callback()
