"""Why a handshake failed: what OpenSSL reports, as a sentence, a kind for the metric, and what to do next."""

import ssl
from dataclasses import dataclass
from typing import Final

from logferry.printable import printable
from logferry.server.clients.tls.engine import TlsViolation
from logferry.server.clients.tls.offered import description_of

_MAX_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class HandshakeFailure:
    """A reason: `kind` is one of a few words."""

    kind: str
    reason: str
    advice: str = ""


_TIMEOUT: Final = "timeout"
_LEFT: Final = "left"
_OTHER: Final = "other"
_UNKNOWN_ISSUER: Final = "unknown_issuer"

TOO_MANY: Final = HandshakeFailure("too_many", "too many connections wait for their handshake")

# X509_V_ERR_* by number (openssl/x509_vfy.h): the checks of a client's certificate.
_BY_VERIFY_CODE: Final = {
    **dict.fromkeys((2, 18, 19, 20, 21), (_UNKNOWN_ISSUER, "no authority in --tls-client-ca has issued")),
    9: ("not_yet_valid", "not valid yet:"),
    10: ("expired", "expired:"),
    26: ("wrong_purpose", "not made for clients:"),
}
_CA_ADVICE: Final = "its certificate must be issued by an authority in --tls-client-ca"

# OpenSSL's names of reasons (openssl/sslerr.h). An alert is what the client says.
_BY_REASON: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": HandshakeFailure(
        "no_certificate", "it sent no client certificate", "--tls-client-ca is set, so each client needs one"
    ),
    "UNSUPPORTED_PROTOCOL": HandshakeFailure("version", "it speaks only versions of TLS before 1.2"),
    "WRONG_VERSION_NUMBER": HandshakeFailure("version", "it speaks a version of TLS that the server does not"),
    "UNKNOWN_PROTOCOL": HandshakeFailure("version", "it speaks a version of TLS that the server does not"),
    "NO_SHARED_CIPHER": HandshakeFailure("cipher", "client and server have no cipher in common"),
    "TLSV1_ALERT_UNKNOWN_CA": HandshakeFailure(
        "refused", "the client does not know who issued the server's certificate", "give it the authority with --tls-ca"
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": HandshakeFailure(
        "refused", "the client finds that the server's certificate has expired", "replace --tls-cert"
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": HandshakeFailure(
        "refused",
        "the client refuses the server's certificate",
        "does the certificate have the name that the client connects to?",
    ),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": HandshakeFailure("refused", "the client refuses the server's certificate"),
}


def handshake_failure(error: Exception | str, certificate: bytes = b"") -> HandshakeFailure:
    """Return what an error in a handshake means; `certificate` is what the client offers, in DER."""
    if isinstance(error, str):
        return HandshakeFailure(_LEFT, error)
    if isinstance(error, TimeoutError):
        return HandshakeFailure(_TIMEOUT, str(error))
    if isinstance(error, TlsViolation):
        return HandshakeFailure(_OTHER, str(error))
    if isinstance(error, ssl.SSLCertVerificationError):
        kind, said = _BY_VERIFY_CODE.get(error.verify_code, ("bad_certificate", "not accepted:"))
        about = description_of(certificate)
        shown = f"{said} the client's certificate{about and ' '}{about} ({error.verify_message})"
        return HandshakeFailure(kind, shown, _CA_ADVICE if kind == _UNKNOWN_ISSUER else "")
    reason = getattr(error, "reason", None) or str(error)
    usual = HandshakeFailure(_OTHER, printable(reason.replace("_", " ").lower(), max_chars=_MAX_CHARS))
    return _BY_REASON.get(reason, usual)
