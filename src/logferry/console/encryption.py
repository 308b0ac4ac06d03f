"""The console's TLS: what it must offer to browsers. `tls_files` owns the files."""

import ssl
from pathlib import Path

from logferry.tls_files import TlsContext, TlsFiles


def tls_of(certificate: Path, key: Path | None, client_authorities: Path | None) -> TlsContext:
    """Return the context of these files; with authorities, each browser needs a certificate of one. Raises
    ConfigError."""

    def empty() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.verify_mode = ssl.CERT_REQUIRED if client_authorities else ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        return context

    return TlsContext(TlsFiles(certificate, key, client_authorities, authorities_option="--tls-client-ca"), empty)
