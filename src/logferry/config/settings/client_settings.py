"""The settings of the client's other commands (verify, repair, status, try), and thereby their options.

Each field declares its option (see `options`). The settings of an input are in `input_settings`. This module reads
nothing: `loading` finds the values.
"""

from dataclasses import dataclass
from typing import Annotated

from logferry.config.kinds.kinds import BOOLEAN, whole
from logferry.config.options import Declaration, Group, Json, LogFormat, LogLevel
from logferry.config.settings.connection_settings import (
    AckTimeout,
    ClientConfig,
    ConnectionSettings,
    ConnectTimeout,
    FollowForeignLinks,
    Host,
    StateDir,
)
from logferry.config.settings.input_settings import FileSettings, InputSettings


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
