"""The first bytes of a connection: a proxy's header, which protocol the client speaks, or which stranger it is.

Owns the bytes that do not decide it yet. Pure, and bounded: a first line that may still be a stranger's is held up to
MAX_FIRST_LINE_BYTES (docs/protocol.md, rules M4 and M10 to M12).
"""

from dataclasses import dataclass
from enum import Enum, auto

from logferry.protocol.delivery.server import is_hello_prefix
from logferry.protocol.opening.proxy_header import MalformedHeader, ProxyHeader, read_header
from logferry.protocol.strangers import NO_HEADER, Stranger, may_become_stranger, stranger_of


class Speaks(Enum):
    """The protocols of log clients."""

    PLAIN = auto()
    DELIVERY = auto()


@dataclass(frozen=True, slots=True)
class Opened:
    """What the first bytes have shown. `data` is everything received so far."""

    peer: Speaks | Stranger
    data: bytes


class Opening:
    """Takes the first bytes of a connection until they show who sends them.

    With `expects_header`, the connection comes from a proxy, and must begin with a header of the PROXY protocol.
    """

    def __init__(self, *, expects_header: bool = False) -> None:
        self._held = b""
        self.awaits_header = expects_header
        self.header: ProxyHeader | None = None
        self.is_silent = True  # nothing was received but a header

    @property
    def held_bytes(self) -> int:
        """How many bytes are held."""
        return len(self._held)

    def receive_data(self, data: bytes) -> Opened | None:
        """Accept bytes from the socket; return what they show once they are enough."""
        data = self._held + data
        if self.awaits_header:
            try:
                rest = self._take_header(data)
            except MalformedHeader:
                self.is_silent = False
                return self._opened(NO_HEADER, data)
            if not rest:
                return None
            data = rest
        self.is_silent = False
        is_hello = is_hello_prefix(data)
        if is_hello:
            return self._opened(Speaks.DELIVERY, data)
        if stranger := stranger_of(data):
            return self._opened(stranger, data)
        if is_hello is None or may_become_stranger(data):
            self._held = data
            return None
        return self._opened(Speaks.PLAIN, data)

    def _take_header(self, data: bytes) -> bytes:
        """Take the header; return what follows it, nothing while it is incomplete. Raises MalformedHeader."""
        self.header = read_header(data)
        self.awaits_header = self.header is None
        self._held = data if self.header is None else b""
        return data[self.header.size :] if self.header else b""

    def receive_eof(self) -> Opened | None:
        """Handle the end of the client's data; return what was held, if anything."""
        if not self._held:
            return None
        data = self._held
        if self.awaits_header:
            return self._opened(NO_HEADER, data)
        return self._opened(stranger_of(data + b"\n") or Speaks.PLAIN, data)

    def discard(self) -> None:
        """Discard what is held."""
        self._held = b""

    def _opened(self, peer: Speaks | Stranger, data: bytes) -> Opened:
        self._held = b""
        return Opened(peer, data)
