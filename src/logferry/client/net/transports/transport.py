"""Bytes to and from one peer: the seam between a protocol and what carries it (TCP, TLS, memory).

A transport owns its connection as soon as that is established, and turns the system's errors into PeerClosed. It must
never block, and never interprets the bytes.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from logferry.errors import PeerClosed

Part = bytes | memoryview

# At most this many bytes are received in one call.
RECEIVE_BYTES: Final = 256 * 1024

CLOSED: Final = "the server closed the connection"


class Transport(Protocol):
    """A connection that carries bytes both ways, for one thread."""

    def fileno(self) -> int:
        """Return the descriptor to wait for."""

    def send(self, parts: Sequence[Part], *, more: bool) -> int:
        """Send consecutive parts; return how many bytes were accepted (0: none now). Raises PeerClosed.

        With `more`, the transport may hold the bytes back until `flush`, so that lines sent one by one do not each wake
        the peer.
        """

    def flush(self) -> None:
        """Send what was held back. A failure shows in the next call that can raise."""

    def receive(self, limit: int) -> bytes | None:
        """Return at most `limit` received bytes; None if none have arrived yet, `b""` once the peer has ended its data.

        Raises PeerClosed if the connection is broken.
        """

    def wants(self) -> int:
        """Return what the transport itself waits for, in addition to its user: READ, WRITE, both or 0.

        An encrypting transport may have to read in order to send, and may have a rest of what it has taken to send:
        `receive` does both, when the descriptor is ready.
        """

    def has_buffered(self) -> bool:
        """Whether `receive` would return bytes although the descriptor is not readable."""

    def is_private(self) -> bool:
        """Whether nobody else can read what is sent: it is encrypted, or does not leave this machine."""

    def unconfirmed_bytes(self) -> int:
        """Return how many bytes the peer's machine has not confirmed yet (0 where the system does not report it)."""

    def end_of_data(self) -> None:
        """Signal to the peer that no more data follows; `receive` still returns what the peer sends."""

    def close(self) -> None:
        """Release the connection. Calling it again has no effect."""


def receive_some(transport: Transport) -> bytes | None:
    """Return what has arrived, or None. Raises PeerClosed if the peer has closed or broken the connection."""
    data = transport.receive(RECEIVE_BYTES)
    if data == b"":
        raise PeerClosed(CLOSED)
    return data
