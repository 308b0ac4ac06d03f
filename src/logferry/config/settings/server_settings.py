"""The settings of the server's commands (serve, fsck), and thereby their options.

Each field declares its option (see `options`). This module reads nothing: `loading` finds the values.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from logferry.config.kinds.kinds import BOOLEAN, LISTEN_PORT, NETWORK, PATH, TEXT, any_number, choice, whole, word_or
from logferry.config.kinds.listen_urls import LISTEN_URL, ListenUrl, listen_url
from logferry.config.kinds.units import KIB, MIB, TIB, days, duration, size
from logferry.config.options import Declaration, Group, Http, Json, LogFormat, LogLevel, ShutdownTimeout
from logferry.config.settings.nats_settings import (
    Nats,
    NatsCreds,
    NatsMaxBytes,
    NatsMonitor,
    NatsPrefix,
    NatsReplicas,
    NatsShards,
    NatsTlsCa,
)

DataDir: TypeAlias = Annotated[
    Path, Declaration(PATH, "./data", "the folder where the server stores lines and its ledger", Group.STORAGE)
]
ServerConfig: TypeAlias = Annotated[
    Path | None,
    Declaration(
        word_or("none", PATH), "none", "a TOML file with the server's settings (docs/configuration.md)", Group.RUN
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """The settings of `logferry serve`."""

    server_host: Annotated[
        str, Declaration(TEXT, "0.0.0.0", "the address to listen on", Group.ADDRESS, variable="SERVER_HOST")
    ]
    server_port: Annotated[
        int,
        Declaration(
            LISTEN_PORT, "9000", "the TCP port to listen on; 0 = any free port", Group.ADDRESS, variable="SERVER_PORT"
        ),
    ]
    listen: Annotated[
        tuple[ListenUrl, ...],
        Declaration(
            any_number(LISTEN_URL, "\n", "URLs such as tcp://127.0.0.1:9000 or tls://[::]:9443"),
            "none",
            "listen here instead of at --server-host and --server-port: tcp://127.0.0.1:9000, tls://0.0.0.0:9443; "
            "repeatable",
            Group.ADDRESS,
            instead_of=("server_host", "server_port"),
        ),
    ]
    tls_cert: Annotated[
        Path | None,
        Declaration(
            word_or("none", PATH),
            "none",
            "the server's certificate in PEM, with its chain, for TLS: at the tls:// URLs of --listen, or, without "
            "--listen, at --server-host and --server-port",
            Group.ADDRESS,
        ),
    ]
    tls_key: Annotated[
        Path | None,
        Declaration(
            word_or("none", PATH), "none", "the key of --tls-cert in PEM; none = in the same file", Group.ADDRESS
        ),
    ]
    tls_client_ca: Annotated[
        Path | None,
        Declaration(
            word_or("none", PATH),
            "none",
            "certificates of authorities in PEM: each TLS client needs a certificate that one of them has issued",
            Group.ADDRESS,
        ),
    ]
    metrics_interval: Annotated[
        float,
        Declaration(
            duration(0),
            "0",
            "log the server's counters this often; 0 = only at the end",
            Group.RUN,
            variable="METRICS_INTERVAL",
        ),
    ]
    data_dir: DataDir
    store: Annotated[
        str,
        Declaration(
            choice("disk", "nats"),
            "disk",
            "where lines are stored: disk = in --data-dir; nats = in NATS JetStream (docs/cluster.md)",
            Group.STORAGE,
        ),
    ]
    nats: Nats
    nats_creds: NatsCreds
    nats_tls_ca: NatsTlsCa
    nats_prefix: NatsPrefix
    nats_shards: NatsShards
    nats_replicas: NatsReplicas
    nats_max_bytes: NatsMaxBytes
    nats_monitor: NatsMonitor
    durability: Annotated[
        str,
        Declaration(
            choice("fsync", "os", "none"),
            "fsync",
            "what an ack promises: fsync = on disk; os = handed to the kernel; none = received",
            Group.STORAGE,
        ),
    ]
    echo: Annotated[bool, Declaration(BOOLEAN, "false", "print every stored line to stdout", Group.RUN)]
    accept: Annotated[
        str,
        Declaration(
            choice("level-and-message", "any-object"),
            "level-and-message",
            "which JSON objects to accept: those with level and message, or any object (Fluent Bit, Vector, Logstash)",
            Group.STORAGE,
        ),
    ]
    proxy_protocol: Annotated[
        tuple[str, ...],
        Declaration(
            any_number(NETWORK, ",", "addresses or networks such as 10.0.0.0/8, separated by commas"),
            "none",
            "addresses of proxies that begin each connection with a header of the PROXY protocol (version 1 or 2), "
            "which says where the client is; repeatable",
            Group.ADDRESS,
        ),
    ]
    clients: Annotated[
        Path | None,
        Declaration(
            word_or("none", PATH),
            "none",
            "a TOML file that says which clients may ship, how they prove who they are, and what each may do "
            "(docs/security.md); none = everybody who can connect",
            Group.ADDRESS,
        ),
    ]
    plain_from: Annotated[
        tuple[str, ...],
        Declaration(
            any_number(NETWORK, ",", "addresses or networks such as 10.0.0.0/8, separated by commas"),
            "none",
            "with --clients, addresses from which clients of the plain protocol may ship without proving who they "
            "are; repeatable",
            Group.ADDRESS,
        ),
    ]
    max_connections: Annotated[
        int,
        Declaration(whole(1, 1_000_000), "10000", "accept at most this many clients at the same time", Group.LIMITS),
    ]
    max_record_bytes: Annotated[
        int, Declaration(size(KIB, 16 * MIB), "8M", "accept NDJSON lines of at most this size", Group.LIMITS)
    ]
    max_frame_bytes: Annotated[
        int, Declaration(size(KIB, 16 * MIB - 1), "16777215", "accept gzip frames of at most this size", Group.LIMITS)
    ]
    max_inflated_bytes: Annotated[
        int,
        Declaration(size(KIB, 256 * MIB), "32M", "accept gzip frames that inflate to at most this size", Group.LIMITS),
    ]
    memory_limit_bytes: Annotated[
        int,
        Declaration(
            size(MIB, TIB),
            "64M",
            "hold at most this many unstored bytes in memory, for all clients together",
            Group.LIMITS,
        ),
    ]
    idle_timeout: Annotated[
        float, Declaration(duration(0.05), "10m", "drop a client that has been silent for this long", Group.LIMITS)
    ]
    segment_bytes: Annotated[
        int, Declaration(size(KIB, TIB), "256M", "start a new segment file at this size", Group.STORAGE)
    ]
    segment_compression: Annotated[
        str,
        Declaration(
            choice("auto", "none", "gzip", "zstd"),
            "auto",
            "compress segments that are complete, in the background; auto = zstd where Python has it, else gzip",
            Group.STORAGE,
        ),
    ]
    retention_bytes: Annotated[
        int,
        Declaration(
            size(0, 1024 * TIB),
            "0",
            "keep at most this many bytes of segments and journals; the oldest are deleted first; 0 = keep all",
            Group.STORAGE,
        ),
    ]
    retention_days: Annotated[
        int, Declaration(days(100_000), "0", "keep segments for this many days; 0 = forever", Group.STORAGE)
    ]
    min_free_bytes: Annotated[
        int,
        Declaration(
            size(0, 1024 * TIB),
            "64M",
            "take no new lines while the disk has less than this free: acks wait, nothing is lost; 0 = never stop",
            Group.STORAGE,
        ),
    ]
    scrub_interval: Annotated[
        float,
        Declaration(
            duration(0),
            "7d",
            "compare every stored byte with the ledger once in this time, in the background; 0 = never",
            Group.STORAGE,
        ),
    ]
    scrub_rate: Annotated[
        int,
        Declaration(
            size(KIB, TIB),
            "16M",
            "read at most this many bytes per second for --scrub-interval",
            Group.STORAGE,
        ),
    ]
    http: Http
    shutdown_timeout: ShutdownTimeout
    log_level: LogLevel
    log_format: LogFormat
    config: ServerConfig

    @property
    def listen_urls(self) -> tuple[ListenUrl, ...]:
        """Where to listen."""
        return self.listen or (listen_url(self.server_host, self.server_port, is_tls=self.tls_cert is not None),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FsckSettings:
    """The settings of `logferry fsck`."""

    data_dir: DataDir
    rebuild: Annotated[
        bool,
        Declaration(
            BOOLEAN,
            "false",
            "make a lost or damaged ledger anew from the segments and their journals; the server must not run",
            Group.STORAGE,
        ),
    ]
    json: Json
    log_level: LogLevel
    log_format: LogFormat
    config: ServerConfig
