"""The settings of the client's commands (ship, verify, repair, status), and thereby their options.

Each field declares its option (see `options`). The settings of an input are in `input_settings`. This module reads
nothing: `loading` finds the values.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from logferry.config.kinds.kinds import BOOLEAN, CERTIFICATE_NAME, HOST_NAME, PATH, PORT, TEXT, choice, whole, word_or
from logferry.config.kinds.server_addresses import SERVER_ADDRESSES, ServerAddress
from logferry.config.kinds.units import KIB, TIB, duration, size
from logferry.config.options import Declaration, Group, Http, Json, LogFormat, LogLevel, ShutdownTimeout
from logferry.config.settings.input_settings import FileSettings, InputSettings

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipSettings(ConnectionSettings):
    """The settings of `logferry ship`; `None` means auto in `batch_size`, `max_attempts` and `max_open_files`."""

    inputs: tuple[InputSettings, ...]
    mode: Annotated[
        str,
        Declaration(
            choice("batch", "continuous"),
            "batch",
            "batch = ship the files as they are now, then exit; continuous = keep following them",
            Group.FILES,
            variable="SHIPPING_MODE",
        ),
    ]
    compress: Annotated[
        bool,
        Declaration(BOOLEAN, "false", "send gzip frames instead of plain lines", Group.DELIVERY, variable="COMPRESS"),
    ]
    batch_size: Annotated[
        int | None,
        Declaration(
            word_or("auto", whole(1, 1_000_000)),
            "1",
            "lines per network send (per frame with --compress); auto = whatever is ready, up to 1 MiB",
            Group.DELIVERY,
            variable="BATCH_SIZE",
        ),
    ]
    resilient: Annotated[
        bool,
        Declaration(
            BOOLEAN,
            "false",
            "prefetch lines in a second thread, probe the server's health, and never stop retrying",
            Group.DELIVERY,
            variable="RESILIENT",
        ),
    ]
    buffer_size: Annotated[
        int,
        Declaration(
            whole(1, 100_000_000),
            "50000",
            "prefetch at most this many lines (with --resilient)",
            Group.LIMITS,
            variable="BUFFER_SIZE",
        ),
    ]
    metrics_interval: Annotated[
        float,
        Declaration(
            duration(0),
            "0",
            "log a metrics report this often, and at the end of the run; 0 = never",
            Group.RUN,
            variable="METRICS_INTERVAL",
        ),
    ]
    poll_interval: Annotated[
        float,
        Declaration(
            duration(0.01, 3600),
            "0.5",
            "how often to check quiet files for changes",
            Group.FILES,
            variable="POLL_INTERVAL",
        ),
    ]
    server_policy: Annotated[
        str,
        Declaration(
            choice("failover", "spread"),
            "failover",
            "with several servers: failover = the first of --server that works; spread = each client has its own first "
            "one, so that many clients divide themselves among the servers",
            Group.DELIVERY,
        ),
    ]
    failback_after: Annotated[
        float,
        Declaration(
            duration(0, 86400),
            "5m",
            "with several servers: go back to an earlier one when it has answered for this long",
            Group.DELIVERY,
        ),
    ]
    host: Host
    resume: Annotated[
        bool,
        Declaration(
            BOOLEAN,
            "true",
            "batch mode: ask the server what it has of each file, and ship the rest (continuous mode always does); "
            "false (or --again) = ship every file from its beginning",
            Group.FILES,
            opposite="--again",
        ),
    ]
    follow_foreign_links: FollowForeignLinks
    state_dir: StateDir
    delete_after: Annotated[
        bool,
        Declaration(
            BOOLEAN,
            "false",
            "batch mode: delete each log file once every byte of it is acked and verified",
            Group.FILES,
        ),
    ]
    move_after: Annotated[
        Path | None,
        Declaration(
            word_or("none", PATH),
            "none",
            "batch mode: move each log file into this folder once every byte of it is acked and verified",
            Group.FILES,
        ),
    ]
    dispose_filtered: Annotated[
        bool,
        Declaration(
            BOOLEAN,
            "false",
            "let --delete-after and --move-after dispose of files from which --include or --exclude-line dropped lines",
            Group.FILES,
        ),
    ]
    ack: Annotated[
        str,
        Declaration(
            choice("auto", "line", "none"),
            "auto",
            "which acks to expect: auto = exactly once if the server supports it, otherwise line; line = one ack per "
            "line; none = do not wait for acks",
            Group.DELIVERY,
        ),
    ]
    ack_timeout: AckTimeout
    connect_timeout: ConnectTimeout
    max_attempts: Annotated[
        int | None,
        Declaration(
            word_or("auto", whole(0, 1_000_000)),
            "auto",
            "give up after this many failed connections in a row without an ack; 0 = never; "
            "auto = 5 for files in batch mode without --resilient, otherwise 0",
            Group.LIMITS,
        ),
    ]
    backoff_max: Annotated[
        float,
        Declaration(
            duration(0.01, 86400),
            "30s",
            "wait at most this long before reconnecting; the wait starts at half a second and doubles, with jitter",
            Group.LIMITS,
        ),
    ]
    deadline: Annotated[
        float,
        Declaration(
            duration(0),
            "0",
            "give up when the run has not finished after this time (exit code 1); 0 = never",
            Group.LIMITS,
        ),
    ]
    compress_level: Annotated[
        int, Declaration(whole(0, 9), "1", "gzip level for --compress, from 0 (stored) to 9 (smallest)", Group.DELIVERY)
    ]
    health_interval: Annotated[
        float,
        Declaration(
            duration(0.05, 3600), "5s", "time between health probes of the server (with --resilient)", Group.DELIVERY
        ),
    ]
    max_held_bytes: Annotated[
        int,
        Declaration(
            size(0, 1024 * TIB),
            "0",
            "hold at most this many bytes of rotated or deleted files that are not acked; beyond that, what is unread "
            "of the oldest is dropped and recorded as lost; 0 = hold all",
            Group.LIMITS,
        ),
    ]
    max_open_files: Annotated[
        int | None,
        Declaration(
            word_or("auto", whole(1, 1_000_000)),
            "auto",
            "keep at most this many files open; the others take turns; auto = as many as the process may open",
            Group.LIMITS,
        ),
    ]
    max_bytes_per_second: Annotated[
        int,
        Declaration(
            word_or("0", size(KIB, TIB), value=0),
            "0",
            "send at most this many bytes per second to the server, after compression; 0 = no limit",
            Group.LIMITS,
        ),
    ]
    http: Http
    ready_max_lag: Annotated[
        float,
        Declaration(
            duration(0),
            "1m",
            "let /readyz answer 503 when nothing was delivered for longer than this, although something should be",
            Group.RUN,
        ),
    ]
    self_heal: Annotated[
        bool,
        Declaration(
            BOOLEAN,
            "true",
            "when the server reports that lines of this client are damaged on its disk, send them again from the files",
            Group.DELIVERY,
        ),
    ]
    shutdown_timeout: ShutdownTimeout
    log_level: LogLevel
    log_format: LogFormat
    config: ClientConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrySettings:
    """The settings of `logferry try`, which reads the first `lines` of a file."""

    inputs: tuple[InputSettings, ...]
    lines: Annotated[
        int,
        Declaration(
            whole(1, 1_000_000), "1000", "read at most this many lines, and at most 16 MiB of them", Group.FILES
        ),
    ]
    json: Json
    host: Host
    log_level: LogLevel
    log_format: LogFormat
    config: ClientConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairSettings(ConnectionSettings):
    """The settings of `logferry repair`."""

    inputs: tuple[FileSettings, ...]
    json: Json
    host: Host
    follow_foreign_links: FollowForeignLinks
    state_dir: StateDir
    ack_timeout: AckTimeout
    connect_timeout: ConnectTimeout
    log_level: LogLevel
    log_format: LogFormat
    config: ClientConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings(RepairSettings):
    """The settings of `logferry verify`."""

    show: Annotated[
        bool,
        Declaration(BOOLEAN, "false", "show the text of lines that differ: expected and found", Group.RUN),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """The settings of `logferry status`."""

    json: Json
    all: Annotated[
        bool,
        Declaration(
            BOOLEAN, "false", "show every file, not only those that need attention or are far behind", Group.RUN
        ),
    ]
    state_dir: StateDir
    log_level: LogLevel
    log_format: LogFormat
    config: ClientConfig
