"""Lists of networks that options name: those of proxies (--proxy-protocol), and of plain clients (--plain-from)."""

import ipaddress
from collections.abc import Iterable

from logferry.addresses import ip_of


class Networks:
    """A list of networks; an IPv4 address is found also where the socket reports it as IPv6."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(map(ipaddress.ip_network, networks))

    def include(self, address: str) -> bool:
        """Whether an address, as a socket reports it, is in one of the networks."""
        ip = ip_of(address) if self._networks else None
        return ip is not None and any(ip in network for network in self._networks)
