"""Certificates for tests: authorities of their own, and files as an operator would have them. Elliptic keys: fast."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme

_KEYS = trustme.KeyType.ECDSA

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, in files."""

    certificate: Path
    key: Path


def authority(name: str = "Test Authority") -> trustme.CA:
    """Return an authority; the same one for the same name."""
    return _authority(name)


@cache
def _authority(name: str) -> trustme.CA:
    return trustme.CA(organization_name=name, key_type=_KEYS)


@cache
def issued(
    *names: str,
    by: str = "Test Authority",
    common_name: str | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> trustme.LeafCert:
    """Return a certificate for names (DNS names, IP addresses), which is valid for a year from yesterday on."""
    return authority(by).issue_cert(
        *names,
        common_name=common_name,
        not_before=not_before or NOW - DAY,
        not_after=not_after or NOW + 365 * DAY,
        key_type=_KEYS,
    )


def authority_file(folder: Path, name: str = "Test Authority") -> Path:
    """Write the certificate of an authority; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace(' ', '-').lower()}.pem"
    path.write_bytes(authority(name).cert_pem.bytes())
    return path


def files_of(certificate: trustme.LeafCert, folder: Path, name: str = "server") -> Identity:
    """Write a certificate with its chain, and its key; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    found.certificate.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    found.key.touch(mode=0o600)
    found.key.write_bytes(certificate.private_key_pem.bytes())
    return found
