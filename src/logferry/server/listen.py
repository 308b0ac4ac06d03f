"""Listening sockets: every address of a name, one port for all of them."""

import contextlib
import os
import socket
from typing import Any, Final

from logferry.errors import LogferryError, cause_of

# A thousand clients that reconnect at the same moment after a restart shall not be turned away. The system caps it.
BACKLOG: Final = 4096

Address = tuple[Any, ...]
"""What `bind` takes: host and port, and for IPv6 two numbers more."""


def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Bind and listen on every address of `host`; port 0 takes a free port, the same for all addresses.

    `::` takes IPv4 too. Raises LogferryError.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            sockets.append(_listen(family, _with_port(address, port or _port_of(sockets)), dual=host == "::"))
    except OSError as error:
        for sock in sockets:
            sock.close()
        reason = cause_of(error)
        raise LogferryError(f"cannot listen on {host} port {port}: {reason}") from error
    return sockets


def _addresses(host: str, port: int) -> list[tuple[int, Address]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    unique: list[tuple[int, Address]] = list(
        dict.fromkeys((int(family), address) for family, _, _, _, address in found)
    )
    # A name may have an IPv6 address on a machine that has IPv6 switched off; any one address will do.
    return [entry for entry in unique if len(unique) == 1 or _can_bind(*entry)] or unique


def _can_bind(family: int, address: Address) -> bool:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind(_with_port(address, 0))
        return True
    return False


def _with_port(address: Address, port: int) -> Address:
    return (address[0], port, *address[2:])


def _port_of(sockets: list[socket.socket]) -> int:
    return int(sockets[0].getsockname()[1]) if sockets else 0


def _listen(family: int, address: Address, *, dual: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
