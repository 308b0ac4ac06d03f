"""Accepting clients, and what the listener does when the system has no resources left."""

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from logferry.server.arrivals import Arrivals
from logferry.server.listen import BoundAddress, Listener, exposure_warnings, open_listeners
from tests.support.clients import World
from tests.support.messages import without_duration
from tests.support.running import DEADLINE_S


class Greeter(asyncio.Protocol):
    """Greets and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello\n")
        transport.close()


class FailingSocket:
    """A listening socket whose `accept` fails as long as it has errors left."""

    def __init__(self, listening: socket.socket, errors: list[int]) -> None:
        self._listening = listening
        self.errors = errors
        self.attempts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listening, name)

    def accept(self) -> tuple[socket.socket, Any]:
        """Fail, or accept."""
        self.attempts += 1
        if self.errors:
            code = self.errors.pop(0)
            raise OSError(code, os.strerror(code))
        return self._listening.accept()


def run(scenario: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(scenario(asyncio.get_running_loop()), DEADLINE_S)

    asyncio.run(within())


async def greeting(address: tuple[Any, ...]) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    text = await reader.read()
    writer.close()
    return text


def test_clients_are_accepted_until_the_listener_closes() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        sockets = open_listeners("127.0.0.1", 0)
        address = sockets[0].getsockname()
        listener = Listener(sockets, loop, new_connection=lambda _: Greeter())
        listener.open()
        assert await asyncio.gather(*(greeting(address) for _ in range(300))) == [b"hello\n"] * 300
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    run(scenario)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
def test_at_a_system_limit_the_listener_pauses_and_logs_once(code: int, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        (sock,) = open_listeners("127.0.0.1", 0)
        failing: Any = FailingSocket(sock, [code] * 20)
        listener = Listener([failing], loop, new_connection=lambda _: Greeter(), retry_s=0.001)
        listener.open()
        assert await greeting(sock.getsockname()) == b"hello\n"
        assert failing.attempts >= 21
        listener.close()

    caplog.set_level("INFO", "logferry")
    run(scenario)
    assert caplog.messages[0] == f"cannot accept connections, retrying: {os.strerror(code)}"
    assert len(caplog.messages) == 2
    assert without_duration(caplog.messages[1]) == "accepting connections again (repeated 19 times in T s)"


def test_errors_that_differ_are_each_logged(caplog: pytest.LogCaptureFixture) -> None:
    codes = [errno.EPERM, errno.EPROTO, errno.EMFILE]

    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        (sock,) = open_listeners("127.0.0.1", 0)
        failing: Any = FailingSocket(sock, codes * 2)
        listener = Listener([failing], loop, new_connection=lambda _: Greeter(), retry_s=0.001)
        listener.open()
        assert await greeting(sock.getsockname()) == b"hello\n"
        assert caplog.messages == [f"cannot accept connections, retrying: {os.strerror(code)}" for code in codes]
        listener.close()

    run(scenario)


def test_after_one_failed_attempt_the_listener_waits() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        (sock,) = open_listeners("127.0.0.1", 0)
        failing: Any = FailingSocket(sock, [errno.EMFILE] * 1000)
        listener = Listener([failing], loop, new_connection=lambda _: Greeter(), retry_s=3600)
        listener.open()
        _, writer = await asyncio.open_connection(*sock.getsockname())
        for _ in range(100):
            await asyncio.sleep(0)
        assert failing.attempts == 1
        writer.close()
        listener.close()

    run(scenario)


def test_a_client_that_leaves_before_it_is_accepted_does_no_harm() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        (sock,) = open_listeners("127.0.0.1", 0)
        failing: Any = FailingSocket(sock, [errno.ECONNABORTED] * 3)
        listener = Listener([failing], loop, new_connection=lambda _: Greeter(), retry_s=3600)
        listener.open()
        assert await greeting(sock.getsockname()) == b"hello\n"
        listener.close()

    run(scenario)


def test_clients_that_connect_together_are_counted_once() -> None:
    limit = 300  # more than the listener accepts before asyncio has set up the first of them
    world = World(max_connections=limit)
    closed_at_once: list[bool] = []

    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        sockets = open_listeners("127.0.0.1", 0)
        listener = Listener(
            sockets,
            loop,
            new_connection=lambda _: world.roster.new_connection(),
            has_room_for=world.roster.has_room_for,
            on_refused=lambda: closed_at_once.append(True),
        )
        address = sockets[0].getsockname()
        with contextlib.ExitStack() as clients:
            for _ in range(limit):
                clients.enter_context(socket.create_connection(address, timeout=DEADLINE_S))
            listener.open()
            while world.counters.connections + len(closed_at_once) < limit:
                await asyncio.sleep(0)
            assert (world.counters.connections, closed_at_once) == (limit, [])
            with socket.create_connection(address, timeout=DEADLINE_S) as late:
                late.setblocking(False)
                assert await loop.sock_recv(late, 1) == b""
            assert (world.counters.connections_refused, closed_at_once) == (1, [])  # it saw the server close its half
            listener.close()
            world.roster.cut()

    run(scenario)


def greeting_in(made: list[Greeter]) -> Callable[[socket.socket], Greeter]:
    """Return what makes a connection of each client, and adds it to a list."""

    def new_connection(_: socket.socket) -> Greeter:
        made.append(Greeter())
        return made[-1]

    return new_connection


def in_turns(loop: asyncio.AbstractEventLoop, *, room: Callable[[], int] = lambda: 1000) -> Any:
    """Return what has a listener let all its clients wait for their turn."""
    return {
        "arrivals_for": lambda take: Arrivals(loop, limit=1000, room=room, take=take, network_of=str),
        "takes_turns": lambda _: True,
    }


def test_clients_of_a_socket_that_takes_turns_wait_for_theirs_and_the_others_go_on() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        (gated,), (other,) = open_listeners("127.0.0.1", 0), open_listeners("127.0.0.1", 0)
        room = 0
        turns = in_turns(loop, room=lambda: room) | {"takes_turns": lambda listening: listening is gated}
        listener = Listener([gated, other], loop, new_connection=lambda _: Greeter(), **turns)
        listener.open()
        waiting = [loop.create_task(greeting(gated.getsockname())) for _ in range(5)]
        assert await greeting(other.getsockname()) == b"hello\n"
        assert not any(task.done() for task in waiting)
        room = 2
        assert await asyncio.gather(*waiting) == [b"hello\n"] * 5
        listener.close()

    run(scenario)


def test_clients_that_still_wait_for_their_turn_are_closed_with_the_listener() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        (sock,) = open_listeners("127.0.0.1", 0)
        listener = Listener([sock], loop, new_connection=lambda _: Greeter(), **in_turns(loop, room=lambda: 0))
        listener.open()
        waiting = loop.create_task(greeting(sock.getsockname()))
        while listener._arrivals is not None and not len(listener._arrivals):
            await asyncio.sleep(0)
        listener.close()
        assert await waiting == b""

    run(scenario)


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system does not say who has left")
def test_where_clients_take_turns_those_that_have_left_before_they_are_accepted_cost_no_connection() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        (sock,) = open_listeners("127.0.0.1", 0)
        made: list[Greeter] = []
        for _ in range(300):
            with socket.create_connection(sock.getsockname()) as gone:
                gone.sendall(b"\x16 half a handshake")
        listener = Listener([sock], loop, new_connection=greeting_in(made), **in_turns(loop))
        listener.open()
        assert await greeting(sock.getsockname()) == b"hello\n"
        assert len(made) == 1
        listener.close()

    run(scenario)


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system does not say who has left")
def test_a_client_that_has_ended_its_side_and_waits_for_the_reason_is_not_cut_off() -> None:
    """A plain client that sends everything at once to a port for TLS learns that it speaks TLS."""

    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        (sock,) = open_listeners("127.0.0.1", 0)
        with socket.create_connection(sock.getsockname()) as plain:
            plain.sendall(b"a line\n")
            plain.shutdown(socket.SHUT_WR)
            plain.setblocking(False)
            listener = Listener([sock], loop, new_connection=lambda _: Greeter(), **in_turns(loop))
            listener.open()
            assert await loop.sock_recv(plain, 100) == b"hello\n"
            listener.close()

    run(scenario)


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system does not say who has left")
def test_a_client_that_was_reset_before_it_is_accepted_costs_no_connection() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        (sock,) = open_listeners("127.0.0.1", 0)
        made: list[Greeter] = []
        for _ in range(20):
            with socket.create_connection(sock.getsockname()) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        listener = Listener([sock], loop, new_connection=greeting_in(made), **in_turns(loop))
        listener.open()
        assert await greeting(sock.getsockname()) == b"hello\n"
        assert len(made) == 1
        listener.close()

    run(scenario)


def test_only_loopback_is_not_exposed() -> None:
    bound = [("127.0.0.1", 9000), ("::1", 9000), ("0.0.0.0", 9000), ("fe80::1%eth0", 9000), ("10.0.0.7", 9000)]
    (warning,) = exposure_warnings([BoundAddress(*each) for each in bound], verifies_clients=False)
    assert "can reach 0.0.0.0 port 9000, fe80::1%eth0 port 9000, 10.0.0.7 port 9000 can store lines" in warning


def test_an_exposed_listener_with_tls_needs_certificates_of_its_clients_only() -> None:
    bound = [BoundAddress("0.0.0.0", 9443, is_tls=True), BoundAddress("127.0.0.1", 9000)]
    (warning,) = exposure_warnings(bound, verifies_clients=False)
    assert "0.0.0.0 port 9443 (TLS)" in warning
    assert "--tls-client-ca" in warning
    assert list(exposure_warnings(bound, verifies_clients=True)) == []
