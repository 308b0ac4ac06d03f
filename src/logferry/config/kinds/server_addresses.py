"""The servers of a client, as an option: `logs-1.example:9000`, `[::1]:9000`, several of them.

Owns the form of such an address. Which of --server and --server-host wins is `loading`'s; never looks up a name.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from logferry.config.kinds.kinds import Kind, any_number

# Each server has a label in the metrics of its clients, and a place in their checkpoints.
MAX_SERVERS: Final = 16

# A host is a name, an IPv4 address, or an IPv6 address in brackets, with its zone (fe80::1%eth0).
_ADDRESS: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\]|(?P<host>[\w.-]+)):(?P<port>[0-9]{1,5})", re.ASCII
)
_MAX_PORT: Final = 65535


class ServerAddress(NamedTuple):
    """A server: the host is a name, or an address without brackets."""

    host: str
    port: int


def _parse(text: str) -> ServerAddress:
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or not 0 < int(found["port"]) <= _MAX_PORT:
        raise ValueError
    return ServerAddress(found["ipv6"] or found["host"], int(found["port"]))


SERVER_ADDRESSES: Final = any_number(
    Kind(_parse, ""), ",", "addresses such as logs-1.example:9000 or [::1]:9000, with commas between them"
)


def problems_with(servers: Sequence[ServerAddress]) -> Iterator[str]:
    """Yield a sentence for each problem with a list of servers that are valid on their own."""
    if len(servers) > MAX_SERVERS:
        yield f"--server: there are {len(servers)} servers; at most {MAX_SERVERS} can be used"
    for server in dict.fromkeys(server for server in servers if servers.count(server) > 1):
        yield f"--server: {server.host} port {server.port} is given twice"
