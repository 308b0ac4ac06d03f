"""How connections to a server are secured: the trusted authorities, this client's certificate, the expected name.

Owns the client's rules for TLS. The files and their changes belong to tls_files.py; the handshake is in handshake.py.
"""

import ssl
import time
from pathlib import Path
from typing import Protocol

from logferry.errors import ConfigError
from logferry.tls_files import TlsContext, TlsFiles, expiry_problems


class TlsSettings(Protocol):
    """The settings of TLS of any command that connects to a server."""

    @property
    def tls_ca(self) -> Path | None:
        """The authorities to trust, None for the system's."""

    @property
    def tls_cert(self) -> Path | None:
        """This client's certificate."""

    @property
    def tls_key(self) -> Path | None:
        """The key of the certificate, None for the same file."""

    @property
    def tls_server_name(self) -> str | None:
        """The name that the server's certificate must have, None for the host that is connected to."""

    @property
    def tls_insecure(self) -> bool:
        """Whether to check no certificate."""


class Security:
    """The rules of one client. `files` may be watched and loaded again while connections are made."""

    def __init__(self, settings: TlsSettings) -> None:
        """Raises ConfigError, with a sentence for each problem with the files."""
        self.server_name = settings.tls_server_name
        self.is_insecure = settings.tls_insecure
        self.has_certificate = settings.tls_cert is not None
        self._trusts_system = settings.tls_ca is None
        self.files = TlsContext(_files_of(settings), self._make_context)

    @property
    def context(self) -> ssl.SSLContext:
        """The context for a new connection."""
        return self.files.current

    def expected_name(self, host: str) -> str:
        """Return the name that the certificate of `host` must have."""
        return self.server_name or host.partition("%")[0]  # without the zone of an IPv6 address

    def _make_context(self) -> ssl.SSLContext:
        context = unverified_context()
        if self.is_insecure:
            return context
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
        if self._trusts_system:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context


def unverified_context() -> ssl.SSLContext:
    """Return a context that checks nothing of the peer, for TLS 1.2 or newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def problems_with_files(settings: TlsSettings) -> list[str]:
    """Return a sentence for each problem with the files of TLS, an expired certificate included."""
    try:
        Security(settings)
        return expiry_problems(_files_of(settings), time.time())
    except ConfigError as error:
        return list(error.problems)


def _files_of(settings: TlsSettings) -> TlsFiles:
    return TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_ca)
