"""Listening: binds every address of a host name to the same port, and accepts clients on them.

`Listener` has an accept loop of its own because asyncio's continues after a failure: at the limit on open files,
asyncio reports each of BACKLOG failures and schedules another attempt for each, which leaves the server no time for
anything else.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from logferry.addresses import is_loopback
from logferry.config.kinds.listen_urls import ListenUrl
from logferry.errors import LogferryError, cause_of
from logferry.server.arrivals import Arrivals, has_left
from logferry.server.client_socket import ClientSocket
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# Enough for thousands of clients that reconnect simultaneously after a restart. The system may lower it.
BACKLOG: Final = 4096

# Accept at most this many clients before connected clients have their turn.
_ACCEPTS_PER_TURN: Final = 128

# Of clients that wait for their turn: they cost little, and a flood must not fill the system's queue meanwhile.
_ARRIVALS_PER_TURN: Final = 256

# Most failures mean that the system has run out of descriptors or memory: an immediate retry would fail too.
_RETRY_S: Final = 1.0

Address = tuple[Any, ...]
"""What `bind` takes: host and port, and two more numbers for IPv6."""

Take = Callable[[socket.socket, socket.socket], None]
"""Begins with a client: gets the listening socket and the accepted one."""


class Listener:
    """Accepts clients and makes a connection for each. Everything runs in the event loop."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        loop: asyncio.AbstractEventLoop,
        *,
        new_connection: Callable[[socket.socket], asyncio.Protocol],
        has_room_for: Callable[[int], bool] = lambda _: True,
        on_refused: Callable[[], None] = lambda: None,
        arrivals_for: Callable[[Take], Arrivals | None] = lambda _: None,
        takes_turns: Callable[[socket.socket], bool] = lambda _: False,
        retry_s: float = _RETRY_S,
    ) -> None:
        """`new_connection` gets the listening socket; `has_room_for` returns whether the server can take this many more
        clients than have been connected.

        `arrivals_for` makes the place where clients of a listening socket that `takes_turns` wait for theirs.
        """
        self._sockets = sockets
        self._loop = loop
        self._new_connection = new_connection
        self._has_room_for = has_room_for
        self._on_refused = on_refused
        self._takes_turns = takes_turns
        self._arrivals = arrivals_for(self._take)
        self._retry_s = retry_s
        self._failures = RepeatLimit(logger)
        self._retries: dict[socket.socket, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[Any]] = set()  # the loop holds only weak references to tasks
        self._uncounted: set[asyncio.Task[Any]] = set()  # tasks of clients that `has_room_for` does not count yet

    def open(self) -> None:
        """Start accepting clients."""
        for sock in self._sockets:
            self._resume(sock)

    def close(self) -> None:
        """Stop accepting clients and close the sockets."""
        for retry in self._retries.values():
            retry.cancel()
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        if self._arrivals is not None:
            self._arrivals.close()
        self._failures.flush()

    def _resume(self, sock: socket.socket) -> None:
        self._retries.pop(sock, None)
        self._loop.add_reader(sock, self._accept, sock)

    def _accept(self, listening: socket.socket) -> None:
        """Accept waiting clients. Pause after a failure: the next attempt would fail in the same way."""
        waiting = self._arrivals if self._takes_turns(listening) else None
        for accepts in range(_ACCEPTS_PER_TURN if waiting is None else _ARRIVALS_PER_TURN):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                if accepts:  # nobody is waiting any more
                    self._failures.all_over("accepting connections again")
                return
            except ConnectionAbortedError:
                continue  # this client has already gone
            except OSError as error:
                self._pause(listening, error)
                return
            if waiting is None:
                self._take(listening, accepted)
            elif has_left(accepted):
                accepted.close()  # a flood leaves thousands of these
            else:
                waiting.add(listening, accepted, address)

    def _take(self, listening: socket.socket, accepted: socket.socket) -> None:
        if self._has_room_for(len(self._uncounted) + 1):
            self._start_connecting(listening, ClientSocket.taking_over(accepted))
        else:
            accepted.close()  # at once: while it lingers, its descriptor is one that the store may need
            self._on_refused()

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        self._failures.log(logging.WARNING, error.errno, "cannot accept connections, retrying: %s", cause_of(error))
        self._loop.remove_reader(listening)
        self._retries[listening] = self._loop.call_later(self._retry_s, self._resume, listening)

    def _start_connecting(self, listening: socket.socket, accepted: socket.socket) -> None:
        task = self._loop.create_task(self._connect(listening, accepted))
        for tasks in (self._tasks, self._uncounted):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _connect(self, listening: socket.socket, accepted: socket.socket) -> None:
        task = asyncio.current_task()

        def new_connection() -> asyncio.Protocol:
            connection = self._new_connection(listening)
            # asyncio schedules `connection_made` next, and from then on `has_room_for` counts the client. The task ends
            # two turns of the loop later: meanwhile, it would count the client a second time.
            self._loop.call_soon(self._uncounted.discard, task)
            return connection

        try:
            await self._loop.connect_accepted_socket(new_connection, accepted)
        except OSError as error:  # the client has already gone
            logger.debug("a client left before its connection was set up: %s", cause_of(error))
            accepted.close()


class BoundAddress(NamedTuple):
    """An address and port that a server listens on."""

    host: str
    port: int
    is_tls: bool = False

    def __str__(self) -> str:
        return f"{self.host} port {self.port}{' (TLS)' * self.is_tls}"

    @property
    def is_exposed(self) -> bool:
        """Whether other machines may reach it."""
        return not is_loopback(self.host)


def bound_addresses(sockets: Mapping[socket.socket, ListenUrl]) -> list[BoundAddress]:
    """Return the address of each socket."""
    return [BoundAddress(str(host), int(port), url.is_tls) for (host, port, *_), url in _names_of(sockets)]


def _names_of(sockets: Mapping[socket.socket, ListenUrl]) -> Iterator[tuple[Address, ListenUrl]]:
    return ((sock.getsockname(), url) for sock, url in sockets.items())


def exposure_warnings(
    addresses: Iterable[BoundAddress], *, verifies_clients: bool, knows_clients: bool = False
) -> Iterator[str]:
    """Yield a sentence for each way in which more people can store lines, or read them, than an operator may think."""
    exposed = [address for address in addresses if address.is_exposed]
    if knows_clients:
        return
    if plain := ", ".join(str(address) for address in exposed if not address.is_tls):
        yield (
            f"everybody who can reach {plain} can store lines under any host name: there is no login and no "
            "encryption. Listen on loopback, or with TLS (--listen tls://..., --tls-client-ca), or let a firewall "
            "decide who can connect"
        )
    if not verifies_clients and (encrypted := ", ".join(str(address) for address in exposed if address.is_tls)):
        yield (
            f"everybody who can reach {encrypted} can store lines under any host name: the connections are encrypted, "
            "but no client has to prove who it is. --tls-client-ca demands certificates of clients"
        )


def open_all(urls: Iterable[ListenUrl]) -> dict[socket.socket, ListenUrl]:
    """Bind and listen on every address of every URL, or on none. Raises LogferryError."""
    sockets: dict[socket.socket, ListenUrl] = {}
    try:
        for url in urls:
            sockets |= dict.fromkeys(open_listeners(url.host, url.port), url)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Bind and listen on every address of `host`; port 0 selects one free port for all addresses.

    `::` accepts IPv4 as well. Raises LogferryError.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            sockets.append(_listen(family, _with_port(address, port or _port_of(sockets)), dual=host == "::"))
    except OSError as error:
        for sock in sockets:
            sock.close()
        reason = cause_of(error)
        raise LogferryError(f"cannot listen on {host} port {port}: {reason}") from error
    return sockets


def _addresses(host: str, port: int) -> list[tuple[int, Address]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    unique: list[tuple[int, Address]] = list(
        dict.fromkeys((int(family), address) for family, _, _, _, address in found)
    )
    # A name may have an IPv6 address on a machine with IPv6 disabled; one usable address is enough.
    return [entry for entry in unique if len(unique) == 1 or _can_bind(*entry)] or unique


def _can_bind(family: int, address: Address) -> bool:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind(_with_port(address, 0))
        return True
    return False


def _with_port(address: Address, port: int) -> Address:
    return (address[0], port, *address[2:])


def _port_of(sockets: list[socket.socket]) -> int:
    return int(sockets[0].getsockname()[1]) if sockets else 0


def _listen(family: int, address: Address, *, dual: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
