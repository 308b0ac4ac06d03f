"""Where a server listens, as an option: `tcp://127.0.0.1:9000`, `tls://[::]:9443`.

Owns the form of such a URL. Which of --listen and --server-port wins is `loading`'s; this module never looks up a name.
"""

import re
from typing import Final, NamedTuple

from logferry.config.kinds.kinds import Kind

_PLAIN: Final = "tcp"
_TLS: Final = "tls"

# A host is a name, an IPv4 address, or an IPv6 address in brackets, with its zone (fe80::1%eth0).
_URL: Final = re.compile(
    r"(?P<scheme>[a-z]+)://(?:\[(?P<ipv6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\]|(?P<host>[\w.-]+)):(?P<port>[0-9]{1,5})",
    re.ASCII | re.IGNORECASE,
)
_MAX_PORT: Final = 65535


class ListenUrl(NamedTuple):
    """An address to listen on: the host is a name or an address without brackets; port 0 stands for any free one."""

    scheme: str
    host: str
    port: int

    @property
    def is_tls(self) -> bool:
        """Whether clients speak TLS there."""
        return self.scheme == _TLS

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def listen_url(host: str, port: int, *, is_tls: bool) -> ListenUrl:
    """Return the URL of a listener."""
    return ListenUrl(_TLS if is_tls else _PLAIN, host, port)


def _parse(text: str) -> ListenUrl:
    found = _URL.fullmatch(text)
    if found is None or found["scheme"].lower() not in (_PLAIN, _TLS) or int(found["port"]) > _MAX_PORT:
        raise ValueError
    return ListenUrl(found["scheme"].lower(), found["ipv6"] or found["host"], int(found["port"]))


LISTEN_URL: Final = Kind(_parse, "a URL such as tcp://127.0.0.1:9000 or tls://[::]:9443")
