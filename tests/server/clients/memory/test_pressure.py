"""Who has a turn when memory is short, in simulated time: members that read what others have sent, or do not send."""

from collections.abc import Callable
from typing import Final

import pytest

from logferry.server.clients.connection.pace import Pace
from logferry.server.clients.memory.flow_control import READ_BYTES, REST_BYTES, MemoryAccount, MemoryBudget
from logferry.server.clients.memory.pressure import Pressure
from tests.support.clients import ManualScheduler

MIB: Final = 1024 * 1024
KIB: Final = 1024

_LIMIT: Final = 16 * MIB
_TICK_S: Final = 0.01
_SOCKET_BYTES: Final = 128 * KIB  # what the kernel holds of a client that is not read from


class Member:
    """A client with one message after the other, each `size` bytes: `burst` as fast as it is read, then at `rate`."""

    def __init__(self, net: "Net", *, size: int, rate: float, burst: int) -> None:
        self.net, self.size, self.rate, self.burst = net, size, rate, burst
        self.memory = MemoryAccount(net.budget)
        self.is_paused = False
        self.pace = Pace()
        self.unread = 0.0
        self.heard = 0.0
        self.waits: list[float] = []
        self.drops = 0
        self.begin()

    def begin(self) -> None:
        """Send another message."""
        self.began = self.net.scheduler.now
        self.left = float(self.size)
        self.pace.start(self.began, 0)

    def tick(self) -> None:
        """Send what the network carries, and have the server read it if it reads."""
        in_burst = self.burst - (self.size - self.left)
        sent = min(self.left, _SOCKET_BYTES - self.unread, max(in_burst, self.rate * _TICK_S))
        self.left -= sent
        self.unread += sent
        self.regulate()
        if self.unread and not self.is_paused:
            self.read()

    def read(self) -> None:
        """Read once; a message may be complete then."""
        read = min(self.unread, self.memory.read_bytes)
        self.unread -= read
        self.heard = self.net.scheduler.now
        self.memory.hold(self.memory.partial + int(read), 0, 0)
        if self.left + self.unread < 1:
            self.memory.hold(0, 0, 0)
            self.memory.submitted(self.size)
            self.memory.stored(self.size)
            self.net.pressure.leave(self)
            self.waits.append(self.net.scheduler.now - self.began)
            self.begin()
        self.net.regulate()

    def regulate(self) -> None:
        """See Member; likewise below."""
        was_paused, self.is_paused = self.is_paused, self.memory.must_pause
        if self.is_paused:
            self.net.pressure.wait(self)
        elif was_paused and self.unread >= REST_BYTES:
            self.pace.start(self.net.scheduler.now, self.memory.partial)

    def take_turn(self) -> None:
        self.memory.has_turn = True
        self.regulate()

    def takes_rest(self) -> bool:
        return False

    def read_once(self, size: int) -> None:
        raise NotImplementedError

    def behind_s(self, now: float, least_per_s: int) -> float:
        if self.unread >= REST_BYTES:
            return 0.0
        idle_s = 0.0 if self.unread else now - max(self.heard, self.pace.began)
        return max(idle_s, self.pace.behind_s(now, self.memory.partial + int(self.unread), least_per_s))

    def drop_for_memory(self) -> None:
        """Come again at once."""
        self.drops += 1
        self.memory.hold(0, 0, 0)
        self.memory.delivered = 0
        self.net.pressure.leave(self)
        self.unread = 0.0
        self.begin()


class Net:
    """A server that reads as fast as clients send."""

    def __init__(self) -> None:
        self.scheduler = ManualScheduler()
        self.budget = MemoryBudget(_LIMIT)
        self.pressure = Pressure(self.budget, self.scheduler, self.regulate)
        self.members: list[Member] = []

    def add(self, count: int, *, size: int = 8 * MIB, rate: float, burst: int = 0) -> list[Member]:
        """Connect clients."""
        added = [Member(self, size=size, rate=rate, burst=burst) for _ in range(count)]
        self.members += added
        self.budget.clients = len(self.members)
        return added

    def regulate(self) -> None:
        """See Registry.regulate_memory."""
        self.budget.update()
        now = self.scheduler.now
        self.pressure.drop_those_behind(self.members, now)
        self.pressure.regulate(now)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / _TICK_S)):
            self.scheduler.now += _TICK_S
            self.scheduler.run_what_is_due()
            self.scheduler.run()
            for member in self.members:
                member.tick()
            assert self.budget.total <= self.budget.most_without_turns + 8 * MIB + 33 * READ_BYTES


_ATTACKS: Final[dict[str, Callable[[Net], object]]] = {
    "they send nothing in their turn": lambda net: net.add(100, rate=0.0, burst=300 * KIB),
    "they send slowly in their turn": lambda net: net.add(60, rate=1.15 * MIB, burst=400 * KIB),
    "they send as fast as they must": lambda net: net.add(60, rate=4.1 * MIB, burst=400 * KIB),
    "some hold most of it, many little": lambda net: (
        net.add(5, rate=300 * KIB, burst=3 * MIB),
        net.add(200, rate=0.0, burst=100 * KIB),
    ),
}


@pytest.mark.parametrize("attack", _ATTACKS)
def test_an_honest_client_with_lines_of_a_mebibyte_never_waits_a_second(attack: str) -> None:
    net = Net()
    (honest,) = net.add(1, size=MIB, rate=50 * MIB)
    net.run(0.1)
    assert honest.waits
    _ATTACKS[attack](net)
    net.run(3.0)
    assert net.budget.is_tight
    assert honest.drops == 0
    assert max([*honest.waits, net.scheduler.now - honest.began]) < 1.0


@pytest.mark.parametrize("attack", _ATTACKS)
def test_a_newcomer_that_has_delivered_nothing_yet_gets_its_turn_too(attack: str) -> None:
    net = Net()
    _ATTACKS[attack](net)
    net.run(2.0)
    (newcomer,) = net.add(1, size=MIB, rate=50 * MIB)
    net.run(2.0)
    assert newcomer.waits


def test_clients_on_a_slow_network_complete_their_messages_one_after_the_other() -> None:
    net = Net()
    slow = net.add(30, size=MIB, rate=2 * MIB)
    net.run(4.0)
    assert all(len(member.waits) > 1 for member in slow)
    assert sum(member.drops for member in slow) < sum(len(member.waits) for member in slow) / 2
