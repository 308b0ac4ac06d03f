"""What every transport does: the same tests for TCP over loopback, the pair in memory, and TLS over either."""

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from logferry.client.net.transports.memory import MemoryTransport
from logferry.client.net.transports.tcp import TcpTransport, tune
from logferry.client.net.transports.tls import TlsTransport
from logferry.client.net.transports.transport import Transport, receive_some
from logferry.client.net.waiting.readiness import READ, WRITE, poll
from logferry.errors import PeerClosed
from tests.support.certificates import authority, issued
from tests.support.running import wait_until

LIMIT = 64 * 1024


@dataclass
class Pair:
    """Two ends, and how to find out what one of them is ready for."""

    ours: Transport
    theirs: Transport
    ready: Callable[[Transport, int], int]

    def wait_for(self, end: Transport, events: int = READ) -> None:
        """Wait until an end is ready."""
        wait_until(lambda: self.ready(end, events), "it is ready")


def tcp_pair() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    for sock in (ours, theirs):
        sock.setblocking(False)
        tune(sock)
    return Pair(
        TcpTransport(ours),
        TcpTransport(theirs),
        lambda end, events: poll({end.fileno(): events}, 0.0).get(end.fileno(), 0),
    )


def memory_pair() -> Pair:
    ours, theirs = MemoryTransport.pair(capacity=LIMIT)

    def ready(end: Transport, events: int) -> int:
        assert isinstance(end, MemoryTransport)
        return end.ready() & events

    return Pair(ours, theirs, ready)


def tls_over(below: Pair) -> Pair:
    client = ssl.create_default_context()
    authority().configure_trust(client)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued("localhost").configure_cert(server)
    ours = TlsTransport(below.ours, client, server_name="localhost")
    theirs = TlsTransport(below.theirs, server)
    wait_until(lambda: ours.advance_handshake() & theirs.advance_handshake(), "the handshake is done")

    def ready(end: Transport, events: int) -> int:
        found = below.ready(below.ours if end is ours else below.theirs, events)
        return found | (READ if end.has_buffered() else 0) & events

    theirs.receive(LIMIT)  # TLS 1.3: the server sends tickets after the handshake
    assert ours.receive(LIMIT) is None
    return Pair(ours, theirs, ready)


def tls_tcp_pair() -> Pair:
    return tls_over(tcp_pair())


def tls_memory_pair() -> Pair:
    return tls_over(memory_pair())


@pytest.fixture(
    params=[tcp_pair, memory_pair, tls_tcp_pair, tls_memory_pair], ids=["tcp", "memory", "tls", "tls over memory"]
)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair: Pair = request.param()
    yield pair
    pair.ours.close()
    pair.theirs.close()


def received(pair: Pair, size: int) -> bytes:
    """Wait for so many bytes at the other end."""
    data = b""

    def has_come() -> bool:
        nonlocal data
        pair.ours.flush()  # an encrypting transport may still have a rest of what it has taken
        data += pair.theirs.receive(LIMIT) or b""
        return len(data) >= size

    wait_until(has_come, f"{size} bytes have come")
    return data


def test_bytes_arrive_in_order_whatever_parts_they_were_sent_in(pair: Pair) -> None:
    assert pair.ours.send((b"one ", memoryview(b"two "), b"three "), more=False) == 14
    assert pair.ours.send((memoryview(b"four"),), more=False) == 4
    assert received(pair, 18) == b"one two three four"


def test_what_may_be_held_back_arrives_after_a_flush(pair: Pair) -> None:
    pair.ours.send((b"one\n",), more=True)
    pair.ours.send((b"two\n",), more=True)
    pair.ours.flush()
    assert received(pair, 8) == b"one\ntwo\n"


def test_nothing_yet_is_not_the_end(pair: Pair) -> None:
    assert pair.ours.receive(LIMIT) is None
    assert receive_some(pair.ours) is None
    assert not pair.ready(pair.ours, READ)
    assert not pair.ours.has_buffered()


def test_no_more_is_received_than_asked_for(pair: Pair) -> None:
    pair.ours.send((b"123456789",), more=False)
    pair.wait_for(pair.theirs)
    assert pair.theirs.receive(4) == b"1234"
    assert pair.theirs.receive(LIMIT) == b"56789"


def test_a_transport_that_is_full_takes_nothing_until_the_other_end_has_received(pair: Pair) -> None:
    block, sent = memoryview(bytes(1 << 20)), 0
    while size := pair.ours.send((block,), more=False):
        sent += size
    assert not pair.ready(pair.ours, WRITE)
    assert pair.ours.unconfirmed_bytes() > 0
    assert len(received(pair, sent)) == sent
    pair.wait_for(pair.ours, WRITE)
    assert pair.ours.send((b"x",), more=False) == 1


def test_everything_that_was_received_is_confirmed_in_the_end(pair: Pair) -> None:
    pair.ours.send((b"x" * 1000,), more=False)
    received(pair, 1000)
    wait_until(lambda: pair.ours.unconfirmed_bytes() == 0, "it is confirmed")


def test_after_the_end_of_data_the_other_direction_works_on(pair: Pair) -> None:
    pair.ours.send((b"last",), more=False)
    pair.ours.end_of_data()
    assert received(pair, 4) == b"last"
    pair.wait_for(pair.theirs)
    assert pair.theirs.receive(LIMIT) == b""
    with pytest.raises(PeerClosed, match="the server closed the connection"):
        receive_some(pair.theirs)
    pair.theirs.send((b"answer",), more=False)
    pair.wait_for(pair.ours)
    assert pair.ours.receive(LIMIT) == b"answer"


def test_a_peer_that_has_closed_takes_nothing_any_more(pair: Pair) -> None:
    pair.theirs.close()
    pair.wait_for(pair.ours)

    def is_broken() -> bool:
        try:
            pair.ours.send((b"x",), more=False)
        except PeerClosed:
            return True
        return False

    wait_until(is_broken, "sending fails")
    with pytest.raises(PeerClosed, match="the connection broke while sending"):
        pair.ours.send((b"x",), more=False)


def test_a_transport_wants_nothing_of_its_own_and_may_be_closed_twice(pair: Pair) -> None:
    assert pair.ours.wants() == 0
    pair.ours.close()
    pair.ours.close()


def test_the_pair_in_memory_can_break_with_data_under_way() -> None:
    ours, theirs = MemoryTransport.pair()
    ours.send((b"lost",), more=False)
    ours.reset()
    assert theirs.ready() == READ | WRITE
    with pytest.raises(PeerClosed, match="the connection broke"):
        theirs.receive(LIMIT)
    with pytest.raises(PeerClosed, match="the connection broke while sending"):
        theirs.send((b"x",), more=False)
