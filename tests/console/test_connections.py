"""How many connections the console has, and which one ends when there are too many."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from logferry.console.connections import Place, Places
from logferry.console.encryption import tls_of
from tests.support.certificates import authority, files_of, issued
from tests.support.console import Console, MemorySource, running_console
from tests.support.running import DEADLINE_S, wait_until

MOST = 4


class Clock:
    """A clock that the test turns."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def taken(places: Places, address: str, ended: list[str]) -> Place:
    """Take a place that notes when it is ended."""
    place = places.take(address)
    assert place
    place.end = lambda: ended.append(address)
    return place


def test_of_those_that_wait_the_one_that_has_waited_longest_ends() -> None:
    places, ended = Places(3, clock=Clock()), list[str]()
    first, *_ = (taken(places, f"10.0.0.{number}", ended) for number in range(3))
    places.waits(first, is_waiting=False)
    taken(places, "10.0.0.3", ended)
    assert ended == ["10.0.0.1"]
    places.waits(first, is_waiting=True)
    taken(places, "10.0.0.4", ended)
    assert ended == ["10.0.0.1", "10.0.0.2"]


def test_the_network_that_has_most_makes_room() -> None:
    places, ended = Places(4, clock=Clock()), list[str]()
    taken(places, "192.0.2.1", ended)
    for number in range(3):
        taken(places, f"2001:db8::{number}", ended)
    for _ in range(50):
        taken(places, "2001:db8::99", ended)
    assert len(ended) == 50
    assert "192.0.2.1" not in ended


def test_those_that_are_answered_keep_their_places() -> None:
    places = Places(2)
    for _ in range(2):
        place = places.take("10.0.0.1")
        assert place
        places.waits(place, is_waiting=False)
    assert places.take("10.0.0.2") is None
    assert place
    places.give_back(place)
    places.give_back(place)
    assert places.take("10.0.0.2")
    assert places.take("10.0.0.3")


def ends(connection: socket.socket) -> bool:
    """Return once the other end has closed a connection."""
    connection.settimeout(DEADLINE_S)
    with suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.console.running._MAX_CONNECTIONS", MOST)


def silent(console: Console, stack: ExitStack, number: int) -> Iterator[socket.socket]:
    """Open connections that say nothing."""
    for _ in range(number):
        yield stack.enter_context(socket.create_connection((console.host, console.port), timeout=DEADLINE_S))


@pytest.mark.usefixtures("few")
def test_connections_that_send_nothing_keep_nobody_out() -> None:
    with running_console(MemorySource()) as console, ExitStack() as stack:
        connections = list(silent(console, stack, 3 * MOST))
        for _ in range(MOST):
            assert console.get("/status")["version"]
        assert all(map(ends, connections[: 2 * MOST]))


@pytest.mark.usefixtures("few")
def test_readers_that_take_nothing_keep_nobody_out() -> None:
    with running_console(MemorySource()) as console, ExitStack() as stack:
        for connection in silent(console, stack, MOST):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            request = b"GET /static/logs.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
            with suppress(BlockingIOError):
                for _ in range(2000):
                    connection.send(request)
        wait_until(lambda: is_answered(console), "somebody else is answered")


def is_answered(console: Console) -> bool:
    with suppress(OSError):
        return bool(console.get("/status")["version"])
    return False


@pytest.mark.usefixtures("few")
def test_handshakes_that_stand_still_keep_nobody_out_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.console.running._REQUEST_S", 0.5)
    files = files_of(issued("localhost", "127.0.0.1"), tmp_path)
    trusting = ssl.create_default_context(cadata=authority().cert_pem.bytes().decode())
    with (
        running_console(MemorySource(), tls=tls_of(files.certificate, files.key, None)) as console,
        ExitStack() as stack,
    ):
        connections = list(silent(console, stack, 3 * MOST))
        with (
            socket.create_connection((console.host, console.port), timeout=DEADLINE_S) as plain,
            trusting.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert all(map(ends, connections))
