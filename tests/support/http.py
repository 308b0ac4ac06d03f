"""A client of HTTP that does exactly what a test says, and where a process says that it serves its numbers."""

import re
import socket

import pytest

from tests.support.running import DEADLINE_S, wait_until


def http_port(caplog: pytest.LogCaptureFixture) -> int:
    """Return the port that a client or server in this process has logged."""
    found: list[str] = []

    def is_logged() -> bool:
        found[:] = re.findall(r"metrics at http://\S+:(\d+)/metrics", "\n".join(caplog.messages))
        return bool(found)

    wait_until(is_logged, "the address of the metrics in the log")
    return int(found[-1])


def http_send(port: int, request: bytes) -> bytes:
    """Send bytes and return everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as peer:
        peer.sendall(request)
        return received(peer)


def received(peer: socket.socket) -> bytes:
    """Return what a server sends until it closes or resets the connection."""
    data = bytearray()
    try:
        while piece := peer.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return bytes(data)


def http_get(port: int, path: str) -> str:
    """Return the whole answer to a GET, head included."""
    return http_send(port, f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()).decode()
