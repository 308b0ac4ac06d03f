"""Sentences for what the ssl module reports: which check failed, with the dates and names that a person needs.

Owns the meaning of OpenSSL's codes and of alerts. Pure. Names from certificates are a peer's, so they are escaped.
"""

import ssl
from typing import Final

from logferry.printable import SHOWN_REASON_CHARS, moment, printable, quoted
from logferry.protocol.plain.acks import answered
from logferry.x509 import Certificate

# Codes of X509_verify_cert (x509_vfy.h).
_EXPIRED, _NOT_YET_VALID = 10, 9
_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 18, 19
_UNKNOWN_ISSUER: Final = frozenset({2, 20, 21, 27})
_WRONG_NAME: Final = frozenset({62, 64})

_MAX_NAMES_SHOWN: Final = 10
_MAX_NAME_CHARS: Final = 100

_NO_CERTIFICATE: Final = "the server wants a client certificate (--tls-cert)"
_REFUSED: Final = "the server did not accept the client certificate"

# What alerts mean, by the ends of OpenSSL's names for them.
_OF_CERTIFICATE: Final = {
    "UNKNOWN_CA": "it does not trust the issuer",
    "BAD_CERTIFICATE": "it is damaged, or not of the right kind",
    "CERTIFICATE_EXPIRED": "it has expired, or is not valid yet, by the server's clock",
    "CERTIFICATE_REVOKED": "it was revoked",
    "CERTIFICATE_UNKNOWN": "the server does not say why",
    "UNSUPPORTED_CERTIFICATE": "it is not for clients",
    "ACCESS_DENIED": "its owner may not connect",
    "DECRYPT_ERROR": "its signature is wrong",
}
_TOO_OLD: Final = "the server speaks no version of TLS that is new enough: 1.2 or newer is needed"
_OTHERS: Final = {
    "PROTOCOL_VERSION": _TOO_OLD,
    "UNSUPPORTED_PROTOCOL": _TOO_OLD,
    "UNRECOGNIZED_NAME": "the server has no certificate for this name (--tls-server-name)",
    "INTERNAL_ERROR": "the server reports an internal error of its TLS",
    "INSUFFICIENT_SECURITY": "the server asks for stronger encryption than this client has",
}


def sentence_of(error: ssl.SSLError, *, has_certificate: bool) -> str:
    """Return what an alert of the server means; "" if the error is not an alert with a meaning for people."""
    reason = error.reason or ""
    if reason.endswith("CERTIFICATE_REQUIRED"):
        return _NO_CERTIFICATE
    for end, meaning in _OF_CERTIFICATE.items():
        if reason.endswith(f"ALERT_{end}"):
            return f"{_REFUSED}: {meaning}" if has_certificate else _NO_CERTIFICATE
    if reason.endswith("HANDSHAKE_FAILURE"):
        if has_certificate:
            return "the server refused the TLS handshake: it may not accept the client certificate, or any cipher"
        return f"the server refused the TLS handshake: {_NO_CERTIFICATE.replace('wants', 'may want')}"
    return next((sentence for end, sentence in _OTHERS.items() if reason.endswith(end)), "")


def why_no_handshake(error: ssl.SSLError, *, heard: bytes, has_certificate: bool) -> str:
    """Return why a handshake failed, other than by the certificate of the server; `heard` is what it sent at first."""
    if heard and heard[:1] not in (b"\x15", b"\x16"):  # neither an alert nor a handshake
        return f"the server does not speak TLS at this port ({answered(heard)}): leave out --tls, or use another port"
    if sentence := sentence_of(error, has_certificate=has_certificate):
        return sentence
    if isinstance(error, ssl.SSLEOFError):
        return CLOSED
    reason = (error.reason or str(error)).lower().replace("_", " ")
    return f"the TLS handshake failed: {printable(reason, max_chars=SHOWN_REASON_CHARS)}"


CLOSED: Final = "the server closed the connection in the TLS handshake: does it speak TLS at this port?"


def why_not_trusted(
    error: ssl.SSLCertVerificationError, certificate: Certificate | None, *, expected: str, now: float
) -> str:
    """Return which check of the server's certificate failed; `certificate` is None if it could not be read."""
    code = error.verify_code
    if code in _WRONG_NAME:
        names = f" but for {_names(certificate)}" if certificate else ""
        return f"the server's certificate is not for {quoted(expected)}{names} (--tls-server-name is the expected name)"
    if code == _EXPIRED:
        return f"the server's certificate has expired{_expiry(certificate, now)}"
    if code == _NOT_YET_VALID:
        since = f": it is valid from {moment(certificate.not_before)} on" if certificate else ""
        return f"the server's certificate is not valid yet{since}; is this machine's clock right?"
    if code == _SELF_SIGNED:
        return f"the server's certificate is self-signed{_by(certificate)}: it is trusted only if --tls-ca has it"
    if code == _SELF_SIGNED_IN_CHAIN or code in _UNKNOWN_ISSUER:
        return f"the server's certificate has an unknown issuer{_by(certificate)}: is it in --tls-ca?"
    reason = printable(error.verify_message, max_chars=SHOWN_REASON_CHARS)
    return f"the server's certificate cannot be verified: {reason}"


def _expiry(certificate: Certificate | None, now: float) -> str:
    if certificate is None:
        return ""
    if certificate.not_after >= now:
        return f", or that of one of its issuers{_by(certificate)} has"
    return f": it was valid until {moment(certificate.not_after)}"


def _by(certificate: Certificate | None) -> str:
    return f" ({quoted(certificate.issuer, max_chars=_MAX_NAME_CHARS)})" if certificate else ""


def _names(certificate: Certificate) -> str:
    shown = [quoted(name, max_chars=_MAX_NAME_CHARS) for name in certificate.names[:_MAX_NAMES_SHOWN]]
    more = len(certificate.names) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more > 0 else [])]) or "no name at all"
