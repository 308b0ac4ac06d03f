"""Whose handshake goes on next, and who must give way when there are too many."""

from collections.abc import Callable
from typing import Any

from logferry.server.clients.tls.handshakes import Handshakes


class FakeLoop:
    """A loop whose passes the test makes; each step takes a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.delays: list[float] = []
        self._next: list[Callable[[], Any]] = []

    def time(self) -> float:
        """Return the time."""
        return self.now

    def call_soon(self, callback: Callable[[], Any], /) -> None:
        """Call in the next pass."""
        self.call_later(0.0, callback)

    def call_later(self, delay: float, callback: Callable[[], Any], /) -> None:
        """Call in the next pass, too."""
        self.delays.append(delay)
        self._next.append(callback)

    def run(self) -> None:
        """Make passes until nothing is left to do."""
        while self._next:
            calls, self._next = self._next, []
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
        self.world.loop.now += 1.0
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


def test_networks_take_turns_and_the_loop_rests_as_long_as_a_step_took() -> None:
    world = World()
    for name in ("a1", "a2", "a3"):
        world.peer(name)
    world.peer("b1", "b")
    world.loop.run()
    assert world.log == ["a1", "b1", "a2", "a3"]
    assert world.loop.delays == [0.0, 1.0, 1.0, 1.0]
    assert world.handshakes.in_progress == 4


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


def test_a_newcomer_gives_way_while_all_the_others_wait_for_the_server() -> None:
    world = World()
    flood = [world.peer(f"a{number}") for number in range(4)]
    late = world.peer("a4")
    honest = world.peer("honest", "b")
    world.loop.run()
    assert late.gave_way
    assert not honest.gave_way
    assert [peer.gave_way for peer in flood].count(True) == 1
    assert "honest" in world.log


def test_who_leaves_is_forgotten_and_may_leave_again() -> None:
    world = World()
    peer = world.peer("a1")
    world.handshakes.leave(peer)
    world.handshakes.leave(peer)
    world.loop.run()
    assert (world.log, world.handshakes.in_progress) == ([], 0)
