"""Whose handshake goes on next, and who must give way when there are too many."""

from collections.abc import Callable
from typing import Any

import pytest

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
            self.run_once()

    def run_once(self) -> None:
        """Make a pass."""
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
    assert world.log == ["a1", "b1", "a2", "a3"]
    assert world.loop.passes == 4
    assert world.handshakes.in_progress == 4


def test_short_steps_have_as_long_as_everything_else_in_a_pass_took() -> None:
    world = World()
    world.loop.now, world.loop.step_s = 0.005, 0.001  # the pass before took 5 ms
    for number in range(4):
        world.peer(str(number))
    world.loop.run()
    assert (len(world.log), world.loop.passes) == (4, 1)


def test_no_more_than_the_limit_have_begun_however_many_begin_together() -> None:
    """Thousands that sent their first message together all had a state of OpenSSL."""
    world = World(limit=4)
    held: list[int] = []
    peers = [world.peer(f"a{number}", steps=5) for number in range(100)]
    while any(peer.left == 5 for peer in peers):
        world.loop.run_once()
        begun = [peer for peer in peers if 0 < peer.left < 5]
        held.append(len(begun))
        for peer in begun:
            world.handshakes.want_step(peer)  # it goes on at once
    world.loop.run()
    assert max(held) <= 4
    assert not any(peer.gave_way for peer in peers)


def test_who_sends_its_part_byte_by_byte_gives_way_before_who_takes_a_few_steps() -> None:
    world = World(limit=4)
    honest = world.peer("honest", steps=3)
    hostile = [world.peer(f"a{number}", steps=1000) for number in range(3)]
    world.loop.run()
    for _ in range(10):
        for peer in hostile:
            world.handshakes.want_step(peer)  # a byte; the honest one's network takes its time
        world.loop.run()
    for peer in hostile:
        world.handshakes.want_step(peer)
    late = world.peer("late")
    world.loop.run()
    assert not honest.gave_way
    assert [peer.gave_way for peer in hostile].count(True) == 1
    assert late.left == 1


def test_who_has_begun_in_a_small_network_does_not_give_way_to_a_large_one_that_always_waits() -> None:
    world = World(limit=4)
    honest = world.peer("honest", "b", steps=3)
    hostile = [world.peer(f"a{number}", steps=1000) for number in range(3)]
    world.loop.run()
    for peer in hostile:
        world.handshakes.want_step(peer)
    late = world.peer("late")
    for _ in range(100):
        world.loop.run_once()
        for peer in hostile:
            if not peer.gave_way:
                world.handshakes.want_step(peer)
    assert not honest.gave_way
    assert late.left == 1


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
    world.loop.run()
    assert [peer.gave_way for peer in (early, *flood, late)] == [False, False, True, False, False]


def test_those_that_go_on_and_those_that_begin_share_the_steps_each_in_their_order() -> None:
    world = World(limit=10)
    old = [world.peer(f"old{number}", steps=3) for number in range(3)]
    world.loop.run()
    world.log.clear()
    for peer in old:
        world.handshakes.want_step(peer)
    for number in range(3):
        world.peer(f"new{number}")
    world.loop.run()
    assert sorted(world.log[0:2] + world.log[2:4]) == ["new0", "new1", "old0", "old1"]
    assert [name for name in world.log if name.startswith("old")] == ["old0", "old1", "old2"]
    assert [name for name in world.log if name.startswith("new")] == ["new0", "new1", "new2"]


def test_who_waits_for_the_server_does_not_give_way_however_many_do() -> None:
    world = World(limit=8)
    peers = [world.peer(f"a{number}") for number in range(8)]
    world.loop.run()
    for peer in peers:
        world.handshakes.want_step(peer)
    late = world.peer("honest")
    assert world.handshakes.can_take == 32 - 9
    world.loop.run()
    assert not any(peer.gave_way for peer in peers)
    assert late.left == 1


def test_while_many_wait_only_one_more_is_to_begin() -> None:
    """That one, so that others who send their part byte by byte do not keep new clients out."""
    world = World(limit=1000)
    for number in range(40):
        world.peer(f"a{number}", steps=1)
    assert world.handshakes.can_take == 1
    world.loop.run()
    assert world.handshakes.can_take == 32


@pytest.mark.parametrize("hostile_steps", [2, 3], ids=["stall after the first step", "send their part in pieces"])
def test_a_new_client_gets_in_while_a_hundred_peers_begin_again_and_again(hostile_steps: int) -> None:
    """Each peer has a connection that waits for a step, and begins another as soon as it has had the step."""
    world = World(limit=512)
    world.loop.step_s = 0.002
    honest_at: float | None = None

    class Hostile(Peer):
        def step(self) -> None:
            super().step()
            begins_anew = self.left == 1
            world.loop.call_soon(
                lambda: world.handshakes.want_step(again() if begins_anew else self) if honest_at is None else None
            )

    class Honest(Peer):
        def step(self) -> None:
            nonlocal honest_at
            super().step()
            if self.left:
                world.loop.call_soon(lambda: world.handshakes.want_step(self))
            else:
                honest_at = world.loop.now

    def again() -> Peer:
        return Hostile(world, "hostile", "a", hostile_steps)

    for _ in range(100):
        world.handshakes.want_step(again())
    for _ in range(1000):
        world.loop.run_once()
    began = world.loop.now
    world.handshakes.want_step(Honest(world, "honest", "a", 2))
    while honest_at is None:
        world.loop.run_once()
        assert world.loop.now < began + 2.0
    assert world.handshakes.in_progress <= 512


def test_who_leaves_is_forgotten_and_may_leave_again() -> None:
    world = World()
    peer = world.peer("a1")
    world.handshakes.leave(peer)
    world.handshakes.leave(peer)
    world.loop.run()
    assert (world.log, world.handshakes.in_progress) == ([], 0)
