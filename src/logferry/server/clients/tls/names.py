"""The names in a client's certificate."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from logferry.printable import printable

# Certificates are signed by somebody whom the operator trusts; the bound keeps a mistake small.
_MAX_NAMES: Final = 64
_MAX_NAME_CHARS: Final = 255


def names_in(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of what `getpeercert` returns: first the subject's alternative names, then its common names."""
    names = dict.fromkeys(printable(name, max_chars=_MAX_NAME_CHARS) for name in _names(certificate))
    return tuple(names)[:_MAX_NAMES]


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for _, name in certificate.get("subjectAltName", ()):
        yield str(name)
    for parts in certificate.get("subject", ()):
        yield from (str(value) for key, value in parts if key == "commonName")
