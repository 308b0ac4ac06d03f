"""The first bytes of a connection to a port with TLS: a proxy's header, then a handshake, or which stranger it is.

Owns the bytes until the first record is complete. Pure, and bounded by one record. A log client that speaks without TLS
is a stranger here: nothing that it sends may be stored (docs/protocol.md, rule M17).
"""

from typing import Final

from logferry.protocol.delivery.server import is_hello_prefix
from logferry.protocol.opening.proxy_header import MalformedHeader, ProxyHeader, read_header
from logferry.protocol.plain.acks import TLS_ONLY, error_ack
from logferry.protocol.strangers import NO_HEADER, Stranger, may_become_stranger, stranger_of

# The first byte of a client that speaks TLS: the type of its first record (RFC 8446, section 5.1).
HANDSHAKE: Final = b"\x16"

_HEADER_BYTES: Final = 5
_MAX_RECORD_BYTES: Final = 16 * 1024 + 256

# A fatal alert, "unexpected message": a peer that knows TLS reads from it that this port speaks TLS.
_ALERT: Final = b"\x15\x03\x01\x00\x02\x02\x0a"

_ADVICE: Final = "this port takes connections with TLS only"

# An older client shows the answer to its hello. To any other line, an error would mean that the line is never stored.
PLAIN_HELLO: Final = Stranger("the hello of a log client without TLS", _ADVICE, error_ack(TLS_ONLY))
PLAIN_DATA: Final = Stranger("data without TLS", _ADVICE, _ALERT)


class TlsOpening:
    """Takes the first bytes of a connection until the first record of a handshake is complete, or a stranger shows."""

    def __init__(self, *, expects_header: bool = False) -> None:
        self._held = b""
        self.awaits_header = expects_header
        self.header: ProxyHeader | None = None

    @property
    def held_bytes(self) -> int:
        """How many bytes are held."""
        return len(self._held)

    def receive_data(self, data: bytes) -> bytes | Stranger | None:
        """Accept bytes from the socket; return the handshake's so far once the first record is complete."""
        self._held += data
        if self.awaits_header:
            try:
                self.header = read_header(self._held)
            except MalformedHeader:
                return NO_HEADER
            if self.header is None:
                return None
            self.awaits_header = False
            self._held = self._held[self.header.size :]
        if not self._held:
            return None
        if self._held.startswith(HANDSHAKE):
            return self._held if _is_whole_record(self._held) else None
        return _stranger_in(self._held)

    def discard(self) -> None:
        """Discard what is held."""
        self._held = b""


def _is_whole_record(data: bytes) -> bool:
    """Whether the first record is complete, or can never be."""
    size = _HEADER_BYTES + int.from_bytes(data[3:_HEADER_BYTES], "big")
    return len(data) >= _HEADER_BYTES and len(data) >= min(size, _MAX_RECORD_BYTES)


def _stranger_in(head: bytes) -> Stranger | None:
    is_hello = is_hello_prefix(head)
    if is_hello:
        return PLAIN_HELLO
    if stranger := stranger_of(head):
        return stranger
    return None if is_hello is None or may_become_stranger(head) else PLAIN_DATA
