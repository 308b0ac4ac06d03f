"""Clients that are not read from because all clients together hold too much: who goes on first when there is room.

Owns their order. When the pressure is over, a few of those that send much go on in each pass of the event loop, those
that have waited longest first. If all did at once, what a thousand clients have sent meanwhile would begin the next
pressure in the same pass, and each would have been resumed and paused for nothing. Must never keep a client that holds
little waiting under pressure (flow_control.py).
"""

from itertools import islice
from typing import Final

from logferry.server.clients.memory.flow_control import REST_BYTES, MemoryBudget
from logferry.server.clients.memory.pressure import Member
from logferry.server.clients.services import Scheduler

# In one pass of the loop; their reads fill what an end of the pressure leaves free of the limit of the store.
_TOGETHER: Final = 16

# Small reads: many groups may come back before the first of these clients is read from, and a client that sends nothing
# keeps its read. The roster asks for them only near the limit of the store.
_READS_PER_GROUP: Final = 2


class Paused:
    """The clients that wait until the pressure is over, in the order in which they were paused."""

    def __init__(self, budget: MemoryBudget, scheduler: Scheduler) -> None:
        self._budget = budget
        self._scheduler = scheduler
        self._clients: dict[Member, None] = {}
        self._will_resume = False

    def add(self, client: Member) -> None:
        """Note that a client waits; its place is the one that it has already, if it has one."""
        client.memory.is_paused = True
        self._clients[client] = None

    def leave(self, client: Member) -> None:
        """Note that a client goes on, or has left."""
        if client.memory.is_paused:
            client.memory.is_paused = False
            del self._clients[client]

    def resume(self) -> None:
        """Let the clients go on, those that send much a few at a time. Call this when the pressure is over."""
        for client in [client for client in self._clients if not client.memory.sends_much]:
            self._go_on(client)
        self._resume_soon()

    def _resume_soon(self) -> None:
        if self._clients and not self._budget.is_tight and not self._will_resume:
            self._will_resume = True
            self._scheduler.call_in_next_pass(self._resume_some)

    def read_some(self) -> None:
        """Read once from those that have waited longest, because the store has made progress and is still behind.

        Without that, clients that send little could keep the others from sending, by keeping the store behind.
        """
        for client in list(islice(self._clients, _READS_PER_GROUP)):
            self.leave(client)
            client.read_once(REST_BYTES)

    def _resume_some(self) -> None:
        self._will_resume = False
        if self._budget.is_tight:
            return
        self._resume_soon()  # the others, whatever comes of these
        for client in list(islice(self._clients, _TOGETHER)):
            self._go_on(client)

    def _go_on(self, client: Member) -> None:
        self.leave(client)
        client.regulate()
