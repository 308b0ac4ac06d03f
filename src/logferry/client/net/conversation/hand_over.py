"""The end of a connection whose peer does not answer: waits until the peer's kernel has confirmed every byte."""

import sys
from typing import Final

from logferry.client.net.transports.transport import RECEIVE_BYTES, Transport
from logferry.client.net.waiting.steps import Await, Steps
from logferry.errors import SPEAKS_TLS, NotALogServer, PeerClosed, PeerTimeout
from logferry.protocol.plain.acks import answered

_LOOK_S: Final = 0.01
_CLOSE_WAIT_S: Final = 1.0

# A peer may send without end; whatever it sends, the wait goes on and ends at its limit.
_RECEIVES_PER_LOOK: Final = 16


def hand_over(transport: Transport, *, timeout_s: float) -> Steps[None]:
    """Wait until the peer's kernel has confirmed every byte, then briefly for the peer to close.

    The peer may answer nevertheless. Closing a socket with unread answers would send a reset, and some receivers then
    discard what they have not read.

    Raises NotALogServer if the peer answers as TLS does to plain lines, PeerClosed after a reset, PeerTimeout when the
    peer's kernel confirms nothing for `timeout_s`.
    """
    transport.end_of_data()
    waiting, left_s = sys.maxsize, 0.0
    while True:
        before, waiting = waiting, transport.unconfirmed_bytes()
        if waiting < before:
            left_s = timeout_s if waiting else _CLOSE_WAIT_S
        if _has_ended(transport) and not waiting:
            return
        if left_s <= 0:
            break
        left_s -= (yield Await(None, 0, _LOOK_S)).waited_s
    if waiting:
        raise PeerTimeout(f"the receiver has not taken the last {waiting} bytes")


def _has_ended(transport: Transport) -> bool:
    """Discard some of what has arrived; return whether the peer has closed its side."""
    try:
        for _ in range(_RECEIVES_PER_LOOK):
            data = transport.receive(RECEIVE_BYTES)
            if not data:
                return data == b""
            if answered(data) == SPEAKS_TLS:
                raise NotALogServer(SPEAKS_TLS)
    except PeerClosed as error:
        raise PeerClosed(f"{error}; what the receiver had not read is lost") from error
    return False
