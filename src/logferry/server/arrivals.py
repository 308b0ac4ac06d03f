"""Clients that are accepted and wait until the server begins their handshake: networks take turns, each in its order.

What waits in the system's queue cannot be looked at, takes no turns, and keeps out who comes behind it. Here a client
costs a descriptor and nothing else, and one that has left while it waited costs a look. Owns the order and the bound:
at the bound, those leave that have gone already, then who came last from the network with most. Must never read from a
client.
"""

import asyncio
import heapq
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from logferry.protocol.opening.tls_opening import HANDSHAKE

# Looks at a client that has left take ten microseconds or so; others have their turn after a few milliseconds of them.
_LOOKS_PER_PASS: Final = 512

# A connection costs half a millisecond before its handshake begins. The others of a flood would wait as connections,
# each of which holds more, and takes more to end.
_BEGUN_PER_PASS: Final = 16

# At the bound, this part is closed at once, so that not every further client makes everybody be looked at.
_CLOSED_PART: Final = 1 / 8

# Of a connection that was reset, and of one whose other side has ended (include/net/tcp_states.h).
_CLOSE: Final = 7
_CLOSE_WAIT: Final = 8

Address = tuple[Any, ...]


class Arrival(NamedTuple):
    """A client that waits; `listening` is where it came."""

    listening: socket.socket
    accepted: socket.socket
    address: Address


class Arrivals:
    """The clients that wait. Everything runs in the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        limit: int,
        room: Callable[[], int],
        take: Callable[[socket.socket, socket.socket], None],
        network_of: Callable[[str], str],
        on_surplus: Callable[[Address], None] = lambda _: None,
    ) -> None:
        """`room` returns how many clients to begin with now, and `take` begins with one. `on_surplus` gets the address
        of a client that was closed because too many wait.
        """
        self._loop = loop
        self._limit = limit
        self._room = room
        self._take = take
        self._network_of = network_of
        self._on_surplus = on_surplus
        self._waiting: dict[str, deque[Arrival]] = {}  # by network, in the order of turns
        self._number = 0
        self._is_scheduled = False

    def __len__(self) -> int:
        return self._number

    def add(self, listening: socket.socket, accepted: socket.socket, address: Address) -> None:
        """Take a client in, and begin with it when it is its turn."""
        network = self._network_of(str(address[0]))
        self._waiting.setdefault(network, deque()).append(Arrival(listening, accepted, address))
        self._number += 1
        if self._number > self._limit:
            self._make_room()
        self._schedule()

    def close(self) -> None:
        """Close all that wait."""
        for arrivals in self._waiting.values():
            for arrival in arrivals:
                arrival.accepted.close()
        self._waiting.clear()
        self._number = 0

    def _schedule(self) -> None:
        if self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """Begin with the next ones; without room for them, the loop is busy with those before them."""
        self._is_scheduled = False
        room = min(self._room(), _BEGUN_PER_PASS)
        for _ in range(_LOOKS_PER_PASS):
            if room <= 0 or not self._waiting:
                break
            arrival = self._pop()
            if has_left(arrival.accepted):
                arrival.accepted.close()
            else:
                room -= 1
                self._take(arrival.listening, arrival.accepted)
        self._schedule()

    def _pop(self) -> Arrival:
        network = next(iter(self._waiting))
        arrivals = self._waiting.pop(network)
        if len(arrivals) > 1:
            self._waiting[network] = arrivals  # behind the others
        self._number -= 1
        return arrivals.popleft()

    def _make_room(self) -> None:
        self._close_those_that_left()
        part = max(1, int(self._limit * _CLOSED_PART))  # all are looked at: not again for each that comes
        if (surplus := self._number - (self._limit + 1 - part)) > 0:
            self._close_surplus(surplus)

    def _close_surplus(self, count: int) -> None:
        most = [(-len(arrivals), -place, name) for place, (name, arrivals) in enumerate(self._waiting.items())]
        heapq.heapify(most)
        for _ in range(count):
            size, place, network = most[0]
            heapq.heapreplace(most, (size + 1, place, network))
            self._close_last_of(network)

    def _close_last_of(self, network: str) -> None:
        arrivals = self._waiting[network]
        arrival = arrivals.pop()
        self._number -= 1
        if not arrivals:
            del self._waiting[network]
        arrival.accepted.close()
        self._on_surplus(arrival.address)

    def _close_those_that_left(self) -> None:
        for network, arrivals in list(self._waiting.items()):
            staying: deque[Arrival] = deque()
            for arrival in arrivals:
                if has_left(arrival.accepted):
                    arrival.accepted.close()
                else:
                    staying.append(arrival)
            self._number -= len(arrivals) - len(staying)
            self._waiting[network] = staying
            if not staying:
                del self._waiting[network]


def has_left(accepted: socket.socket) -> bool:
    """Whether a client has left without what this server could answer, where the system says so.

    Of one that has ended its side, a handshake cannot be finished; one that began without TLS waits for the reason.
    """
    try:
        state = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state != _CLOSE_WAIT:
            return state == _CLOSE
        return accepted.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) in (b"", HANDSHAKE)
    except (AttributeError, BlockingIOError):
        return False
    except OSError:
        return True
