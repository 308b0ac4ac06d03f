"""The settings of `logferry ship`, and thereby its options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from logferry.config.kinds.kinds import BOOLEAN, PATH, choice, whole, word_or
from logferry.config.kinds.units import KIB, TIB, duration, size
from logferry.config.options import Declaration, Group, Http, LogFormat, LogLevel, ShutdownTimeout
from logferry.config.settings.connection_settings import (
    AckTimeout,
    ClientConfig,
    ConnectionSettings,
    ConnectTimeout,
    FollowForeignLinks,
    Host,
    StateDir,
)
from logferry.config.settings.input_settings import InputSettings


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
