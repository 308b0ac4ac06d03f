"""The transport that encrypts: TLS over another transport, by the ssl module's objects in memory.

Owns the records between the two: plaintext that is held back, ciphertext that the transport below has not taken, and
plaintext that was decrypted ahead. It must never block, and never decides whether the peer is trusted: the context
does. Many parts become large writes (a record has 16 KiB), so a MiB costs a few calls.
"""

import contextlib
import ssl
from collections.abc import Sequence
from typing import Final

from logferry.client.net.transports.tls_errors import sentence_of
from logferry.client.net.transports.transport import RECEIVE_BYTES, Part, Transport
from logferry.client.net.waiting.readiness import READ, WRITE
from logferry.errors import PeerClosed, TlsAlert

# A record has at most this much plaintext.
_RECORD_BYTES: Final = 16 * 1024

# This much is encrypted in one call. OpenSSL's buffers grow to this size and stay so; larger pieces are not faster.
_ENCRYPT_BYTES: Final = 16 * _RECORD_BYTES

_FIRST_BYTES: Final = 256

# A server sends a few records without data: tickets, changes of keys. One that sends nothing else keeps no client busy.
_MAX_FRUITLESS_BYTES: Final = 1024 * 1024


class TlsTransport:
    """See Transport; for either end. `send` and `receive` are for a connection whose handshake is done."""

    def __init__(self, below: Transport, context: ssl.SSLContext, *, server_name: str | None = None) -> None:
        """`server_name` is the name that the server's certificate must have; None makes this the server's end."""
        self._below = below
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        is_server = server_name is None
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server, server_hostname=server_name)
        self._held: list[Part] = []  # plaintext that is not encrypted yet,
        self._held_bytes = 0
        self._ciphertext = memoryview(b"")  # what the transport below has not taken
        self._decrypted = b""  # what was decrypted ahead of `receive`
        self._waits_to_read = False  # OpenSSL must read before it can encrypt what is held
        self._has_more = False  # `receive` has stopped at its limit
        self._fruitless_bytes = 0  # received since the last plaintext
        self._has_ended = False  # the peer has no more data
        self._failure: PeerClosed | None = None  # raised once everything that had arrived is received
        self._is_over = False  # `receive` has returned that end, or raised that failure
        self._says_no_more = False  # this end has announced the end of its data
        self.has_client_certificate = False  # for messages
        self.first_bytes = b""  # of what arrived in the handshake, for a peer that does not speak TLS

    @property
    def tls(self) -> ssl.SSLObject:
        """The object of the connection: its version, and the peer's certificate."""
        return self._tls

    def advance_handshake(self) -> bool:
        """Take part in the handshake as far as possible now; return whether it is done.

        Raises ssl.SSLError, after sending the alert, and PeerClosed.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._push()
                if not self._fill():
                    return False
            except ssl.SSLError:
                with contextlib.suppress(PeerClosed):
                    self._push()
                raise
            else:
                self._push()
                return True

    def fileno(self) -> int:
        """See Transport."""
        return self._below.fileno()

    def send(self, parts: Sequence[Part], *, more: bool) -> int:
        """See Transport. With `more`, bytes are held back until there are enough for a record."""
        try:
            self._push()
            if more:
                return self._hold(parts)
            return self._send(parts)
        except PeerClosed as error:
            raise self._reason_of_peer() or error from error

    def flush(self) -> None:
        """See Transport. Also sends ciphertext that the transport below had no room for."""
        with contextlib.suppress(PeerClosed):
            self._encrypt_held()
            self._push()
            self._below.flush()

    def receive(self, limit: int) -> bytes | None:
        """See Transport. Also sends what `wants` waits for."""
        try:
            self._push()
        except PeerClosed as error:  # what has arrived is worth more
            self._failure = self._failure or error
        data, self._decrypted = self._decrypted[:limit], self._decrypted[limit:]
        if not data:
            data = self._decrypt(limit)
        if self._waits_to_read:
            self.flush()
        if data:
            return data
        self._is_over = self._has_ended or self._failure is not None
        if self._has_ended:
            return b""
        if self._failure:
            raise self._failure
        return None

    def wants(self) -> int:
        """See Transport."""
        return (WRITE if self._ciphertext else 0) | (READ if self._waits_to_read else 0)

    def has_buffered(self) -> bool:
        """See Transport."""
        has_end = (self._has_ended or self._failure is not None) and not self._is_over
        return bool(self._decrypted) or self._has_more or has_end

    def is_private(self) -> bool:
        """See Transport: always True."""
        return True

    def unconfirmed_bytes(self) -> int:
        """See Transport."""
        return self._held_bytes + len(self._ciphertext) + self._below.unconfirmed_bytes()

    def end_of_data(self) -> None:
        """See Transport: the peer gets a close_notify, and the connection below stays open in both directions."""
        if self._says_no_more:
            return
        self.flush()
        if self._has_more:  # close_notify would come before what is not decrypted yet
            self._decrypted += self._decrypt(RECEIVE_BYTES)
        self._says_no_more = True
        with contextlib.suppress(ssl.SSLError, ValueError):
            self._tls.unwrap()  # raises because it would also wait for the peer's
        with contextlib.suppress(PeerClosed):
            self._push()

    def close(self) -> None:
        """See Transport: with a close_notify, so that the peer knows that nothing was cut off."""
        with contextlib.suppress(PeerClosed, OSError):
            self.end_of_data()
        self._below.close()

    def _send(self, parts: Sequence[Part]) -> int:
        """Encrypt and send parts while the transport below takes everything; return how many bytes were taken."""
        if self._ciphertext or self._waits_to_read:
            return 0
        held, taken = self._held, -self._held_bytes
        self._held, self._held_bytes = [], 0
        for piece in _pieces([*held, *parts] if held else parts):
            taken += len(piece)
            self._encrypt(piece)
            self._push()
            if self._ciphertext or self._waits_to_read:
                break
        return taken

    def _hold(self, parts: Sequence[Part]) -> int:
        """Hold parts back; encrypt once there is enough for a record. Takes nothing while ciphertext waits."""
        if self._ciphertext or self._waits_to_read:
            return 0
        size = sum(map(len, parts))
        self._held.extend(parts)
        self._held_bytes += size
        if self._held_bytes >= _RECORD_BYTES:
            self._encrypt_held()
            self._push()
        return size

    def _encrypt_held(self) -> None:
        if self._held:
            data, self._held, self._held_bytes = b"".join(self._held), [], 0
            self._encrypt(data)

    def _encrypt(self, data: Part) -> None:
        """Encrypt bytes; hold those back for which OpenSSL must read before (a peer may negotiate again in TLS 1.2)."""
        self._waits_to_read = False
        try:
            self._tls.write(data)
        except ssl.SSLWantReadError:
            self._waits_to_read = True
            self._held.insert(0, bytes(data))
            self._held_bytes += len(data)
        except ssl.SSLError as error:
            raise self._closed_by(error) from error

    def _push(self) -> None:
        """Send ciphertext as far as the transport below takes it. Raises PeerClosed."""
        while True:
            if not self._ciphertext:
                self._ciphertext = memoryview(self._outgoing.read())
            if not self._ciphertext:
                return
            sent = self._below.send((self._ciphertext,), more=False)
            self._ciphertext = self._ciphertext[sent:]
            if self._ciphertext:
                return

    def _decrypt(self, limit: int) -> bytes:
        """Return at most `limit` bytes of what has arrived; note a failure, and the end of the peer's data."""
        found: list[bytes] = []
        left = limit
        while left > 0 and not self._has_ended and (data := self._read(left)) is not None:
            found.append(data)
            left -= len(data)
        self._has_more = left <= 0
        return b"".join(found)

    def _read(self, limit: int) -> bytes | None:
        """Return what the next record has, at most `limit` bytes; None if there is nothing more now."""
        try:
            while not self._failure:
                try:
                    data = self._tls.read(limit)
                except ssl.SSLWantReadError:
                    if not self._fill():
                        return None
                else:
                    self._has_ended, self._fruitless_bytes = not data, 0
                    return data
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._has_ended = True
        except ssl.SSLError as error:
            self._failure = self._closed_by(error)
        except PeerClosed as error:
            self._failure = error
        return None

    def _fill(self) -> bool:
        """Receive ciphertext; return whether there was any, or the peer has ended. Raises PeerClosed."""
        data = self._below.receive(RECEIVE_BYTES)
        if data is None:
            return False
        if not data:
            self._incoming.write_eof()
            return True
        if len(self.first_bytes) < _FIRST_BYTES:
            self.first_bytes += data[:_FIRST_BYTES]
        self._fruitless_bytes += len(data)
        if self._fruitless_bytes > _MAX_FRUITLESS_BYTES:
            raise PeerClosed(f"the server has sent {self._fruitless_bytes} bytes of TLS without data")
        self._incoming.write(data)
        return True

    def _reason_of_peer(self) -> PeerClosed | None:
        """Return why the peer has closed the connection, if it has sent an alert; keep other data for `receive`."""
        self._decrypted += self._decrypt(RECEIVE_BYTES)
        return self._failure if isinstance(self._failure, TlsAlert) else None

    def _closed_by(self, error: ssl.SSLError) -> PeerClosed:
        sentence = sentence_of(error, has_certificate=self.has_client_certificate)
        return TlsAlert(sentence) if sentence else PeerClosed(f"the connection broke: {error.reason or error}")


def _pieces(parts: Sequence[Part]) -> Sequence[Part]:
    """Return the bytes of parts in pieces that are worth a call each."""
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(data) <= _ENCRYPT_BYTES:
        return (data,)
    view = memoryview(data)
    return [view[place : place + _ENCRYPT_BYTES] for place in range(0, len(view), _ENCRYPT_BYTES)]
