"""Where a client connects to: one value that everything that connects is given.

Owns how a server is named for people. Must never connect: that is `connect.dial`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from logferry.config import ConnectionSettings

if TYPE_CHECKING:
    from logferry.client.net.connecting.security import Security


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address, and how connections to it are secured, None for not at all."""

    host: str
    port: int
    security: "Security | None" = None

    @classmethod
    def of(cls, settings: ConnectionSettings) -> Self:
        """Return the first server that settings name. Raises ConfigError as `all_of` does."""
        return cls.all_of(settings)[0]

    @classmethod
    def all_of(cls, settings: ConnectionSettings) -> list[Self]:
        """Return the servers that settings name, in order.

        Raises ConfigError if files of TLS or a token cannot be used.
        """
        if settings.token_file is not None:
            from logferry.client.net.connecting.token import check_token_file  # late: most clients have none

            check_token_file(settings.token_file)
        security = None
        if settings.tls:
            from logferry.client.net.connecting.security import (
                Security,
            )  # late: a client without TLS starts without the ssl module

            security = Security(settings)
        return [cls(*server, security) for server in settings.servers]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"
