"""The proxies whose headers the server believes: those with an address in a network that --proxy-protocol lists."""

import ipaddress
from collections.abc import Iterable


class Proxies:
    """A list of networks; an IPv4 address is found also where the socket reports it as IPv6."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(map(ipaddress.ip_network, networks))

    def include(self, address: str) -> bool:
        """Whether connections from an address begin with a header."""
        if not self._networks:
            return False
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return any((mapped or ip) in network for network in self._networks)
