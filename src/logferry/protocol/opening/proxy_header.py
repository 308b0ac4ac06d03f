"""The PROXY protocol: what a proxy says of a client before it passes on what the client sends.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, versions 1 and 2. Pure and strict: anything but a complete,
well-formed header is refused, because the sender of a header decides what the server believes about addresses.
"""

import ipaddress
import re
from typing import Final, NamedTuple

from logferry.protocol.strangers import PROXY_V2_SIGNATURE

# Version 1 has at most 107 bytes. Version 2 may say 64 KiB; what proxies add to the addresses takes far less than this.
_MAX_V1_BYTES: Final = 107
MAX_HEADER_BYTES: Final = 8 * 1024

_V1_BEGINNING: Final = b"PROXY "
_V1: Final = re.compile(
    rb"PROXY (?:(?P<family>TCP[46]) (?P<source>[0-9A-Fa-f:.]+) (?P<target>[0-9A-Fa-f:.]+)"
    rb" (?P<source_port>0|[1-9][0-9]{0,4}) (?P<target_port>0|[1-9][0-9]{0,4})|UNKNOWN[^\r\n]*)\r\n"
)
_MAX_PORT: Final = 65535

_V2_FIXED_BYTES: Final = 16
_VERSION_2: Final = 2
_LOCAL, _PROXY = 0, 1

# The bytes of each address by family and transport. Of a UNIX socket, the address names no client.
_TCP4, _TCP6, _UNIX_STREAM, _UNSPECIFIED = 0x11, 0x21, 0x31, 0x00
_ADDRESS_BYTES: Final = {_TCP4: 4, _TCP6: 16}
_MIN_LENGTH: Final = {_TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216, _UNSPECIFIED: 0}


class ProxyHeader(NamedTuple):
    """A header of `size` bytes, about the client at an address and port; no address for a connection of the proxy."""

    size: int
    address: str = ""
    port: int = 0


class MalformedHeader(Exception):
    """There is no header, or a header that is not well-formed."""


def read_header(data: bytes) -> ProxyHeader | None:
    """Return the header with which `data` begins; None while it is incomplete. Raises MalformedHeader."""
    if data.startswith(PROXY_V2_SIGNATURE):
        return _read_v2(data)
    if data.startswith(_V1_BEGINNING):
        return _read_v1(data)
    if PROXY_V2_SIGNATURE.startswith(data) or _V1_BEGINNING.startswith(data):
        return None
    raise MalformedHeader


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, _MAX_V1_BYTES) + 1
    if not end:
        if len(data) >= _MAX_V1_BYTES:
            raise MalformedHeader
        return None
    found = _V1.fullmatch(data, 0, end)
    if found is None:
        raise MalformedHeader
    family, source, target = (found[name] for name in ("family", "source", "target"))
    if family is None:  # UNKNOWN
        return ProxyHeader(end)
    ports = int(found["source_port"]), int(found["target_port"])
    if max(ports) > _MAX_PORT:
        raise MalformedHeader
    kind = ipaddress.IPv4Address if family == b"TCP4" else ipaddress.IPv6Address
    try:
        address, _ = kind(source.decode()), kind(target.decode())
    except ValueError:
        raise MalformedHeader from None
    return ProxyHeader(end, _shown(address), ports[0])


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_FIXED_BYTES:
        return None
    version, command = divmod(data[12], 16)
    family, length = data[13], int.from_bytes(data[14:16], "big")
    size = _V2_FIXED_BYTES + length
    if version != _VERSION_2 or command not in (_LOCAL, _PROXY) or size > MAX_HEADER_BYTES:
        raise MalformedHeader
    if command == _PROXY and length < _MIN_LENGTH.get(family, size):
        raise MalformedHeader
    if len(data) < size:
        return None
    if command == _LOCAL or family not in _ADDRESS_BYTES:
        return ProxyHeader(size)
    width = _ADDRESS_BYTES[family]
    address = ipaddress.ip_address(data[_V2_FIXED_BYTES : _V2_FIXED_BYTES + width])
    port_at = _V2_FIXED_BYTES + 2 * width
    return ProxyHeader(size, _shown(address), int.from_bytes(data[port_at : port_at + 2], "big"))


def _shown(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address as text; an IPv4 address in its usual form, also where it is written as IPv6."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
