"""What each command is given: its settings, checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSettings:
    """What one input of the client is: which files, what their lines are, and what becomes of them.

    `log_file` and `exclude` are names or patterns, "-" is standard input. `format` is a name or `regex:<pattern>`;
    `multiline` is empty, "timestamp", or the pattern of a line that begins an event.
    """

    log_file: tuple[str, ...]
    exclude: tuple[str, ...]
    start_at: str
    max_line_bytes: int
    format: str
    multiline: str
    multiline_max_lines: int
    multiline_max_bytes: int
    multiline_timeout: float
    field: tuple[tuple[str, str], ...]
    add_host: bool
    add_path: bool
    include: tuple[str, ...]
    exclude_line: tuple[str, ...]
    redact: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipSettings:
    """The client's settings, checked; `None` in `batch_size`, `max_attempts` and `max_open_files` means auto."""

    inputs: tuple[InputSettings, ...]
    server_host: str
    server_port: int
    mode: str
    compress: bool
    batch_size: int | None
    resilient: bool
    buffer_size: int
    metrics_interval: float
    poll_interval: float
    resume: bool
    state_dir: Path | None
    delete_after: bool
    move_after: Path | None
    ack: str
    ack_timeout: float
    connect_timeout: float
    max_attempts: int | None
    backoff_max: float
    deadline: float
    compress_level: int
    health_interval: float
    shutdown_timeout: float
    log_level: str
    max_held_bytes: int
    max_open_files: int | None
    config: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """The server's settings, checked."""

    server_host: str
    server_port: int
    data_dir: Path
    durability: str
    echo: bool
    accept: str
    max_connections: int
    max_record_bytes: int
    max_frame_bytes: int
    max_inflated_bytes: int
    memory_limit_bytes: int
    idle_timeout: float
    segment_bytes: int
    retention_bytes: int
    retention_days: int
    metrics_interval: float
    shutdown_timeout: float
    log_level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """Which files of an input `logferry verify` is to look at: names or patterns."""

    log_file: tuple[str, ...]
    exclude: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """What `logferry verify` needs to know, checked."""

    inputs: tuple[FileSettings, ...]
    json: bool
    server_host: str
    server_port: int
    state_dir: Path | None
    ack_timeout: float
    connect_timeout: float
    log_level: str
    config: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FsckSettings:
    """What `logferry fsck` needs to know, checked."""

    data_dir: Path
    json: bool
    log_level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """What `logferry status` needs to know, checked."""

    json: bool
    all: bool
    state_dir: Path | None
    log_level: str
    config: Path | None


Settings = TypeVar("Settings", bound=ShipSettings | ServeSettings | VerifySettings | FsckSettings | StatusSettings)
