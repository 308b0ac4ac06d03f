"""What waits for a name on the disk, by client: a file system without inodes stores lines only in files that exist.

Owns the deliveries that the store holds back, from its report of each until it gives the delivery back. Such deliveries
are not part of what the store has yet to store, so nobody waits for them but those who sent them. If all of them
together exceed their limit, clients lose what they have waiting: first those that have left, then the one with most.
Such a client is dropped without an error (rule A6), and sends again what was not acked. Runs in the event loop.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from logferry.server.clients.memory.flow_control import MemoryBudget
from logferry.server.clients.sessions.base import Channel, ClientDelivery


@dataclass(slots=True)
class _Waiting:
    """What waits of one client; `cost` in bytes of memory."""

    deliveries: set[ClientDelivery] = field(default_factory=set)
    cost: int = 0


class HeldDeliveries:
    """The deliveries of all clients that the store holds back."""

    def __init__(self, budget: MemoryBudget, give_up: Callable[[Collection[ClientDelivery]], None]) -> None:
        """`give_up` asks the store to give deliveries back that it still holds back."""
        self._budget = budget
        self._give_up = give_up
        self._of: dict[Channel, _Waiting] = {}

    def add(self, group: Iterable[ClientDelivery]) -> None:
        """Note that the store holds deliveries back, and make room if they are too much."""
        for delivery in group:
            waiting = self._of.setdefault(delivery.channel, _Waiting())
            waiting.deliveries.add(delivery)
            waiting.cost += delivery.cost
        self._make_room()

    def remove(self, delivery: ClientDelivery) -> None:
        """Note that the store has given a delivery back."""
        waiting = self._of.get(delivery.channel)
        if waiting is None or delivery not in waiting.deliveries:
            return  # given up
        waiting.deliveries.remove(delivery)
        waiting.cost -= delivery.cost
        if not waiting.deliveries:
            del self._of[delivery.channel]

    def _make_room(self) -> None:
        excess = sum(waiting.cost for waiting in self._of.values()) - self._budget.held_limit
        if excess <= 0:
            return
        for channel in self._worst_first():
            waiting = self._of.pop(channel)
            channel.drop_for_names()
            self._give_up(waiting.deliveries)
            excess -= waiting.cost
            if excess <= 0:
                return

    def _worst_first(self) -> Sequence[Channel]:
        return sorted(self._of, key=lambda channel: (not channel.has_left, -self._of[channel].cost))
