"""A client that takes no more answers: what it has sent arrives, and its connection ends as it would have ended."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from logferry.protocol.steps import STEP_LINES
from logferry.server.client_socket import ClientSocket
from tests.support.running import DEADLINE_S, running_server, wait_until


@pytest.fixture
def ends() -> Iterator[tuple[ClientSocket, socket.socket]]:
    """The server's end of a connection over loopback, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname()[:2], timeout=DEADLINE_S)
        accepted = ClientSocket.taking_over(listening.accept()[0])
    accepted.setblocking(True)
    accepted.settimeout(DEADLINE_S)
    with contextlib.closing(accepted), contextlib.closing(client):
        yield accepted, client


Ends = tuple[ClientSocket, socket.socket]


def close_unread(ends: Ends, *, with_unread_data: bool) -> None:
    """Send 4 bytes as the client and close; a socket closed with unread data sends a reset instead of its end."""
    server, client = ends
    if with_unread_data:
        server.send(b"ok\n")
        client.recv(1, socket.MSG_PEEK)
    client.sendall(b"data")
    client.close()


def test_what_a_client_sent_before_it_closed_arrives_after_failed_writes(ends: Ends) -> None:
    server, _ = ends
    close_unread(ends, with_unread_data=False)
    assert server.recv(1, socket.MSG_PEEK) == b"d"
    server.send(b"ok\n")  # the client's system answers this with a reset
    assert [server.send(b"ok\n"), server.sendmsg([b"ok\n", b"ok\n"]), server.send(bytearray(5))] == [3, 6, 5]
    server.shutdown(socket.SHUT_WR)
    assert [server.recv(2), server.recv(9), server.recv(9)] == [b"da", b"ta", b""]


def test_a_reset_that_a_write_has_found_is_raised_when_all_is_read(ends: Ends) -> None:
    server, _ = ends
    close_unread(ends, with_unread_data=True)
    assert server.sendmsg([b"ok\n"]) == 3
    assert server.send(b"ok\n") == 3
    assert server.recv(9) == b"data"
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            server.recv(9)


def test_a_failed_write_keeps_nothing_of_what_was_being_done(ends: Ends) -> None:
    server, _ = ends
    close_unread(ends, with_unread_data=True)
    try:
        raise ValueError("what is being handled")
    except ValueError:
        server.send(b"ok\n")
        server.sendmsg([b"ok\n"])
    assert isinstance(server._broke, OSError)
    assert (server._broke.__traceback__, server._broke.__context__) == (None, None)


def send_for_ever(sock: socket.socket) -> NoReturn:
    while True:
        sock.send(bytes(1 << 20))


def test_an_error_of_this_system_is_raised(ends: Ends) -> None:
    """To lose one answer and send the next one would acknowledge the wrong line."""
    server, _ = ends
    server.settimeout(0)
    with pytest.raises(BlockingIOError):
        send_for_ever(server)
    server.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        server.send(b"ok\n")


@pytest.mark.parametrize("reads_nothing", [True, False], ids=["reset", "closed"])
def test_all_lines_of_a_client_that_leaves_without_its_acks_are_stored(tmp_path: Path, reads_nothing: bool) -> None:
    """They are judged in many steps, and acks are sent between the steps, when nobody takes them any more.

    All lines fit into the system's buffer of a new connection: what still waits at the client is lost with the reset.
    """
    lines = [b'{"n":%d}\n' % number for number in range(50 * STEP_LINES)]
    with running_server(tmp_path, accept="any-object") as server:
        with socket.create_connection((server.host, server.port), timeout=DEADLINE_S) as client:
            client.sendall(lines[0])
            client.recv(9999, socket.MSG_PEEK if reads_nothing else 0)
            with server.held():
                client.sendall(b"".join(lines[1:]))
                client.close()
        wait_until(lambda: server.stats.lines_stored == len(lines), lambda: f"all is stored: {server.stats}")
        assert server.stored_lines() == lines
