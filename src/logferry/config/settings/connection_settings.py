"""What the client's commands have in common, and the settings of those that connect to a server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from logferry.config.kinds.kinds import BOOLEAN, CERTIFICATE_NAME, HOST_NAME, PATH, PORT, TEXT, word_or
from logferry.config.kinds.server_addresses import SERVER_ADDRESSES, ServerAddress
from logferry.config.kinds.units import duration
from logferry.config.options import Declaration, Group

ServerHost: TypeAlias = Annotated[
    str, Declaration(TEXT, "localhost", "the server's host name or IP address", Group.TARGET, variable="SERVER_HOST")
]
ServerPort: TypeAlias = Annotated[
    int, Declaration(PORT, "9000", "the server's TCP port", Group.TARGET, variable="SERVER_PORT")
]
Servers: TypeAlias = Annotated[
    tuple[ServerAddress, ...],
    Declaration(
        SERVER_ADDRESSES,
        "none",
        "a server such as logs-1.example:9000 or [::1]:9000, instead of --server-host and --server-port; repeatable: "
        "each server keeps its own store, and lines go to one of them at a time (--server-policy)",
        Group.TARGET,
        instead_of=("server_host", "server_port"),
    ),
]
Tls: TypeAlias = Annotated[
    bool,
    Declaration(
        BOOLEAN, "false", "encrypt the connection with TLS (1.2 or newer), and verify who the server is", Group.TARGET
    ),
]
TlsCa: TypeAlias = Annotated[
    Path | None,
    Declaration(
        word_or("system", PATH),
        "system",
        "with --tls: a file of certificates in PEM of the authorities to trust; system = those of this machine",
        Group.TARGET,
    ),
]
TlsCert: TypeAlias = Annotated[
    Path | None,
    Declaration(
        word_or("none", PATH),
        "none",
        "with --tls: a file with this client's certificate in PEM, for servers that want one",
        Group.TARGET,
    ),
]
TlsKey: TypeAlias = Annotated[
    Path | None,
    Declaration(
        word_or("none", PATH),
        "none",
        "with --tls-cert: a file with the certificate's key in PEM; none = in the same file",
        Group.TARGET,
    ),
]
TlsServerName: TypeAlias = Annotated[
    str | None,
    Declaration(
        word_or("auto", CERTIFICATE_NAME),
        "auto",
        "with --tls: the name that the server's certificate must have; auto = the host of --server-host or --server",
        Group.TARGET,
    ),
]
TlsInsecure: TypeAlias = Annotated[
    bool,
    Declaration(
        BOOLEAN,
        "false",
        "with --tls: do not verify the server's certificate; for tests only, and every connection logs a warning",
        Group.TARGET,
    ),
]
TokenFile: TypeAlias = Annotated[
    Path | None,
    Declaration(
        word_or("none", PATH),
        "none",
        "a file with the token by which this client proves who it is, if the server asks for one; needs --tls, or a "
        "server on this machine",
        Group.TARGET,
    ),
]
Host: TypeAlias = Annotated[
    str,
    Declaration(
        HOST_NAME,
        "auto",
        "the host name under which the server files this client's lines, also used by --add-host; auto = this "
        "machine's host name",
        Group.TARGET,
    ),
]
StateDir: TypeAlias = Annotated[
    Path | None,
    Declaration(
        word_or("auto", PATH),
        "auto",
        "the folder for checkpoints; each process needs its own; auto = /var/lib/logferry for root, otherwise the "
        "user's state folder",
        Group.RUN,
    ),
]
FollowForeignLinks: TypeAlias = Annotated[
    bool,
    Declaration(
        BOOLEAN,
        "false",
        "as root, follow symbolic links to files of other users, too: without it, a link and its file must have the "
        "same owner",
        Group.FILES,
    ),
]
AckTimeout: TypeAlias = Annotated[
    float,
    Declaration(
        duration(0.05, 3600),
        "30s",
        "drop the connection when the server makes no progress for this long",
        Group.LIMITS,
    ),
]
ConnectTimeout: TypeAlias = Annotated[
    float, Declaration(duration(0.05, 3600), "5s", "give up on an address of the server after this long", Group.LIMITS)
]
ClientConfig: TypeAlias = Annotated[
    Path | None,
    Declaration(
        word_or("none", PATH), "none", "a TOML file with the client's settings (docs/configuration.md)", Group.RUN
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """The settings of every command that connects to a server."""

    server_host: ServerHost
    server_port: ServerPort
    server: Servers
    tls: Tls
    tls_ca: TlsCa
    tls_cert: TlsCert
    tls_key: TlsKey
    tls_server_name: TlsServerName
    tls_insecure: TlsInsecure
    token_file: TokenFile

    @property
    def servers(self) -> tuple[ServerAddress, ...]:
        """The servers, in the order in which the user named them; at least one."""
        return self.server or (ServerAddress(self.server_host, self.server_port),)
