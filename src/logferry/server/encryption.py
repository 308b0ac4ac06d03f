"""The server's TLS: makes its context, keeps it current, and what all its connections share of it.

Owns the choice of what TLS must offer; `tls_files` owns the files. Must never verify less than the options say.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable

from logferry.addresses import network_of
from logferry.config import ServeSettings
from logferry.errors import ConfigError
from logferry.server.clients.reporting.counters import ClientCounters
from logferry.server.clients.services import Scheduler
from logferry.server.clients.tls.handshakes import Handshakes
from logferry.server.clients.tls.layer import TlsServices
from logferry.tls_files import TlsContext, TlsFiles, expiry_problems, watching


class Encryption:
    """The context of a server with certificates, and a thread that looks for changed files until `close`."""

    def __init__(self, settings: ServeSettings, counters: ClientCounters) -> None:
        """Read the files. Raises ConfigError."""
        self.context = context_of(settings)
        self._counters = counters
        self._watching = contextlib.ExitStack()
        self.look_again: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to look for changed files."""
        self.look_again = self._watching.enter_context(watching(self.context, on_change=self._count))

    def _count(self, context: TlsContext) -> None:
        self._counters.tls_expires_at = context.expires_at
        self._counters.tls_reload_failures = context.failures

    def close(self) -> None:
        """Stop looking."""
        self._watching.close()

    def services(self, loop: asyncio.AbstractEventLoop, scheduler: Scheduler) -> TlsServices:
        """Return what the connections share."""
        return TlsServices(
            handshakes=Handshakes(loop),
            context=lambda: self.context.current,
            network_of=network_of,
            call_soon=scheduler.call_soon,
        )


def context_of(settings: ServeSettings) -> TlsContext:
    """Return the context with the files of a server's settings. Raises ConfigError."""
    verify = ssl.CERT_REQUIRED if settings.tls_client_ca else ssl.CERT_NONE
    return TlsContext(_files_of(settings), lambda: empty_context(verify))


def tls_problems(settings: ServeSettings) -> list[str]:
    """Return a sentence for each reason why the server's files of TLS are of no use now, if it has any."""
    if settings.tls_cert is None:
        return []
    try:
        context_of(settings)
        return expiry_problems(_files_of(settings), time.time())
    except ConfigError as error:
        return list(error.problems)


def _files_of(settings: ServeSettings) -> TlsFiles:
    return TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca, authorities_option="--tls-client-ca")


def empty_context(verify: ssl.VerifyMode) -> ssl.SSLContext:
    """Return a context of a server without files.

    It sends no tickets with TLS 1.3: a client that only writes, and closes with unread tickets, resets the connection,
    and what it wrote last is lost.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    context.verify_mode = verify
    return context
