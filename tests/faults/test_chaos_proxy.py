"""The chaos proxy does what it says: a fault test is worth as much as its fault."""

import select
import socket
from collections.abc import Iterator

import pytest

from tests.faults.chaos_proxy import DOWN, UP, ChaosProxy, chaos_proxy
from tests.support import fakes
from tests.support.fakes import FakeServer, Talk
from tests.support.running import RawClient, wait_until


def echo(talk: Talk) -> None:
    while data := talk.read():
        talk.say(data)


@pytest.fixture
def proxy() -> Iterator[ChaosProxy]:
    with FakeServer(echo) as server, chaos_proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: ChaosProxy) -> Iterator[RawClient]:
    with RawClient("127.0.0.1", proxy.port) as client:
        client.send(b"hello")
        assert client.socket.recv(5) == b"hello"
        yield client


def is_silent(client: RawClient, seconds: float = 0.1) -> bool:
    return not select.select([client.socket], [], [], seconds)[0]


def test_without_a_fault_everything_passes_and_ends_come_through(proxy: ChaosProxy, client: RawClient) -> None:
    client.send(b"x" * 200_000)
    client.finish_sending()
    assert client.read_to_end() == b"x" * 200_000
    assert (proxy.happened.connections, proxy.happened.bytes_up, proxy.happened.bytes_down) == (1, 200_005, 200_005)


def test_a_cut_is_an_end_in_good_order(proxy: ChaosProxy, client: RawClient) -> None:
    proxy.cut()
    assert client.read_to_end() == b""
    assert proxy.happened.cuts == 1


def test_a_reset_is_a_reset(proxy: ChaosProxy, client: RawClient) -> None:
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    assert proxy.happened.resets == 1


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_stall_holds_bytes_back_and_loses_none(proxy: ChaosProxy, client: RawClient, direction: object) -> None:
    assert direction in (UP, DOWN)
    proxy.stall(UP if direction is UP else DOWN)
    client.send(b"later")
    assert is_silent(client)
    proxy.flow(UP if direction is UP else DOWN)
    assert client.socket.recv(5) == b"later"


def test_a_half_open_connection_takes_bytes_and_never_answers(proxy: ChaosProxy, client: RawClient) -> None:
    proxy.half_open()
    client.send(b"into the void")
    assert is_silent(client)
    assert proxy.happened.half_opened == 1
    with RawClient("127.0.0.1", proxy.port) as another:
        another.send(b"hello")
        assert another.socket.recv(5) == b"hello"


def test_swallowed_acks_are_gone(proxy: ChaosProxy, client: RawClient) -> None:
    proxy.swallow_acks()
    client.send(b"gone")
    wait_until(lambda: proxy.happened.bytes_swallowed == 4, "the answer is swallowed")
    proxy.swallow_acks(False)
    client.send(b"gone")
    wait_until(lambda: proxy.happened.bytes_swallowed == 8, "so is what follows on this connection")
    with RawClient("127.0.0.1", proxy.port) as another:
        another.send(b"here")
        assert another.socket.recv(4) == b"here"


def test_delayed_acks_come_late(proxy: ChaosProxy, client: RawClient) -> None:
    proxy.delay_acks(0.2)
    client.send(b"late")
    assert is_silent(client)
    assert client.socket.recv(4) == b"late"


def test_a_reset_after_so_many_bytes_lets_exactly_those_through() -> None:
    received: list[bytes] = []

    def keep(talk: Talk) -> None:
        while data := talk.read():
            received.append(data)

    with FakeServer(keep) as server, chaos_proxy(server.port) as proxy:
        proxy.reset_after(7, UP, times=2)
        for resets in (1, 2):
            with RawClient("127.0.0.1", proxy.port) as client:
                client.send(b"0123456789")
                with pytest.raises(ConnectionResetError):
                    client.read_to_end()
            assert proxy.happened.resets == resets
        assert proxy.happened.bytes_up == 14
    assert all(data in b"0123456" for data in received)  # the reset may overtake what was passed on


def test_a_lost_ack_was_sent_and_does_not_arrive(proxy: ChaosProxy, client: RawClient) -> None:
    proxy.lose_next_ack()
    client.send(b"question")
    with pytest.raises(ConnectionResetError):
        client.socket.recv(1)
    assert (proxy.happened.resets, proxy.happened.bytes_swallowed) == (1, 8)


def test_a_refusing_proxy_closes_what_it_accepts(proxy: ChaosProxy) -> None:
    proxy.refuse()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as sock:
        assert sock.recv(1) == b""
    assert proxy.happened.refused == 1


def test_a_server_that_is_away_is_refused_to_the_client() -> None:
    with FakeServer(fakes.swallow) as server:
        port = server.port
    with chaos_proxy(port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as sock:
        assert sock.recv(1) == b""
        assert proxy.happened.refused == 1


def test_a_flip_changes_one_bit_of_one_piece(proxy: ChaosProxy, client: RawClient) -> None:
    proxy.flip_next(DOWN)
    for expected in (b"helln", b"hello"):
        client.send(b"hello")
        assert client.socket.recv(5) == expected
    assert proxy.happened.flips == 1
