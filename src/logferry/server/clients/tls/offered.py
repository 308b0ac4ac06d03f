"""The certificate that a client offers, also when it is refused: so that the log can say which one it was.

The ssl module shows nothing of a certificate that it refuses. Its context can watch the messages of a handshake, though
(an attribute that the module does not document, so its absence does no harm). Must never decide who is trusted.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from logferry.printable import moment, quoted
from logferry.x509 import MAX_BYTES, read_certificate

_WATCH: Final = "_msg_callback"
_CERTIFICATE_MESSAGE: Final = 11
_HEADER_BYTES: Final = 4
_MAX_NAME_CHARS: Final = 100


@contextmanager
def watching_certificates(context: ssl.SSLContext, take: Callable[[bytes], None]) -> Iterator[None]:
    """Inside the `with`, which must not give the event loop back, `take` gets the certificate that a client sends."""

    def watch(_: Any, direction: str, version: int, __: Any, kind: Any, message: bytes) -> None:
        if direction == "read" and kind == _CERTIFICATE_MESSAGE:
            take(_first_certificate(message, has_context=version == ssl.TLSVersion.TLSv1_3))

    if context.verify_mode is ssl.CERT_NONE or not hasattr(context, _WATCH):
        yield
        return
    setattr(context, _WATCH, watch)
    try:
        yield
    finally:
        setattr(context, _WATCH, None)


def _first_certificate(message: bytes, *, has_context: bool) -> bytes:
    """Return the first certificate of a message (RFC 8446, 4.4.2; RFC 5246, 7.4.6); empty if there is none."""
    start = _HEADER_BYTES
    if has_context:
        start += 1 + (message[start] if len(message) > start else 0)
    start += 3  # the length of the list
    size = int.from_bytes(message[start : start + 3], "big")
    return message[start + 3 : start + 3 + size] if size <= MAX_BYTES else b""


def description_of(der: bytes) -> str:
    """Return a certificate's names and dates, safe to show; empty if it cannot be read."""
    try:
        found = read_certificate(der)
    except ValueError:
        return ""
    subject, issuer = (quoted(name, max_chars=_MAX_NAME_CHARS) for name in (found.subject, found.issuer))
    return f"of {subject}, issued by {issuer}, valid from {moment(found.not_before)} to {moment(found.not_after)}"
