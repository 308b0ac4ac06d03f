"""Clients that wait for their handshake: whose turn it is, and who must leave when too many wait."""

import socket
from collections.abc import Callable
from typing import Any, cast

import pytest

from logferry.server.arrivals import Arrivals, has_left
from logferry.server.descriptors import most_arrivals
from tests.support.clients import World

ESTABLISHED, CLOSE, CLOSE_WAIT = 1, 7, 8
_HELLO = b"\x16"


class PassingLoop:
    """A loop whose passes the test makes."""

    def __init__(self) -> None:
        self._next: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call in the next pass."""
        self._next.append(callback)

    def make_pass(self) -> None:
        """Call what waits for the next pass."""
        calls, self._next = self._next, []
        for call in calls:
            call()


class FakeSocket:
    """An accepted socket, as far as one that waits is looked at."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = ESTABLISHED
        self.waiting = _HELLO
        self.is_closed = False

    def getsockopt(self, *_: int) -> bytes:
        """Return the state of the connection."""
        return bytes((self.state,))

    def recv(self, *_: int) -> bytes:
        """Return what has arrived."""
        if not self.waiting:
            raise BlockingIOError
        return self.waiting

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


class Scene:
    """A place where clients wait, with a small bound."""

    def __init__(self, *, limit: int = 100, room: int = 1000) -> None:
        self.loop = PassingLoop()
        self.room = room
        self.taken: list[str] = []
        self.surplus: list[str] = []
        self.arrivals = Arrivals(
            cast(Any, self.loop),
            limit=limit,
            room=lambda: self.room,
            take=lambda _, accepted: self.taken.append(cast(Any, accepted).name),
            network_of=lambda address: address[0],
            on_surplus=lambda address: self.surplus.append(address[0]),
        )

    def come(self, *names: str) -> list[FakeSocket]:
        """Have clients arrive; the first letter of a name is the network."""
        sockets = [FakeSocket(name) for name in names]
        for sock in sockets:
            self.arrivals.add(cast(Any, "listening"), cast(Any, sock), (sock.name, 5000))
        return sockets


def test_networks_take_turns_and_each_keeps_its_order() -> None:
    scene = Scene()
    scene.come("a1", "a2", "a3", "b1", "c1", "b2")
    assert scene.taken == []
    scene.loop.make_pass()
    assert scene.taken == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(scene.arrivals) == 0


def test_no_more_are_begun_than_there_is_room_for() -> None:
    scene = Scene(room=2)
    scene.come("a1", "a2", "a3", "b1")
    scene.loop.make_pass()
    assert scene.taken == ["a1", "b1"]
    scene.room = 0
    scene.loop.make_pass()
    assert len(scene.taken) == 2
    scene.room = 5
    scene.loop.make_pass()
    assert scene.taken == ["a1", "b1", "a2", "a3"]


def test_in_a_pass_a_few_are_begun_whatever_the_room() -> None:
    scene = Scene()
    scene.come(*(f"a{number}" for number in range(40)))
    begun = []
    for _ in range(3):
        scene.loop.make_pass()
        begun.append(len(scene.taken))
    assert begun == [16, 32, 40]


def test_who_has_left_while_it_waited_costs_neither_room_nor_a_turn() -> None:
    scene = Scene(room=1)
    gone = scene.come(*(f"a{number}" for number in range(90)))
    for sock in gone:
        sock.state = CLOSE
    scene.come("a-honest")
    scene.loop.make_pass()
    assert scene.taken == ["a-honest"]
    assert all(sock.is_closed for sock in gone)


def test_at_the_bound_those_leave_first_that_have_gone() -> None:
    scene = Scene(limit=10, room=0)
    sockets = scene.come(*(f"a{number}" for number in range(10)))
    for sock in sockets[:5]:
        sock.state = CLOSE
    scene.come("a-honest")
    assert ([sock.is_closed for sock in sockets], scene.surplus) == ([True] * 5 + [False] * 5, [])


def test_one_that_leaves_now_and_then_does_not_have_all_looked_at_for_each_that_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(limit=64, room=0)
    looks: list[str] = []
    look = FakeSocket.getsockopt

    def counting(sock: FakeSocket, *option: int) -> bytes:
        looks.append(sock.name)
        return look(sock, *option)

    monkeypatch.setattr(FakeSocket, "getsockopt", counting)
    sockets = scene.come(*(f"a{number}" for number in range(64)))
    for number in range(30):
        next(sock for sock in sockets if not sock.is_closed).state = CLOSE
        scene.come(f"b{number}")
    assert len(looks) <= 5 * 64


def test_at_the_bound_the_network_with_most_loses_who_came_last() -> None:
    scene = Scene(limit=16, room=0)
    flood = scene.come(*(f"a{number}" for number in range(12)))
    others = scene.come("b1", "c1", "b2", "c2")
    late = scene.come("d1")
    assert [sock.name for sock in flood if sock.is_closed] == ["a10", "a11"]
    assert not any(sock.is_closed for sock in [*others, *late])
    assert sorted(scene.surplus) == ["a10", "a11"]
    assert len(scene.arrivals) == 15


@pytest.mark.parametrize("networks", ["a", "abcdefghijklmnopqrstuvwxyz"])
def test_however_many_come_the_number_is_bounded_and_the_first_keep_their_place(networks: str) -> None:
    scene = Scene(limit=64, room=0)
    first = scene.come(*(f"{networks[number % len(networks)]}-first{number}" for number in range(20)))
    later = scene.come(*(f"{networks[number % len(networks)]}{number}" for number in range(1000)))
    assert len(scene.arrivals) <= 64
    assert not any(sock.is_closed for sock in first)
    assert sum(sock.is_closed for sock in later) == len(scene.surplus) == 1020 - len(scene.arrivals)


def test_who_is_closed_because_too_many_wait_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    for port in (5000, 5001):
        world.roster.note_surplus(("10.0.0.9", port))
    assert caplog.messages == [
        "10.0.0.9 port 5000: TLS handshake failed: too many connections wait for their handshake"
    ]
    assert (world.counters.handshakes_failed, world.counters.connections_total) == ({"too_many": 2}, 2)


@pytest.mark.parametrize(("descriptors", "expected"), [(1024, 128), (20_000, 2500), (1_048_576, 4096)])
def test_an_eighth_of_the_descriptors_is_for_those_that_wait(descriptors: int, expected: int) -> None:
    assert most_arrivals(descriptors) == expected


def test_all_that_wait_are_closed_at_the_end() -> None:
    scene = Scene()
    sockets = scene.come("a1", "b1")
    scene.arrivals.close()
    scene.loop.make_pass()
    assert [sock.is_closed for sock in sockets] == [True, True]
    assert scene.taken == []


@pytest.mark.parametrize(
    ("state", "waiting", "expected"),
    [
        (ESTABLISHED, b"", False),
        (CLOSE, b"", True),
        (CLOSE_WAIT, _HELLO, True),
        (CLOSE_WAIT, b"{", False),  # it speaks without TLS, and learns that this port does not
    ],
)
def test_whether_a_client_has_left(state: int, waiting: bytes, expected: bool) -> None:
    sock = FakeSocket("a1")
    sock.state, sock.waiting = state, waiting
    assert has_left(cast(socket.socket, sock)) == expected
