"""A client with TLS that can end its data and go on reading, which Python's own TLS sockets cannot."""

import contextlib
import ssl
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.certificates import Identity, authority, files_of, issued
from tests.support.running import RawClient, RunningServer


def server_options(folder: Path, *names: str, client_ca: Path | None = None) -> dict[str, Any]:
    """Return the settings of a server that speaks TLS with a certificate for `names`, or for 127.0.0.1."""
    files = files_of(issued(*(names or ("127.0.0.1",))), folder)
    return {"tls_cert": files.certificate, "tls_key": files.key, "tls_client_ca": client_ca}


def client_context(
    identity: Identity | None = None, *, least: ssl.TLSVersion | None = None, most: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """Return the context of a client that knows the test's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's authorities, which take long to load
    authority().configure_trust(context)
    if identity:
        context.load_cert_chain(identity.certificate, identity.key)
    if least:
        context.minimum_version = least
    if most:
        context.maximum_version = most
    return context


@cache
def _usual_context() -> ssl.SSLContext:
    return client_context()


class TlsClient(RawClient):
    """A RawClient with TLS above its socket."""

    def __init__(self, server: RunningServer, context: ssl.SSLContext | None = None, *, greeting: bytes = b"") -> None:
        """`greeting` is what a proxy sends before TLS. Raises ssl.SSLError."""
        super().__init__(server.host, server.port)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or _usual_context()).wrap_bio(self._incoming, self._outgoing, server_hostname=server.host)
        self.socket.sendall(greeting)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                assert self._fill(), "the server closed during the handshake"
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self.flush()
                raise
        self.flush()

    def flush(self) -> None:
        """Send what TLS has to send."""
        self.socket.sendall(self._outgoing.read())

    def encrypted(self, data: bytes) -> bytes:
        """Return the records that hold `data`, without sending them."""
        for start in range(0, len(data), 16384):
            self.tls.write(data[start : start + 16384])
        return self._outgoing.read()

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(self.encrypted(data))

    def finish_sending(self) -> None:
        """Declare the end of the data (close_notify), and go on reading."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.flush()

    def _receive(self) -> bytes:
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                if not self._fill():
                    raise ssl.SSLEOFError("the server has not declared the end") from None
            except ssl.SSLZeroReturnError:
                return b""

    def _fill(self) -> bool:
        data = self.socket.recv(65536)
        self._incoming.write(data)
        return bool(data)
