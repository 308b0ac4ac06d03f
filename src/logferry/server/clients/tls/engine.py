"""TLS for one connection, without the socket: what the peer sent in, what it means out, and the reverse.

Owns OpenSSL's state of the connection and the bytes of an incomplete record. Does at most a step of work in one call,
and never gives OpenSSL more than a record at a time: its buffers grow to what they once held, and stay so.
"""

import contextlib
import ssl
from typing import Any, Final

from logferry.server.clients.tls.offered import watching_certificates

# A record has a header of five bytes, at most 16 KiB of data, and at most 2 KiB more.
_HEADER_BYTES: Final = 5
_RECORD_BYTES: Final = 16 * 1024
_MAX_LENGTH: Final = _RECORD_BYTES + 2048

# An honest peer sends a record or two without data, to change its keys.
_MAX_FRUITLESS_BYTES: Final = 1024

# Records of one byte each cost as much work as large ones: 9,000 of them fit into what asyncio reads at a time.
_READS_PER_STEP: Final = 256

# What an honest peer sends of its own to negotiate: two messages, with a chain of certificates in one of them. OpenSSL
# accepts up to 100 KiB of certificates.
_MAX_HANDSHAKE_BYTES: Final = 128 * 1024

_TOO_LARGE: Final = "its part of the handshake is too large"
_NO_DATA: Final = "it sends records without data"


class TlsViolation(Exception):
    """The peer does what TLS allows only as an attack; the connection must end."""


class TlsEngine:
    """The server's end of TLS. Methods raise ssl.SSLError or TlsViolation; `take_output` is then an alert."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._context = context
        self.offered_certificate = b""  # of the peer, in DER; known also when it is refused
        with watching_certificates(context, self._note_certificate):
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._rest = b""  # of what was received; after a step that ended before all was decrypted
        self._handshake_bytes = 0
        self._fruitless_bytes = 0  # of records without data, since the last one with data
        self.is_secured = False
        self.has_ended = False  # the peer has sent close_notify: it has no more data

    @property
    def held_bytes(self) -> int:
        """How many bytes of the peer are held that are not decrypted."""
        return len(self._rest) + self._incoming.pending

    @property
    def has_more(self) -> bool:
        """Whether `decrypt` must be called again before more is received."""
        is_whole = bool(self._rest) and _end_of_record(self._rest, 0) <= len(self._rest)
        return (is_whole or bool(self._incoming.pending)) and not self.has_ended

    @property
    def version(self) -> str:
        """The version of TLS."""
        return self._tls.version() or ""

    @property
    def certificate(self) -> dict[str, Any]:
        """The peer's certificate as `getpeercert` returns it; empty without one."""
        return self._tls.getpeercert() or {}

    def handshake(self, data: bytes) -> None:
        """Take bytes of the handshake; `is_secured` once it is over."""
        self._handshake_bytes += len(data)
        if self._handshake_bytes > _MAX_HANDSHAKE_BYTES:
            raise TlsViolation(_TOO_LARGE)
        self._incoming.write(data)
        try:
            with watching_certificates(self._context, self._note_certificate):
                self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.is_secured, self.offered_certificate = True, b""
        self._rest = self._incoming.read()  # data that came with the end of the handshake

    def _note_certificate(self, der: bytes) -> None:
        self.offered_certificate = der

    def decrypt(self, data: bytes = b"") -> bytes:
        """Take bytes from the peer; return their data, of one step: see `has_more`.

        OpenSSL gets whole records only: asking it for the data of half a record costs as much as decrypting one.
        """
        incoming, parts, position = self._incoming, [], 0
        if self._rest:
            data, self._rest = self._rest + data, b""
        view = memoryview(data)
        for _ in range(_READS_PER_STEP):
            if not incoming.pending:
                end = _end_of_record(data, position)
                if end > len(data):
                    break
                incoming.write(view[position:end])
                self._fruitless_bytes += end - position
                position = end
            with contextlib.suppress(ssl.SSLWantReadError):
                parts.append(self._tls.read(_RECORD_BYTES))
                self._fruitless_bytes = 0
                self.has_ended = not parts[-1]
            if self.has_ended or self._fruitless_bytes > _MAX_FRUITLESS_BYTES:
                break
        if self._fruitless_bytes > _MAX_FRUITLESS_BYTES:
            raise TlsViolation(_NO_DATA)
        self._rest = b"" if self.has_ended else data[position:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Return what to send so that the peer gets `data`."""
        view, parts = memoryview(data), []
        while view:
            written = self._tls.write(view[:_RECORD_BYTES])
            view = view[written:]
            parts.append(self._outgoing.read())
        return b"".join(parts)

    def end(self) -> bytes:
        """Return what to send so that the peer knows that it has got everything."""
        with contextlib.suppress(ssl.SSLError):  # the peer's own end is still to come
            self._tls.unwrap()
        return self.take_output()

    def take_output(self) -> bytes:
        """Return what TLS itself has to send: its part of the handshake, or an alert."""
        return self._outgoing.read()


def _end_of_record(data: bytes, start: int) -> int:
    """Return where the record ends that begins at `start`; more than `data` has if the record is incomplete.

    Of what is not a record, OpenSSL gets everything, and refuses it.
    """
    if len(data) - start < _HEADER_BYTES:
        return len(data) + 1
    length = int.from_bytes(data[start + 3 : start + _HEADER_BYTES], "big")
    return start + _HEADER_BYTES + length if length <= _MAX_LENGTH else len(data)
