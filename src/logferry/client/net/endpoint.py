"""Where a client connects to: one value that everything that connects is given.

Owns how a server is named for people. Must never connect: that is `connect.dial`.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from logferry.client.net.security import Security


logger = logging.getLogger(__name__)


class ServerSettings(Protocol):
    """The settings of any command that connects to a server."""

    @property
    def server_host(self) -> str:
        """The server's host name or IP address."""

    @property
    def server_port(self) -> int:
        """The server's TCP port."""

    @property
    def tls(self) -> bool:
        """Whether to encrypt; the properties that follow are of security.TlsSettings."""

    @property
    def tls_ca(self) -> Path | None:
        """The authorities to trust."""

    @property
    def tls_cert(self) -> Path | None:
        """This client's certificate."""

    @property
    def tls_key(self) -> Path | None:
        """The key of the certificate."""

    @property
    def tls_server_name(self) -> str | None:
        """The name that the server's certificate must have."""

    @property
    def tls_insecure(self) -> bool:
        """Whether to check no certificate."""

    @property
    def token_file(self) -> Path | None:
        """The file with this client's token."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address, and how connections to it are secured, None for not at all."""

    host: str
    port: int
    security: "Security | None" = None

    @classmethod
    def of(cls, settings: ServerSettings) -> Self:
        """Return the server that settings name. Raises ConfigError if files of TLS or a token cannot be used."""
        if settings.token_file is not None:
            from logferry.client.net.token import check_token_file  # late: most clients have none

            if remark := check_token_file(settings.token_file):
                logger.warning("%s", remark)
        if not settings.tls:
            return cls(settings.server_host, settings.server_port)
        from logferry.client.net.security import Security  # late: a client without TLS starts without the ssl module

        return cls(settings.server_host, settings.server_port, Security(settings))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"
