"""The transport over a TCP socket: its options, its failures, and what the kernel knows about the peer."""

import contextlib
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Sequence
from typing import Final

from logferry.client.net.transports.transport import Part
from logferry.errors import PeerClosed, cause_of

_MSG_MORE: Final = getattr(socket, "MSG_MORE", 0)  # Linux

# The client notices within about a minute that the peer's machine has vanished, even while it sends nothing.
_KEEPALIVE_IDLE_S: Final = 30
_KEEPALIVE_INTERVAL_S: Final = 10
_KEEPALIVE_COUNT: Final = 3


class TcpTransport:
    """See Transport. Takes a connected, non-blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        """See Transport."""
        return self.sock.fileno()

    def send(self, parts: Sequence[Part], *, more: bool) -> int:
        """See Transport."""
        try:
            if len(parts) == 1:
                return self.sock.send(parts[0], _MSG_MORE if more else 0)
            return self.sock.sendmsg(parts, (), _MSG_MORE if more else 0)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerClosed(f"the connection broke while sending: {cause_of(error)}") from error

    def flush(self) -> None:
        """See Transport. Setting TCP_NODELAY sends what MSG_MORE holds back (tcp(7))."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self, limit: int) -> bytes | None:
        """See Transport."""
        try:
            return self.sock.recv(limit)
        except BlockingIOError:
            return None
        except OSError as error:
            raise PeerClosed(f"the connection broke: {cause_of(error)}") from error

    def wants(self) -> int:
        """See Transport: always 0."""
        return 0

    def has_buffered(self) -> bool:
        """See Transport: always False, because the kernel holds what has arrived."""
        return False

    def is_private(self) -> bool:
        """See Transport: whether the peer's address is a loopback address."""
        try:
            address = str(self.sock.getpeername()[0])
        except OSError:
            return False
        from logferry.addresses import is_loopback  # late: most clients have no token

        return is_loopback(address)

    def unconfirmed_bytes(self) -> int:
        """See Transport: on Linux, the bytes that TCP has not seen acknowledged (SIOCOUTQ in tcp(7))."""
        if not sys.platform.startswith("linux"):
            return 0
        answer = fcntl.ioctl(self.sock, termios.TIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", answer)[0])

    def end_of_data(self) -> None:
        """See Transport."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See Transport."""
        self.sock.close()


def tune(sock: socket.socket) -> None:
    """Make a socket send without delay, and notice a peer that has vanished."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    limits = {
        "TCP_KEEPIDLE": _KEEPALIVE_IDLE_S,
        "TCP_KEEPINTVL": _KEEPALIVE_INTERVAL_S,
        "TCP_KEEPCNT": _KEEPALIVE_COUNT,
        # Data that stays unconfirmed for this many milliseconds ends the connection (RFC 5482).
        "TCP_USER_TIMEOUT": 1000 * (_KEEPALIVE_IDLE_S + _KEEPALIVE_INTERVAL_S * _KEEPALIVE_COUNT),
    }
    for name, value in limits.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
