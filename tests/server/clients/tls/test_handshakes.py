"""Whose handshake goes on next, and who must give way when there are too many."""

from collections.abc import Callable
from typing import Any

from logferry.server.clients.tls.handshakes import Handshakes


class FakeLoop:
    """A loop whose passes the test makes, and counts; each step takes a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step_s = 1.0
        self.passes = 0
        self._next: list[Callable[[], Any]] = []

    def time(self) -> float:
        """Return the time."""
        return self.now

    def call_soon(self, callback: Callable[[], Any], /) -> None:
        """Call in the next pass."""
        self._next.append(callback)

    def run(self) -> None:
        """Make passes until nothing is left to do."""
        while self._next:
            calls, self._next = self._next, []
            self.passes += 1
            for call in calls:
                call()


class Peer:
    """A connection that needs some steps."""

    def __init__(self, world: "World", name: str, network: str, steps: int) -> None:
        self.world, self.name, self.network, self.left = world, name, network, steps
        self.gave_way = False

    def step(self) -> None:
        """Do one step."""
        self.world.log.append(self.name)
        self.world.loop.now += self.world.loop.step_s
        self.left -= 1
        if not self.left:
            self.world.handshakes.leave(self)

    def give_way(self) -> None:
        """Note it."""
        self.gave_way = True
        self.world.handshakes.leave(self)


class World:
    """Handshakes with a small limit."""

    def __init__(self, limit: int = 4) -> None:
        self.loop = FakeLoop()
        self.handshakes = Handshakes(self.loop, limit=limit)
        self.log: list[str] = []

    def peer(self, name: str, network: str = "a", steps: int = 2) -> Peer:
        """Return a connection that wants its first step."""
        peer = Peer(self, name, network, steps)
        self.handshakes.want_step(peer)
        return peer


def test_networks_take_turns_and_a_long_step_is_the_only_one_of_its_pass() -> None:
    world = World()
    for name in ("a1", "a2", "a3"):
        world.peer(name)
    world.peer("b1", "b")
    world.loop.run()
    assert world.log == ["a3", "b1", "a2", "a1"]
    assert world.loop.passes == 4
    assert world.handshakes.in_progress == 4


def test_short_steps_have_as_long_as_everything_else_in_a_pass_took() -> None:
    world = World()
    world.loop.now, world.loop.step_s = 0.005, 0.001  # the pass before took 5 ms
    for number in range(4):
        world.peer(str(number))
    world.loop.run()
    assert (len(world.log), world.loop.passes) == (4, 1)


def test_a_finished_handshake_makes_room() -> None:
    world = World()
    for number in range(10):
        peer = world.peer(str(number), steps=1)
        world.loop.run()
        assert not peer.gave_way
    assert world.handshakes.in_progress == 0


def test_the_one_that_was_quiet_longest_gives_way_in_the_network_with_most() -> None:
    world = World()
    early = world.peer("honest", "b")
    flood = [world.peer(f"a{number}", steps=3) for number in range(3)]
    world.loop.run()  # all wait for their peers now
    world.handshakes.want_step(flood[0])
    world.loop.run()
    late = world.peer("a3")
    assert [peer.gave_way for peer in (early, *flood, late)] == [False, False, True, False, False]


def test_those_that_go_on_come_first_then_the_newest() -> None:
    world = World()
    first, second = world.peer("a1"), world.peer("a2")
    world.loop.run()
    world.log.clear()
    world.peer("a3")
    world.handshakes.want_step(first)
    world.peer("a4")
    world.handshakes.want_step(second)
    world.loop.run()
    assert world.log == ["a2", "a1", "a4", "a3"]


def test_a_newcomer_is_served_at_once_however_many_wait() -> None:
    world = World()
    flood = [world.peer(f"a{number}") for number in range(20)]
    world.peer("honest")
    world.loop.run()
    assert world.log[0] == "honest"
    assert [peer.gave_way for peer in flood] == [True] * 17 + [False] * 3


def test_who_leaves_is_forgotten_and_may_leave_again() -> None:
    world = World()
    peer = world.peer("a1")
    world.handshakes.leave(peer)
    world.handshakes.leave(peer)
    world.loop.run()
    assert (world.log, world.handshakes.in_progress) == ([], 0)
