"""IP addresses as sockets report them: IPv6 with or without a zone, and IPv4 also as IPv6 (`::ffff:10.0.0.7`).

Pure. A client imports this late: the module of the standard library that it needs takes milliseconds.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address


def ip_of(address: str) -> IPv4Address | IPv6Address | None:
    """Return an address without its zone, as IPv4 if it is one; None if it is not an IP address."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address, or send from it."""
    ip = ip_of(address)
    return ip is not None and ip.is_loopback


def network_of(address: str) -> str:
    """Return what one peer may have: an IPv4 address, or the /64 of an IPv6 address."""
    ip = ip_of(address)
    if ip is None:  # not an IP socket
        return address
    return str(ip) if ip.version == 4 else str(int(ip) >> 64)
