"""The TLS handshake on a new connection, as steps with a time limit, and why one has failed.

A handshake that fails because of the server's certificate shows nothing of that certificate (before Python 3.13). So a
second handshake, which verifies nothing and sends nothing, gets its dates and names for the message.
"""

import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from logferry.client.net.connecting.security import Security, unverified_context
from logferry.client.net.transports.tls import TlsTransport
from logferry.client.net.transports.tls_errors import CLOSED, why_no_handshake, why_not_trusted
from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.readiness import READ
from logferry.client.net.waiting.steps import Await, Steps
from logferry.errors import DeliveryError, NotSecured, PeerClosed
from logferry.printable import in_seconds, quoted
from logferry.x509 import Certificate, read_certificate

logger = logging.getLogger(__name__)

Connect = Callable[[], Steps[Transport]]
"""Connects once more to the same address, for a handshake that only reads the certificate. Raises OSError."""

# The time limit of that handshake: the peer has answered a moment ago.
_LOOK_S: Final = 2.0


def secure(
    below: Transport, security: Security, host: str, *, timeout_s: float, connect_again: Connect, warns: bool
) -> Steps[Transport]:
    """Return the encrypted transport over a new connection to `host`. Raises NotSecured, after closing it.

    `warns`: log a warning if nothing is checked.
    """
    expected = security.expected_name(host)
    try:
        transport = TlsTransport(below, security.context, server_name=expected)
        transport.has_client_certificate = security.has_certificate
        yield from _shake_hands(transport, timeout_s)
    except ssl.SSLCertVerificationError as error:
        below.close()
        certificate = yield from _certificate_of(expected, connect_again, timeout_s=min(timeout_s, _LOOK_S))
        raise NotSecured(why_not_trusted(error, certificate, expected=expected, now=time.time())) from error
    except ValueError:  # of the name's encoding, or an empty one
        below.close()
        raise NotSecured(f"{quoted(expected)} is not a name that a certificate can have (--tls-server-name)") from None
    except BaseException:
        below.close()
        raise
    if security.is_insecure and warns:
        logger.warning("the certificate of %s was not checked (--tls-insecure): this may be another server", host)
    return transport


def _shake_hands(transport: TlsTransport, timeout_s: float) -> Steps[None]:
    """Raises NotSecured, or SSLCertVerificationError."""
    left_s = timeout_s
    try:
        while not transport.advance_handshake():
            resumed = yield Await(transport.fileno(), READ | transport.wants(), max(0.0, left_s))
            left_s -= resumed.waited_s
            if not resumed.ready or left_s <= 0:
                raise NotSecured(f"no answer to the TLS handshake within {in_seconds(timeout_s)}")
    except ssl.SSLCertVerificationError:
        raise
    except ssl.SSLError as error:
        has_certificate = transport.has_client_certificate
        sentence = why_no_handshake(error, heard=transport.first_bytes, has_certificate=has_certificate)
        raise NotSecured(sentence) from error
    except PeerClosed as error:
        raise NotSecured(f"{CLOSED} ({error})") from error


def _certificate_of(name: str, connect_again: Connect, *, timeout_s: float) -> Steps[Certificate | None]:
    """Return what the certificate of a peer says that was refused; None if it cannot be had."""
    try:
        below = yield from connect_again()
    except (OSError, DeliveryError):
        return None
    try:
        transport = TlsTransport(below, unverified_context(), server_name=name)
        yield from _shake_hands(transport, timeout_s)
        return read_certificate(transport.tls.getpeercert(binary_form=True) or b"")
    except (ssl.SSLError, NotSecured, ValueError):
        return None
    finally:
        below.close()
