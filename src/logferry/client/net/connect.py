"""The client's socket: connect to any address of a name, send and receive without blocking.

Every wait goes through a `Wait` function that the engine gives, so that a stop request or the periodic look at the log
file is never late, whatever the network does.
"""

import contextlib
import fcntl
import os
import selectors
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from logferry.errors import GaveUp, PeerClosed, Unreachable, cause_of

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE

_RECEIVE_BYTES: Final = 256 * 1024

_MSG_MORE: Final = getattr(socket, "MSG_MORE", 0)  # Linux

_FLUSH_POLL_S: Final = 0.01
_CLOSE_WAIT_S: Final = 1.0

# A peer's machine that vanished is found out within about a minute, also while nothing is sent.
_KEEPALIVE_IDLE_S: Final = 30
_KEEPALIVE_INTERVAL_S: Final = 10
_KEEPALIVE_COUNT: Final = 3


class Wait(Protocol):
    """Wait until `sock` is ready for one of `events`, or `timeout_s` is over; return what it is ready for (0: nothing).

    Without a socket it only waits. Raises an exception of the caller's when it should stop waiting.
    """

    def __call__(self, sock: socket.socket | None, events: int, timeout_s: float) -> int:
        """See above."""


class Connection:
    """A connected, non-blocking socket whose failures are PeerClosed."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, data: bytes | memoryview, *, has_more: bool = False) -> int:
        """Hand bytes to the kernel; return how many it took (0: none now). Raises PeerClosed.

        With `has_more` the kernel may wait for what follows at once, up to `flush`: lines that are sent one by one do
        not wake the peer one by one.
        """
        try:
            return self.sock.send(data, _MSG_MORE if has_more else 0)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerClosed(f"the connection broke while sending: {cause_of(error)}") from error

    def flush(self) -> None:
        """Let what was sent go now: to set TCP_NODELAY forces it (tcp(7)). What has broken the next call finds out."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send_together(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Do the same with bytes that follow each other, without joining them. Raises PeerClosed."""
        try:
            return self.sock.sendmsg(pieces)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerClosed(f"the connection broke while sending: {cause_of(error)}") from error

    def receive(self) -> bytes:
        """Return what has arrived; nothing yet is `b""`. Raises PeerClosed at its end."""
        try:
            data = self.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise PeerClosed(f"the connection broke: {cause_of(error)}") from error
        if not data:
            raise PeerClosed("the server closed the connection")
        return data

    def discard_input(self) -> bool:
        """Throw away what has arrived; True once the peer has closed its side. Raises PeerClosed after a reset."""
        try:
            while self.sock.recv(_RECEIVE_BYTES):
                pass
        except BlockingIOError:
            return False
        except OSError as error:
            raise PeerClosed(f"the connection broke: {cause_of(error)}") from error
        return True

    def end_of_data(self) -> None:
        """Tell the peer that no more will come."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def bytes_not_taken(self) -> int:
        """Return how many sent bytes the peer's kernel has not yet confirmed (0 where that cannot be asked)."""
        if not sys.platform.startswith("linux"):
            return 0
        answer = fcntl.ioctl(self.sock, termios.TIOCOUTQ, b"\0" * 4)  # SIOCOUTQ of tcp(7)
        return int(struct.unpack("i", answer)[0])

    def hand_over(self, *, timeout_s: float, wait: Wait, clock: Callable[[], float] = time.monotonic) -> None:
        """Wait for the peer's kernel, then a moment for the peer to close: it may be one that does answer, and a close
        with unread answers would send a reset, which makes some receivers throw away what they have not read.

        Raises PeerClosed after a reset, GaveUp when the peer takes nothing for `timeout_s`.
        """
        self.end_of_data()
        waiting, end = sys.maxsize, 0.0
        while True:
            before, waiting = waiting, self.bytes_not_taken()
            if waiting < before:
                end = clock() + (timeout_s if waiting else _CLOSE_WAIT_S)
            if self.discard_input() and not waiting:
                return
            if clock() >= end:
                break
            wait(None, 0, _FLUSH_POLL_S)
        if waiting:
            raise GaveUp(f"the receiver has not taken the last {waiting} bytes")

    def close(self) -> None:
        """Release the socket."""
        self.sock.close()


def connect(host: str, port: int, *, timeout_s: float, wait: Wait) -> Connection:
    """Connect to the first address of `host` that answers, IPv4 or IPv6, `timeout_s` for each.

    Raises Unreachable with the reason of every address.
    """
    reasons = []
    for family, address in _resolve(host, port, timeout_s=timeout_s, wait=wait):
        try:
            return _connect(family, address, timeout_s=timeout_s, wait=wait)
        except OSError as error:
            reasons.append(f"{address[0]}: {cause_of(error)}")
    raise Unreachable(f"cannot connect to {host}:{port}: {'; '.join(reasons)}")


def _connect(family: socket.AddressFamily, address: Any, *, timeout_s: float, wait: Wait) -> Connection:
    sock = socket.socket(family, socket.SOCK_STREAM)  # fails where the machine has no IPv6
    try:
        sock.setblocking(False)
        _tune(sock)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
        if not wait(sock, WRITE, timeout_s):
            raise TimeoutError(f"no answer within {timeout_s:g} s")
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return Connection(sock)


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    limits = {
        "TCP_KEEPIDLE": _KEEPALIVE_IDLE_S,
        "TCP_KEEPINTVL": _KEEPALIVE_INTERVAL_S,
        "TCP_KEEPCNT": _KEEPALIVE_COUNT,
        # Data that nobody confirms for this long ends the connection (RFC 5482), in milliseconds.
        "TCP_USER_TIMEOUT": 1000 * (_KEEPALIVE_IDLE_S + _KEEPALIVE_INTERVAL_S * _KEEPALIVE_COUNT),
    }
    for name, value in limits.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _resolve(host: str, port: int, *, timeout_s: float, wait: Wait) -> list[tuple[socket.AddressFamily, Any]]:
    """Return the addresses of a name. The resolver cannot be interrupted, so it runs in a thread that can be left."""
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    answer: list[tuple[socket.AddressFamily, Any]] = []
    failure: list[OSError] = []
    done_here, done_there = socket.socketpair()

    def ask() -> None:
        try:
            answer.extend(_addresses(host, port, 0))
        except OSError as error:
            failure.append(error)
        finally:
            done_there.close()

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        if not wait(done_here, READ, timeout_s):
            raise Unreachable(f"cannot look up {host}: no answer within {timeout_s:g} s")
    finally:
        done_here.close()
    if failure:
        raise Unreachable(f"cannot look up {host}: {cause_of(failure[0])}")
    return answer


def _addresses(host: str, port: int, flags: int) -> list[tuple[socket.AddressFamily, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError:  # `a..b`, or a label of more than 63 letters
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
    return [(family, address) for family, _, _, _, address in found]
