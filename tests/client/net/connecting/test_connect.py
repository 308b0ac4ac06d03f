"""The client's socket: addresses, limits, options, and how failures are told."""

import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from logferry.client.net.connecting.connect import dial
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.transports.tcp import TcpTransport
from logferry.client.net.waiting.readiness import READ, Readiness, poll
from logferry.client.net.waiting.steps import run
from logferry.errors import DeliveryAbandoned, PeerClosed, Unreachable
from tests.support import fakes
from tests.support.fakes import FakeServer, Talk
from tests.support.running import DEADLINE_S, wait_until


def open_connection(host: str, port: int, timeout_s: float = 2.0) -> TcpTransport:
    transport = run(dial(Endpoint(host, port), timeout_s=timeout_s), wait=poll, clock=time.monotonic)
    assert isinstance(transport, TcpTransport)
    return transport


def wait_for_input(transport: TcpTransport) -> None:
    assert poll({transport.fileno(): READ}, DEADLINE_S)


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[int, Any]) -> None:
    def answer(host: str, *_: object, flags: int = 0, **__: object) -> list[tuple[Any, ...]]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue of new connections is full: nobody answers, as behind a firewall that drops."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        wait_until(lambda: select.select([], waiting, [], 0)[1], "the queue is full")
        yield address[1]
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_it_connects_to_numbers_of_both_families_and_to_names(host: str) -> None:
    try:
        server = FakeServer(fakes.ack_every_line, host="::1" if host == "::1" else "127.0.0.1")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    with server:
        connection = open_connection(host, server.port)
        assert connection.send((memoryview(b"hello\n"),), more=False) == 6
        wait_for_input(connection)
        assert b"ok" in (connection.receive(1000) or b"")
        connection.close()


def test_every_address_of_a_name_is_tried_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer(fakes.ack_every_line) as server:
        closed = closed_port()
        resolve_to(
            monkeypatch,
            (socket.AF_INET, ("127.0.0.1", closed)),
            (12345, ("nowhere", closed)),  # a family that this machine does not have
            (socket.AF_INET, ("127.0.0.1", server.port)),
        )
        connection = open_connection("many.example", 1)
        assert connection.sock.getpeername() == ("127.0.0.1", server.port)
        connection.close()


def test_when_no_address_answers_the_error_has_each_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(
        monkeypatch, (socket.AF_INET, ("127.0.0.2", closed_port())), (12345, ("nowhere", 1)), (socket.AF_INET, ("", 0))
    )
    with pytest.raises(Unreachable) as caught:
        open_connection("many.example", 7)
    message = str(caught.value)
    assert message.startswith("cannot connect to many.example:7: ")
    assert "127.0.0.2: Connection refused" in message
    assert "nowhere: Address family not supported" in message


def test_an_address_that_does_not_answer_costs_no_more_than_its_limit(full_port: int) -> None:
    begin = time.monotonic()
    with pytest.raises(Unreachable, match=r"no answer within 0.1 s"):
        open_connection("127.0.0.1", full_port, timeout_s=0.1)
    assert time.monotonic() - begin < 2


def test_after_an_address_that_does_not_answer_the_next_one_is_tried(
    monkeypatch: pytest.MonkeyPatch, full_port: int
) -> None:
    with FakeServer(fakes.ack_every_line) as server:
        resolve_to(
            monkeypatch,
            (socket.AF_INET, ("127.0.0.1", full_port)),
            (socket.AF_INET, ("127.0.0.1", server.port)),
        )
        open_connection("many.example", 1, timeout_s=0.1).close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".example"])
def test_a_name_that_means_nothing_is_unreachable(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    original = socket.getaddrinfo

    def no_network(name: str, *more: Any, **options: Any) -> Any:
        if name.endswith(".invalid") and not options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return original(name, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(Unreachable, match=f"cannot look up {host}: "):
        open_connection(host, 9000)


def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()

    def hang(*_: object, flags: int = 0, **__: object) -> list[Any]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        may_end.wait(DEADLINE_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(Unreachable, match=r"cannot look up slow.example: no answer within 0.1 s"):
        open_connection("slow.example", 9000, timeout_s=0.1)
    may_end.set()
    wait_until(lambda: all(thread.name != "resolver" for thread in threading.enumerate()), "the resolver has ended")


def test_a_wait_that_is_broken_off_leaves_no_socket_open(full_port: int) -> None:
    waited_for: list[int] = []

    def stop(interest: Readiness, timeout_s: float) -> dict[int, int]:
        waited_for.extend(interest)
        raise DeliveryAbandoned("the deadline is over")

    with pytest.raises(DeliveryAbandoned):
        run(dial(Endpoint("127.0.0.1", full_port), timeout_s=5), wait=stop, clock=time.monotonic)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(waited_for[0])


def test_dead_peers_are_found_out_by_the_kernel_too() -> None:
    with FakeServer(fakes.never_read) as server:
        sock = open_connection("127.0.0.1", server.port).sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        if sys.platform.startswith("linux"):
            idle = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            interval = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            count = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            assert idle + interval * count == 60
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        sock.close()


def test_a_reset_is_peer_closed_for_receiving_and_for_sending() -> None:
    def reset_when_spoken_to(talk: Talk) -> None:
        talk.read()
        talk.reset()

    with FakeServer(reset_when_spoken_to) as server:
        uses: list[Callable[[TcpTransport], object]] = [
            lambda tcp: tcp.receive(10),
            lambda tcp: tcp.send((b"x",), more=False),
        ]
        for use in uses:
            connection = open_connection("127.0.0.1", server.port)
            connection.send((b"hello",), more=False)
            wait_for_input(connection)
            with pytest.raises(PeerClosed, match=r"the connection broke.*: Connection reset by peer"):
                use(connection)
            connection.close()


def test_a_full_buffer_takes_nothing_and_is_not_confirmed() -> None:
    with FakeServer(fakes.never_read, receive_buffer=4096) as server:
        connection = open_connection("127.0.0.1", server.port)
        block = memoryview(bytes(1 << 20))
        while connection.send((block,), more=False):
            pass
        if sys.platform.startswith("linux"):
            assert connection.unconfirmed_bytes() > 0
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def test_the_module_does_not_wait_by_itself() -> None:
    """Every wait goes through the caller: where time passes as the caller says, connecting takes none at all."""
    now, waits = [0.0], list[float]()

    def never_ready(interest: Readiness, timeout_s: float) -> dict[int, int]:
        waits.append(timeout_s)
        now[0] += timeout_s
        return {}

    begin = time.monotonic()
    with pytest.raises(Unreachable, match="no answer within 3600 s"):
        run(dial(Endpoint("127.0.0.1", closed_port()), timeout_s=3600), wait=never_ready, clock=lambda: now[0])
    assert waits == [3600]
    assert time.monotonic() - begin < 5
