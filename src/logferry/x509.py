"""What a certificate says of itself: for whom it is, who issued it, and when it is valid. For messages and metrics.

The ssl module shows nothing of a certificate that it has refused, nor of one in a file, so this module reads the DER
(RFC 5280; X.690). It must never decide whether somebody is trusted: that is for the ssl module alone. Pure. The bytes
come from a peer: every length is checked, and what is kept is bounded. The names are not escaped.
"""

import calendar
import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final, NamedTuple

# Certificates have one or two kilobytes; some have hundreds of names.
MAX_BYTES: Final = 64 * 1024
MAX_NAMES: Final = 100
_MAX_NAME_CHARS: Final = 256

_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET = 0x02, 0x04, 0x06, 0x30, 0x31
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3  # [0] and [3] of TBSCertificate
_DNS_NAME, _URI, _IP_ADDRESS, _EMAIL = 0x82, 0x86, 0x87, 0x81  # of GeneralName

_COMMON_NAME: Final = bytes.fromhex("550403")  # 2.5.4.3
_NAME_PARTS: Final = {_COMMON_NAME: "CN", bytes.fromhex("55040a"): "O", bytes.fromhex("55040b"): "OU"}
_ALTERNATIVE_NAMES: Final = bytes.fromhex("551d11")  # 2.5.29.17
_UTF16, _UTF32 = 0x1E, 0x1C  # BMPString, UniversalString

_TIME: Final = re.compile(rb"(\d\d)?(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z")


class Certificate(NamedTuple):
    """What is read of a certificate. Times are Unix times; it is valid from `not_before` to `not_after`.

    `names` are those for which it is valid: DNS names, IP addresses, and URIs and e-mail addresses; of a certificate
    that has none of them, its common name, which clients do not accept.
    """

    subject: str
    issuer: str
    not_before: int
    not_after: int
    names: tuple[str, ...]


class _Value(NamedTuple):
    """One value of DER: its tag and its content."""

    tag: int
    content: bytes


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate. Raises ValueError if the bytes are not one."""
    if len(der) > MAX_BYTES:
        raise ValueError("too long for a certificate")
    (body,) = _of(_SEQUENCE, _values(der)[:1])
    (signed,) = _of(_SEQUENCE, _values(body)[:1])
    fields = _values(signed)
    if fields and fields[0].tag == _VERSION:
        del fields[0]
    if len(fields) < 6 or fields[0].tag != _INTEGER:
        raise ValueError("not the fields of a certificate")
    _, issuer, validity, subject = _of(_SEQUENCE, fields[1:5])
    begin, end = map(_time, _values(validity)[:2])
    common = [text for oid, text in _name_parts(subject) if oid == _COMMON_NAME]
    names = tuple(_alternative_names(fields)) or tuple(common[:1])
    return Certificate(_shown(subject), _shown(issuer), begin, end, names)


def _values(data: bytes) -> list[_Value]:
    """Return the values that follow each other in `data`. Raises ValueError."""
    found, position = [], 0
    while position < len(data):
        value, position = _value_at(data, position)
        found.append(value)
    return found


def _value_at(data: bytes, position: int) -> tuple[_Value, int]:
    """Return the value that begins at `position`, and where it ends. Raises ValueError."""
    header = data[position : position + 2]
    if len(header) < 2 or header[0] & 0x1F == 0x1F:  # a tag of several bytes: a certificate has none
        raise ValueError("not DER")
    position += 2
    length = header[1]
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4 or position + size > len(data):
            raise ValueError("not the length of a value")
        length = int.from_bytes(data[position : position + size], "big")
        position += size
    if position + length > len(data):
        raise ValueError("a value that is cut off")
    return _Value(header[0], data[position : position + length]), position + length


def _of(tag: int, values: list[_Value]) -> list[bytes]:
    """Return the contents of values that must all have a tag. Raises ValueError."""
    if not values or any(value.tag != tag for value in values):
        raise ValueError("not the structure of a certificate")
    return [value.content for value in values]


def _time(value: _Value) -> int:
    parts = _TIME.fullmatch(value.content)
    if parts is None or (value.tag, parts[1] is None) not in ((_UTC_TIME, True), (_GENERALIZED_TIME, False)):
        raise ValueError("not a time")
    century, year, *rest = (int(part or 0) for part in parts.groups())
    century = century or (20 if year < 50 else 19)  # RFC 5280, 4.1.2.5.1
    month, day = rest[:2]
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError("not a day")
    return calendar.timegm((century * 100 + year, *rest))


def _name_parts(name: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the attributes of a distinguished name: the type and the text of each."""
    for attributes in _of(_SET, _values(name)) if name else ():
        for attribute in _of(_SEQUENCE, _values(attributes)):
            parts = _values(attribute)
            if len(parts) != 2 or parts[0].tag != _OID:
                raise ValueError("not an attribute of a name")
            yield parts[0].content, _text(parts[1])


def _text(value: _Value) -> str:
    encoding = {_UTF16: "utf-16-be", _UTF32: "utf-32-be"}.get(value.tag, "utf-8")
    return value.content[: 4 * _MAX_NAME_CHARS].decode(encoding, "replace")[:_MAX_NAME_CHARS]


def _shown(name: bytes) -> str:
    """Return the common name of a distinguished name; without one, its organisations."""
    parts = [(_NAME_PARTS[oid], text) for oid, text in _name_parts(name) if oid in _NAME_PARTS]
    common = [text for kind, text in parts if kind == "CN"]
    return common[0] if common else ", ".join(f"{kind}={text}" for kind, text in parts[:4])


def _alternative_names(fields: list[_Value]) -> Iterator[str]:
    """Yield the subject's alternative names."""
    for extensions in (field.content for field in fields if field.tag == _EXTENSIONS):
        (listed,) = _of(_SEQUENCE, _values(extensions)[:1])
        for extension in _of(_SEQUENCE, _values(listed)) if listed else ():
            parts = _values(extension)
            if parts and parts[0] == (_OID, _ALTERNATIVE_NAMES):
                (octets,) = _of(_OCTETS, parts[-1:])
                (names,) = _of(_SEQUENCE, _values(octets)[:1])
                yield from _general_names(names)


def _general_names(names: bytes) -> Iterator[str]:
    for value in _values(names)[:MAX_NAMES]:
        if value.tag in (_DNS_NAME, _URI, _EMAIL):
            yield _text(value)
        elif value.tag == _IP_ADDRESS and len(value.content) in (4, 16):
            yield str(ip_address(value.content))
