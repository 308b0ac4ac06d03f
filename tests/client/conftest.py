"""Fixtures for tests of what waits for descriptors."""

import socket
from collections.abc import Iterator

import pytest

from logferry.client.net.waiting.wakeup import Wakeup


@pytest.fixture
def announcement() -> Iterator[Wakeup]:
    announcement = Wakeup()
    yield announcement
    announcement.close()


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs
