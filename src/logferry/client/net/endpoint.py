"""Where a client connects to: one value that everything that connects is given.

Owns how a server is named for people. Must never connect: that is `connect.dial`.
"""

from dataclasses import dataclass
from typing import Protocol, Self


class ServerSettings(Protocol):
    """The settings of any command that connects to a server."""

    @property
    def server_host(self) -> str:
        """The server's host name or IP address."""

    @property
    def server_port(self) -> int:
        """The server's TCP port."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address."""

    host: str
    port: int

    @classmethod
    def of(cls, settings: ServerSettings) -> Self:
        """Return the server that settings name."""
        return cls(settings.server_host, settings.server_port)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"
