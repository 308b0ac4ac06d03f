"""What each of two identities gets of a busy server, counted in passes of its loop: no thread, socket or clock.

One has thirty connections, one has a single one, and all send as fast as they are read from.
"""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, cast

import pytest

from logferry.protocol.messages.writing import batch_header
from logferry.server.clients.memory.flow_control import READ_BYTES
from logferry.server.clients.memory.parties import Parties
from logferry.server.clients.scheduling.turns import Turns
from tests.support.authenticators import ByHost
from tests.support.clients import FakeClient, World
from tests.support.delivery import hello, opening
from tests.support.running import numbered_line

_CONNECTIONS = 30
_PASSES = 40
_PASS_S = 0.001
_PAYLOAD = b"".join(numbered_line(number) for number in range(6000))
_CRC32 = zlib.crc32(_PAYLOAD)


class PassingLoop:
    """A loop whose passes the test makes; each takes a millisecond."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._next: list[Callable[[], object]] = []

    def time(self) -> float:
        """Return the time."""
        return self.now

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call in the next pass."""
        self._next.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> None:
        """Call never: a test of some passes is over before."""

    def make_pass(self) -> bool:
        """Call what waits for the next pass; return whether something did."""
        calls, self._next = self._next, []
        self.now += _PASS_S
        for call in calls:
            call()
        return bool(calls)


class PassingTurns(Turns):
    """The turns of such a loop, as the scheduler of a world."""

    def __init__(self) -> None:
        self.loop = PassingLoop()
        super().__init__(cast(asyncio.AbstractEventLoop, self.loop))

    def run(self) -> None:
        """Make passes until nothing is left to do."""
        while self.loop.make_pass():
            pass


class Flood:
    """A client that always has more to send."""

    def __init__(self, world: World, host: str, number: int) -> None:
        self.source = f"{host}{number}"
        self._peer: FakeClient = world.connect(port=number)
        self._peer.send(hello(client=self.source, host=host))
        self._peer.send(opening(self.source, f"/{number}.log"))
        self._start = 0
        self._rest = b""

    def is_read(self) -> None:
        """Have the server read from the client, if it does so, as asyncio does in a pass."""
        if not self._peer.is_read_from:
            return
        size = self._peer.max_size or READ_BYTES
        while len(self._rest) < size:
            self._rest += self._batch()
        data, self._rest = self._rest[:size], self._rest[size:]
        self._peer.connection.data_received(data)

    def _batch(self) -> bytes:
        start, self._start = self._start, self._start + len(_PAYLOAD)
        header = batch_header(
            source=self.source,
            start=start,
            end=self._start,
            lines=6000,
            crc32=_CRC32,
            size=len(_PAYLOAD),
            is_gzip=False,
        )
        return header + _PAYLOAD


def share_of_the_single_one(world: World, turns: PassingTurns, *, store_in: int) -> float:
    """Return which part of what is stored in some passes is that of the identity with one connection.

    The store is done with what it has once in `store_in` passes.
    """
    clients = [*(Flood(world, "large", number) for number in range(_CONNECTIONS)), Flood(world, "small", 99)]
    for number in range(_PASSES):
        if store_in > 1:
            world.store.stall("it is busy")
        if number % store_in == 0:
            world.store.resume()
        for client in clients:
            client.is_read()
        turns.loop.make_pass()
    stored = {source: row.committed for source, row in world.store.records.sources.items()}
    return stored["small99"] / sum(stored.values())


@pytest.mark.parametrize("store_in", [1, 4, 16])
def test_a_single_connection_gets_about_as_much_as_the_many_of_another_identity(store_in: int) -> None:
    turns = PassingTurns()
    world = World(authenticator=ByHost(), scheduler=cast(Any, turns))
    assert share_of_the_single_one(world, turns, store_in=store_in) > 0.25


def test_without_the_account_by_identity_it_would_get_what_one_of_thirty_one_gets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Parties, "enter", lambda *_: None)
    turns = PassingTurns()
    world = World(authenticator=ByHost(), scheduler=cast(Any, turns))
    assert share_of_the_single_one(world, turns, store_in=1) < 0.05
