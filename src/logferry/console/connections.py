"""Accepts the connections of the console, and holds them to a number: when there are too many, one that waits ends.

A connection waits during its TLS handshake, until its request is complete, between two requests, and while its reader
takes nothing; one that is being answered keeps its place. Owns which of those that wait ends: of the network that has
most, the one that has waited longest. Must never look at what is sent.
"""

import asyncio
import contextlib
import gc
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from logferry.addresses import network_of

# A handshake that has failed leaves 300 KB in objects that refer to each other, which Python finds only when it looks:
# it looks by the number of objects, and these are few.
_HANDSHAKES_PER_LOOK: Final = 32

# When the system has no descriptor left, until it may have one again.
_NO_DESCRIPTOR_S: Final = 0.2


class Place:
    """The place of a connection from a network. `waits_since` is None while it is answered; `end` ends it."""

    def __init__(self, network: str, now: float) -> None:
        self.network = network
        self.waits_since: float | None = now
        self.end: Callable[[], object] = lambda: None


class Places:
    """The places of all connections. Used by the event loop."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._taken: set[Place] = set()
        self._of_networks: Counter[str] = Counter()

    def take(self, address: str) -> Place | None:
        """Return a place, if need be that of one that waits, which is ended; None if all are being answered."""
        if len(self._taken) >= self._most:
            waiting = [place for place in self._taken if place.waits_since is not None]
            if not waiting:
                return None
            victim = max(waiting, key=lambda place: (self._of_networks[place.network], -(place.waits_since or 0)))
            victim.end()
            self.give_back(victim)
        place = Place(network_of(address), self._clock())
        self._taken.add(place)
        self._of_networks[place.network] += 1
        return place

    def give_back(self, place: Place) -> None:
        """Free a place, once."""
        if place in self._taken:
            self._taken.discard(place)
            self._of_networks[place.network] -= 1
            self._of_networks += Counter()  # only those that have any

    def waits(self, place: Place, *, is_waiting: bool) -> None:
        """Note that a connection waits from now on, or that it is answered."""
        if is_waiting is (place.waits_since is None):
            place.waits_since = self._clock() if is_waiting else None


class Door:
    """Accepts connections of one socket, until it is closed; `make` gives each its protocol."""

    def __init__(
        self,
        listening: socket.socket,
        places: Places,
        make: Callable[[Place], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        handshake_s: float,
    ) -> None:
        self._listening = listening
        self._places = places
        self._make = make
        self._tls = tls
        self._handshake_s = handshake_s
        self._beginning: set[asyncio.Task[None]] = set()
        self._failed = 0
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Accept nothing more; connections that have begun go on."""
        self._accepting.cancel()
        for task in self._beginning:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when nothing begins any more."""
        await asyncio.gather(self._accepting, *self._beginning, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listening)
            except OSError:
                await asyncio.sleep(_NO_DESCRIPTOR_S)
                continue
            self._begin(connection, str(address[0]))
            await asyncio.sleep(0)  # in a flood, connections that are there have their turn after each new one

    def _begin(self, connection: socket.socket, address: str) -> None:
        place = self._places.take(address)
        if place is None:
            connection.close()
            return
        task = asyncio.create_task(self._connect(connection, place))
        place.end = task.cancel
        self._beginning.add(task)
        task.add_done_callback(lambda done: self._has_begun(done, connection, place))

    async def _connect(self, connection: socket.socket, place: Place) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: self._make(place),
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=self._handshake_s if self._tls else None,
        )

    def _has_begun(self, task: "asyncio.Task[None]", connection: socket.socket, place: Place) -> None:
        self._beginning.discard(task)
        if task.cancelled() or task.exception():  # it had to make room, or its handshake has failed
            self._places.give_back(place)
            with contextlib.suppress(OSError):
                connection.close()
            self._failed += 1
            if self._tls and self._failed % _HANDSHAKES_PER_LOOK == 0:
                gc.collect()
