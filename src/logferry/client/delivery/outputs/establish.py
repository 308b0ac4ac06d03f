"""What it takes to establish a session: a way to dial, a way to agree on a protocol, and what is known of the server.

A transport that encrypts is another `Dial`; each kind of output is another `Establish`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from logferry.client.delivery.outputs.session import Session
from logferry.client.net.steps import Steps
from logferry.client.net.transport import Transport

Dial = Callable[[], Steps[Transport]]
"""Opens a connection to the server. Raises Unreachable."""

Establish = Callable[[], Steps[Session]]
"""Dials, and returns what is then spoken. Raises DeliveryError; a connection that failed is closed."""


class KnownServers(Protocol):
    """Who this client is, and what it has learned of servers, in this run or an earlier one."""

    client_id: str

    def knows_extension(self, server: str) -> bool:
        """Whether `server` ("host:port") has ever spoken the delivery extension."""

    def learn_extension(self, server: str) -> None:
        """Remember that it does, on disk. This syncs, in the thread of the engine."""


@contextmanager
def closed_on_failure(transport: Transport) -> Iterator[None]:
    """Close a connection that comes to nothing."""
    try:
        yield
    except BaseException:
        transport.close()
        raise
