"""The transport of a connection with TLS: below it the socket's transport, above it the connection.

Owns the phase: the first bytes, the handshake, the data, the end. What is sent goes to the socket's transport at once,
so its buffer is the only one, and its limits hold. asyncio's own TLS transport drops what is owed to a peer that has
ended its side, and cannot end its own; this one can do both. Never judges what is decrypted.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Protocol

from logferry.protocol.opening.tls_opening import TlsOpening
from logferry.protocol.strangers import Stranger
from logferry.server.clients.memory.flow_control import READ_BYTES
from logferry.server.clients.memory.parties import Party
from logferry.server.clients.tls.engine import TlsEngine, TlsViolation
from logferry.server.clients.tls.handshakes import Handshakes

# Read at a time before the connection is secured: a handshake's messages are smaller.
_FIRST_READ_BYTES: Final = 16 * 1024


_LEFT: Final = "the client ended the connection during the handshake"


class Phase(Enum):
    """How far the connection is."""

    OPENING = auto()  # the first record is incomplete
    SHAKING = auto()  # hands, with OpenSSL
    SECURED = auto()
    OVER = auto()  # what the peer still sends is discarded


class Above(Protocol):
    """What the layer calls of the connection above it, besides asyncio's callbacks."""

    @property
    def party(self) -> Party | None:
        """The identity that the client has proven, with all its connections."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the layer as transport."""

    def data_received(self, data: bytes) -> None:
        """Take decrypted data."""

    def eof_received(self) -> bool | None:
        """Take the end that the peer has declared; return whether the connection stays open."""

    def cut_short(self) -> bool | None:
        """Take the end of a peer that has not declared it: what is incomplete must not be taken for complete."""

    def pause_writing(self) -> None:
        """Send nothing more for now."""

    def resume_writing(self) -> None:
        """Go on sending."""

    def connection_lost(self, error: Exception | None) -> None:
        """Take the end of the connection."""

    def came_through_proxy(self, address: str, port: int) -> None:
        """Take what a proxy says about the client; the address may be empty."""

    def secured(self, engine: TlsEngine) -> None:
        """Take what the handshake has shown about the client."""

    def handshake_failed(self, error: Exception | str, certificate: bytes = b"") -> None:
        """The handshake cannot succeed: end the connection. `certificate` is what the client offers, in DER."""

    def turn_away(self, stranger: Stranger) -> None:
        """The peer does not speak TLS: end the connection."""

    def tls_broke(self, error: Exception) -> None:
        """What the peer sent is not what TLS allows: close the connection."""

    def account_for_input(self) -> None:
        """Charge what is held of the client, which has sent something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsServices:
    """What all layers of a server share. `context` is called when a handshake begins, so that it is the newest."""

    handshakes: Handshakes
    context: Callable[[], ssl.SSLContext]
    network_of: Callable[[str], str]
    call_soon: Callable[[Callable[[], object], Party | None], object]  # after other clients have had their turn


class TlsLayer(asyncio.Transport, asyncio.Protocol):
    """The socket's protocol and the connection's transport."""

    def __init__(self, above: Above, services: TlsServices) -> None:
        super().__init__()
        self._above = above
        self._services = services
        self._below: asyncio.Transport
        self._engine: TlsEngine | None = None
        self._opening = TlsOpening()
        self._received = b""  # of the handshake, waits for its turn
        self._phase = Phase.OPENING
        self._wants_data = True  # the connection has not paused reading
        self._max_size = READ_BYTES
        self._will_continue = False
        self._socket_has_ended = False
        self.network = ""

    # --- for the connection

    def begin(self, *, expects_header: bool) -> None:
        """Take the first bytes; they are a proxy's header if one is expected."""
        self._opening = TlsOpening(expects_header=expects_header)

    @property
    def is_secured(self) -> bool:
        """Whether the handshake has succeeded."""
        return self._engine is not None and self._engine.is_secured

    @property
    def awaits_header(self) -> bool:
        """Whether a proxy's header is still to come."""
        return self._opening.awaits_header

    @property
    def held_bytes(self) -> int:
        """How many bytes of the peer are held that are not decrypted."""
        engine_bytes = self._engine.held_bytes if self._engine else 0
        return engine_bytes + self._opening.held_bytes + len(self._received)

    @property
    def max_size(self) -> int:
        """How many bytes to read at a time, as in asyncio's transports."""
        return self._max_size

    @max_size.setter
    def max_size(self, size: int) -> None:
        self._max_size = size
        if self.is_secured:
            self._below.max_size = size  # type: ignore[attr-defined]  # asyncio's own transports have it

    # --- the connection's transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.BaseTransport; likewise below."""
        return self._below.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._below.is_closing()

    def is_reading(self) -> bool:
        return self._wants_data

    def pause_reading(self) -> None:
        self._wants_data = False
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._wants_data = True
        if self._phase is Phase.SECURED and self._engine is not None and self._engine.has_more:
            self._continue_soon()
        else:
            self._read_on()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._below.is_closing() or self._phase is Phase.SHAKING:
            return
        if self._engine is None:  # to a stranger
            self._below.write(data)
        elif self._engine.is_secured:
            try:
                self._below.write(self._engine.encrypt(data))
            except ssl.SSLError:  # it has failed before
                self._below.abort()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Declare the end, then end this side of the connection; what the peer still sends is not decrypted."""
        self._finish()
        if self._socket_has_ended:
            self._below.close()
        else:
            self._below.write_eof()
            self._read_on()  # until the peer ends its side, too

    def close(self) -> None:
        self._finish()
        self._below.close()

    def abort(self) -> None:
        self._below.abort()

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def _finish(self) -> None:
        self._services.handshakes.leave(self)
        self._phase = Phase.OVER
        if self._engine is not None and self._engine.is_secured and not self._below.is_closing():
            self._below.write(self._engine.end())
        elif self._engine is not None and not self._engine.is_secured:
            self._engine = None  # 100 KB after a large message; the connection stays until the peer ends its side

    def _read_on(self) -> None:
        if self._wants_data and not self._socket_has_ended:
            self._below.resume_reading()

    # --- the socket's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket's transport, and become the connection's."""
        assert isinstance(transport, asyncio.Transport)
        self._below = transport
        self._below.max_size = _FIRST_READ_BYTES  # type: ignore[attr-defined]
        self.network = self._services.network_of(str((transport.get_extra_info("peername") or ("",))[0]))
        self._above.connection_made(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        match self._phase:
            case Phase.SECURED:
                self._decrypt(data)
            case Phase.OPENING:
                self._open(data)
            case Phase.SHAKING:
                self._shake_soon(data)
            case Phase.OVER:
                pass

    def eof_received(self) -> bool | None:
        """Take the end of one side of the socket; unless TLS's own end came before it, the data was cut short."""
        self._socket_has_ended = True
        match self._phase:
            case Phase.OPENING:
                return self._above.cut_short()
            case Phase.SHAKING:
                if not self._received:  # otherwise what has arrived comes first: it may be an alert
                    self._fail(_LEFT)
                return True
            case Phase.OVER:
                return self._above.eof_received()
        assert self._engine is not None
        if self._engine.has_more:
            return True  # see `_after_data`
        return True if self._engine.has_ended else self._above.cut_short()

    def pause_writing(self) -> None:
        """Pass on."""
        self._above.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on, and release everything."""
        self._services.handshakes.leave(self)
        self._phase = Phase.OVER
        self._opening.discard()
        self._received, self._engine = b"", None
        self._above.connection_lost(exc)

    # --- the phases

    def _open(self, data: bytes) -> None:
        awaited_header = self._opening.awaits_header
        opened = self._opening.receive_data(data)
        header = self._opening.header
        if awaited_header and header is not None:
            self._above.came_through_proxy(header.address, header.port)
            if header.address:  # otherwise all clients of a proxy would be one network
                self.network = self._services.network_of(header.address)
        if isinstance(opened, Stranger):
            self._opening.discard()
            self._phase = Phase.OVER
            self._above.turn_away(opened)
        elif opened is None:
            self._above.account_for_input()
        else:
            self._opening.discard()
            self._phase = Phase.SHAKING
            self._shake_soon(opened)

    def _shake_soon(self, data: bytes) -> None:
        self._received += data
        self._below.pause_reading()
        self._above.account_for_input()
        self._services.handshakes.want_step(self)

    def step(self) -> None:
        """See Shaking; likewise below."""
        received, self._received = self._received, b""
        if self._phase is not Phase.SHAKING or self._below.is_closing():
            return
        engine = self._engine = self._engine or TlsEngine(self._services.context())
        try:
            engine.handshake(received)
        except (ssl.SSLError, TlsViolation) as error:
            self._send_output(engine)
            self._fail(error)
            return
        self._send_output(engine)
        if engine.is_secured:
            self._enter_secured(engine)
        elif self._socket_has_ended:
            self._fail(_LEFT)
        else:
            self._above.account_for_input()
            self._read_on()

    def give_way(self) -> None:
        self._fail("there are too many handshakes at the same time")
        self._below.abort()  # at once: others need the place

    def _fail(self, error: Exception | str) -> None:
        self._services.handshakes.leave(self)
        self._phase = Phase.OVER
        self._above.handshake_failed(error, self._engine.offered_certificate if self._engine else b"")

    def _enter_secured(self, engine: TlsEngine) -> None:
        self._services.handshakes.leave(self)
        self._phase = Phase.SECURED
        self.max_size = self._max_size
        self._above.secured(engine)
        if self._phase is Phase.SECURED:
            self._decrypt(b"")

    def _decrypt(self, data: bytes) -> None:
        assert self._engine is not None
        try:
            decrypted = self._engine.decrypt(data)
        except (ssl.SSLError, TlsViolation) as error:
            self._send_output(self._engine)
            self._phase = Phase.OVER
            self._above.tls_broke(error)
            return
        self._send_output(self._engine)
        if decrypted:
            self._above.data_received(decrypted)
        else:
            self._above.account_for_input()
        self._after_data()

    def _after_data(self) -> None:
        """Go on with what is received, with the end, or with reading."""
        if self._phase is not Phase.SECURED or self._below.is_closing() or self._engine is None:
            return
        if self._engine.has_ended:
            self._below.pause_reading()
            self._close_unless(self._above.eof_received())
        elif self._engine.has_more:
            self._below.pause_reading()
            if self._wants_data:
                self._continue_soon()
        elif self._socket_has_ended:
            self._close_unless(self._above.cut_short())
        else:
            self._read_on()

    def _continue_soon(self) -> None:
        if not self._will_continue:
            self._will_continue = True
            self._services.call_soon(self._continue, self._above.party)

    def _continue(self) -> None:
        """Decrypt the next step of many small records; between steps, other clients have their turn."""
        self._will_continue = False
        if self._phase is Phase.SECURED and self._wants_data:
            self._decrypt(b"")

    def _close_unless(self, stays_open: bool | None) -> None:
        if not stays_open:
            self.close()

    def _send_output(self, engine: TlsEngine) -> None:
        if (output := engine.take_output()) and not self._below.is_closing():
            self._below.write(output)
