"""Listening to a peer that should say nothing: whether the answers on a connection will belong to its lines.

In the plain protocol, the n-th answer is for the n-th line. That holds only if nobody answers what the client did not
send: a proxy's header, a greeting of another service, an ack given in advance (docs/protocol.md, rules C8 and C9).
"""

from typing import Final

from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.readiness import READ
from logferry.client.net.waiting.steps import Await, Steps
from logferry.errors import SPEAKS_TLS, NotALogServer, PeerClosed
from logferry.protocol.plain.acks import answered

# Another answer than the one that was due arrives right behind it.
QUIET_S: Final = 0.1

# How long a peer may take to close a connection on which it was sent nothing. Most close immediately.
CLOSE_S: Final = 1.0

_MAX_HEARD_BYTES: Final = 4096


def require_silence_when_nothing_is_sent(transport: Transport) -> Steps[None]:
    """End the data of a new connection before sending any, and wait for the peer to close. Raises NotALogServer.

    A server in step answers nothing. If the peer closes, that is certain; otherwise it is only likely.
    """
    transport.end_of_data()
    heard = yield from _hear(transport, b"", timeout_s=CLOSE_S)
    if heard:
        raise _strange(heard, "although nothing was sent: is there a proxy that speaks first?")


def require_silence_after_answer(transport: Transport, unread: bytes) -> Steps[None]:
    """Wait for one more answer; `unread` has already arrived. Raises NotALogServer."""
    heard = yield from _hear(transport, unread, timeout_s=QUIET_S)
    if heard:
        raise _strange(heard, "after the answer to the only line that it was sent")


def _strange(heard: bytes, when: str) -> NotALogServer:
    what = answered(heard)
    return NotALogServer(what if what == SPEAKS_TLS else f"{what} {when}")


def _hear(transport: Transport, heard: bytes, *, timeout_s: float) -> Steps[bytes]:
    """Return what the peer says: its first line, or less if it closes or falls silent."""
    left_s = timeout_s
    while b"\n" not in heard and len(heard) < _MAX_HEARD_BYTES:
        if not transport.has_buffered():
            resumed = yield Await(transport.fileno(), READ | transport.wants(), max(0.0, left_s))
            if not resumed.ready:
                break
            left_s -= resumed.waited_s
        try:
            data = transport.receive(_MAX_HEARD_BYTES)
        except PeerClosed:
            break
        if data == b"":
            break
        heard += data or b""
    return heard
