"""What is needed to establish a session: a way to dial, a way to negotiate a protocol, and what is known of servers.

Each kind of output has its own `Establish`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from logferry.client.delivery.outputs.session import Session
from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.steps import Steps

Dial = Callable[[], Steps[Transport]]
"""Opens a connection to the server. Raises Unreachable."""

Establish = Callable[[], Steps[Session]]
"""Dials, and returns a session of the negotiated protocol. Raises DeliveryError, after closing the connection."""


class KnownServers(Protocol):
    """The identity of this client, and what it has learned about servers, in this run or an earlier one."""

    client_id: str

    def knows_extension(self, server: str) -> bool:
        """Whether `server` ("host:port") has ever spoken the delivery extension."""

    def learn_extension(self, server: str) -> None:
        """Remember on disk that `server` speaks it. This syncs, in the engine's thread."""


@contextmanager
def closed_on_failure(transport: Transport) -> Iterator[None]:
    """Close the connection if the block fails."""
    try:
        yield
    except BaseException:
        transport.close()
        raise
