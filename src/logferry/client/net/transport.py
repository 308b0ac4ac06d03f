"""Bytes to and from one peer: the seam between what is said and what carries it (TCP, memory; TLS later).

A transport never blocks and never interprets. It owns its connection from the moment it is connected, and maps what the
system raises to PeerClosed.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from logferry.errors import PeerClosed

Part = bytes | memoryview

# How much is taken from a transport at once.
RECEIVE_BYTES: Final = 256 * 1024


class Transport(Protocol):
    """A connection that carries bytes both ways, for one thread."""

    def fileno(self) -> int:
        """Return the descriptor to wait for."""

    def send(self, parts: Sequence[Part], *, more: bool) -> int:
        """Take bytes that follow each other; return how many were taken (0: none now). Raises PeerClosed.

        With `more`, they may be held back until `flush`: lines that are sent one by one then do not wake the peer one
        by one.
        """

    def flush(self) -> None:
        """Let go what was held back. A failure shows in the next call that can raise."""

    def receive(self, limit: int) -> bytes | None:
        """Return at most `limit` bytes that have arrived; None when there are none yet, `b""` at the peer's end.

        Raises PeerClosed when the connection broke.
        """

    def wants(self) -> int:
        """Return what the transport itself has to wait for, beside what its user asks for: READ, WRITE or 0.

        A transport that encrypts may have to read in order to send.
        """

    def has_buffered(self) -> bool:
        """Whether `receive` would return bytes although the descriptor is not readable."""

    def unconfirmed_bytes(self) -> int:
        """Return how many bytes the peer's machine has not yet confirmed (0 where that cannot be asked)."""

    def end_of_data(self) -> None:
        """Tell the peer that no more will come; what it still sends can be received."""

    def close(self) -> None:
        """Release the connection. May be called twice."""


def receive_some(transport: Transport) -> bytes | None:
    """Return what has arrived, None when nothing has. Raises PeerClosed, also at the peer's end."""
    data = transport.receive(RECEIVE_BYTES)
    if data == b"":
        raise PeerClosed("the server closed the connection")
    return data
