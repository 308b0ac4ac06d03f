"""Every option, declared once; `--help`, `.env.example` and docs/configuration.md are made from these tables.

A value comes from the command line, else from the environment, else from the default. `load` reports every problem of a
configuration at once, as a ConfigError whose sentences name the option, its source and what is allowed.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from logferry.errors import ConfigError

Parser = Callable[[str], Any]

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a text becomes a value: `parse` raises ValueError; `allowed` completes the sentence "must be ..."."""

    parse: Parser
    allowed: str
    is_flag: bool = False
    is_list: bool = False  # the flag may be given several times; in one text the values are separated by colons


def _parse_bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError


def _whole(minimum: int, maximum: int) -> Kind:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not minimum <= int(text) <= maximum:
            raise ValueError
        return int(text)

    return Kind(parse, f"a whole number from {minimum} to {maximum}")


def _seconds(minimum: float, maximum: float = 1e6) -> Kind:
    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{0,9}\.?[0-9]{0,9}", text) or not minimum <= float(text) <= maximum:
            raise ValueError
        return float(text)

    return Kind(parse, f"a number of seconds from {minimum:g} to {maximum:g}")


def _choice(*words: str) -> Kind:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return Kind(parse, f"one of {', '.join(words)}")


def _word_or(word: str, number: Kind) -> Kind:
    """Take `word` (the value is None) or a number."""

    def parse(text: str) -> Any:
        return None if text.lower() == word else number.parse(text)

    return Kind(parse, f"'{word}' or {number.allowed}")


def _not_empty(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError
    return text


TEXT: Final = Kind(_not_empty, "a text that is not empty")
PATH: Final = Kind(lambda text: Path(_not_empty(text)), "a path")
PATHS: Final = Kind(
    lambda text: tuple(Path(_not_empty(part)) for part in text.split(os.pathsep)),
    "paths separated by ':'",
    is_list=True,
)
BOOLEAN: Final = Kind(_parse_bool, f"one of {', '.join(_TRUE)} or {', '.join(_FALSE)}", is_flag=True)
PORT: Final = _whole(1, 65535)
LISTEN_PORT: Final = _whole(0, 65535)

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: `name` is the attribute, `env` the variable, `default` is written as a user would write it."""

    name: str
    env: str
    kind: Kind
    default: str
    help: str

    @property
    def flag(self) -> str:
        """The long option on the command line."""
        return "--" + self.name.replace("_", "-")


_LOG_LEVEL: Final = Option(
    "log_level",
    "LOG_LEVEL",
    _choice("debug", "info", "warning", "error"),
    "info",
    "how much to say on stderr: debug, info, warning or error",
)
_SHUTDOWN_TIMEOUT: Final = Option(
    "shutdown_timeout",
    "SHUTDOWN_TIMEOUT",
    _seconds(0),
    "10",
    "seconds to finish what is under way after SIGTERM or SIGINT; a second signal exits at once",
)

# The ten options that the first users know come first, in their order.
SHIP_OPTIONS: Final = (
    Option("log_file", "LOG_FILE", PATH, "/var/log/app.log", "the log file to ship"),
    Option("server_host", "SERVER_HOST", TEXT, "localhost", "the server's name or address"),
    Option("server_port", "SERVER_PORT", PORT, "9000", "the server's TCP port"),
    Option(
        "mode",
        "SHIPPING_MODE",
        _choice("batch", "continuous"),
        "batch",
        "batch: ship the file as it is now, then exit; continuous: follow it for ever",
    ),
    Option("compress", "COMPRESS", BOOLEAN, "false", "send gzip frames instead of plain lines"),
    Option(
        "batch_size",
        "BATCH_SIZE",
        _word_or("auto", _whole(1, 1_000_000)),
        "1",
        "lines per network send (per frame with --compress); auto = all that is ready, up to 1 MiB",
    ),
    Option(
        "resilient",
        "RESILIENT",
        BOOLEAN,
        "false",
        "read ahead into a buffer in a second thread, watch the server's health, and never give up",
    ),
    Option("buffer_size", "BUFFER_SIZE", _whole(1, 100_000_000), "50000", "lines that the resilient buffer holds"),
    Option("metrics_interval", "METRICS_INTERVAL", _seconds(0), "0", "seconds between metrics reports; 0 = off"),
    Option("poll_interval", "POLL_INTERVAL", _seconds(0.01, 3600), "0.5", "seconds between looks at a quiet file"),
    Option(
        "start_at",
        "START_AT",
        _choice("beginning", "end"),
        "beginning",
        "where continuous mode begins in a file that is there at start: beginning or end",
    ),
    Option(
        "resume",
        "RESUME",
        BOOLEAN,
        "false",
        "batch mode: go on where an earlier run of this file got to (continuous mode always does)",
    ),
    Option(
        "state_dir",
        "STATE_DIR",
        _word_or("auto", PATH),
        "auto",
        "the folder for checkpoints, one process each; auto = /var/lib/logferry for root, else the user's state folder",
    ),
    Option(
        "delete_after",
        "DELETE_AFTER",
        BOOLEAN,
        "false",
        "batch mode: delete the log file once every byte of it is acked and verified",
    ),
    Option(
        "move_after",
        "MOVE_AFTER",
        _word_or("none", PATH),
        "none",
        "batch mode: move the log file into this folder once every byte of it is acked and verified",
    ),
    Option(
        "ack",
        "ACK",
        _choice("auto", "line", "none"),
        "auto",
        "which answers to expect: auto = exactly once if the server can, else line; line = one per line; none = none",
    ),
    Option(
        "ack_timeout", "ACK_TIMEOUT", _seconds(0.05, 3600), "30", "seconds without progress until a peer is dropped"
    ),
    Option("connect_timeout", "CONNECT_TIMEOUT", _seconds(0.05, 3600), "5", "seconds to connect to one address"),
    Option(
        "max_attempts",
        "MAX_ATTEMPTS",
        _word_or("auto", _whole(0, 1_000_000)),
        "auto",
        "failed connections in a row, no line acked, until giving up; 0 = never; auto = 5 in basic batch mode, else 0",
    ),
    Option(
        "backoff_max",
        "BACKOFF_MAX",
        _seconds(0.01, 86400),
        "30",
        "longest wait in seconds before connecting again; it doubles from half a second, with jitter",
    ),
    Option(
        "deadline",
        "DEADLINE",
        _seconds(0),
        "0",
        "seconds after which an unfinished run gives up with exit code 1; 0 = none",
    ),
    Option("compress_level", "COMPRESS_LEVEL", _whole(0, 9), "1", "gzip level, 0 (store) to 9 (smallest)"),
    Option(
        "max_line_bytes",
        "MAX_LINE_BYTES",
        _whole(64, 16 * _MIB),
        "1048576",
        "longer lines are cut here, marked and counted",
    ),
    Option(
        "health_interval", "HEALTH_INTERVAL", _seconds(0.05, 3600), "5", "seconds between health probes (resilient)"
    ),
    _SHUTDOWN_TIMEOUT,
    _LOG_LEVEL,
)

_SHIP_OPTIONS_OF_VERIFY: Final = (
    "server_host",
    "server_port",
    "state_dir",
    "ack_timeout",
    "connect_timeout",
    "max_line_bytes",
    "log_level",
)

VERIFY_OPTIONS: Final = (
    Option("log_file", "LOG_FILE", PATHS, "/var/log/app.log", "the file to verify; may be given several times"),
    Option("json", "JSON", BOOLEAN, "false", "print the result as JSON"),
    *(option for option in SHIP_OPTIONS if option.name in _SHIP_OPTIONS_OF_VERIFY),
)

FSCK_OPTIONS: Final = (
    Option("data_dir", "DATA_DIR", PATH, "./data", "the server's folder"),
    Option("json", "JSON", BOOLEAN, "false", "print the result as JSON"),
    _LOG_LEVEL,
)

SERVE_OPTIONS: Final = (
    Option("server_host", "SERVER_HOST", TEXT, "0.0.0.0", "the address to listen on"),
    Option("server_port", "SERVER_PORT", LISTEN_PORT, "9000", "the TCP port to listen on; 0 = a free one"),
    Option("data_dir", "DATA_DIR", PATH, "./data", "the folder for what is stored"),
    Option(
        "durability",
        "DURABILITY",
        _choice("fsync", "os", "none"),
        "fsync",
        "what an ack promises: fsync = on disk; os = handed to the kernel; none = received",
    ),
    Option("echo", "ECHO", BOOLEAN, "false", "print every stored line on stdout"),
    Option(
        "accept",
        "ACCEPT",
        _choice("level-and-message", "any-object"),
        "level-and-message",
        "which JSON objects to take: those with level and message, or any (Fluent Bit, Vector, Logstash)",
    ),
    Option("max_connections", "MAX_CONNECTIONS", _whole(1, 1_000_000), "10000", "clients at the same time"),
    Option(
        "max_record_bytes",
        "MAX_RECORD_BYTES",
        _whole(1024, 16 * _MIB),
        "8388608",
        "longest NDJSON line taken, in bytes",
    ),
    Option(
        "max_frame_bytes",
        "MAX_FRAME_BYTES",
        _whole(1024, 16 * _MIB - 1),
        "16777215",
        "longest gzip frame taken, in bytes",
    ),
    Option(
        "max_inflated_bytes",
        "MAX_INFLATED_BYTES",
        _whole(1024, 256 * _MIB),
        "33554432",
        "most that one frame may inflate to, in bytes",
    ),
    Option(
        "memory_limit_bytes",
        "MEMORY_LIMIT_BYTES",
        _whole(_MIB, 1024 * 1024 * _MIB),
        "67108864",
        "most that all clients together may have in the server's memory, not yet stored",
    ),
    Option("idle_timeout", "IDLE_TIMEOUT", _seconds(0.05), "600", "seconds of silence until a client is dropped"),
    Option(
        "segment_bytes",
        "SEGMENT_BYTES",
        _whole(1024, 1024 * 1024 * _MIB),
        "268435456",
        "a segment file rolls at this size",
    ),
    Option(
        "retention_bytes",
        "RETENTION_BYTES",
        _whole(0, 1024 * 1024 * 1024 * _MIB),
        "0",
        "most that is kept, in bytes: the oldest whole segments are deleted; 0 = all is kept",
    ),
    Option(
        "retention_days",
        "RETENTION_DAYS",
        _whole(0, 100_000),
        "0",
        "days for which segments are kept; 0 = for ever",
    ),
    _SHUTDOWN_TIMEOUT,
    _LOG_LEVEL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipSettings:
    """The client's settings, checked; `None` in `batch_size` and `max_attempts` means auto."""

    log_file: Path
    server_host: str
    server_port: int
    mode: str
    compress: bool
    batch_size: int | None
    resilient: bool
    buffer_size: int
    metrics_interval: float
    poll_interval: float
    start_at: str
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
    max_line_bytes: int
    health_interval: float
    shutdown_timeout: float
    log_level: str


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
    shutdown_timeout: float
    log_level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """What `logferry verify` needs to know, checked."""

    log_file: tuple[Path, ...]
    json: bool
    server_host: str
    server_port: int
    state_dir: Path | None
    ack_timeout: float
    connect_timeout: float
    max_line_bytes: int
    log_level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FsckSettings:
    """What `logferry fsck` needs to know, checked."""

    data_dir: Path
    json: bool
    log_level: str


Settings = TypeVar("Settings", bound=ShipSettings | ServeSettings | VerifySettings | FsckSettings)


def load(
    settings: type[Settings],
    options: Sequence[Option],
    arguments: Mapping[str, str],
    environment: Mapping[str, str],
) -> Settings:
    """Return a command's settings. `arguments` maps option names to what the command line gave.

    Raises ConfigError with every problem at once.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for option in options:
        text, source = _find(option, arguments, environment)
        try:
            values[option.name] = option.kind.parse(text)
        except ValueError:
            problems.append(f"{option.flag}: {text!r} (from {source}) must be {option.kind.allowed}")
    problems += _conflicts(values)
    if problems:
        raise ConfigError(problems)
    return settings(**values)


def _conflicts(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with values that are right each by itself."""
    problems = []
    disposals = [
        flag for flag, name in (("--delete-after", "delete_after"), ("--move-after", "move_after")) if values.get(name)
    ]
    if len(disposals) == 2:
        problems.append("--delete-after and --move-after cannot be used together")
    for flag in disposals:
        if values.get("mode") == "continuous":
            problems.append(f"{flag} is for batch mode: a file that is followed is never done")
        if values.get("ack") in ("line", "none"):
            problems.append(f"{flag} needs --ack auto: nothing else can be verified")
    return problems


def _find(option: Option, arguments: Mapping[str, str], environment: Mapping[str, str]) -> tuple[str, str]:
    """Return an option's text and where it came from. An empty variable counts as not set."""
    if option.name in arguments:
        return arguments[option.name], "the command line"
    if environment.get(option.env):
        return environment[option.env], f"the environment variable {option.env}"
    return option.default, "the default"


def env_example() -> str:
    """Return the text of `.env.example`: every variable with its default."""
    lines = [
        "# Settings for Logferry, as environment variables. Copy to .env and change what you need.",
        "# Made from src/logferry/config.py by `python3 tools/generate_docs.py`.",
    ]
    for title, options in (
        ("the client (logferry ship)", SHIP_OPTIONS),
        ("the server (logferry serve)", SERVE_OPTIONS),
    ):
        lines += ["", f"# --- {title} ---"]
        for option in options:
            lines += [f"# {option.help}", f"#{option.env}={option.default}"]
    return "\n".join(lines) + "\n"


def markdown_table(options: Sequence[Option]) -> str:
    """Return the options as the table in docs/configuration.md."""
    rows = ["| variable | flag | default | meaning |", "|---|---|---|---|"]
    rows += [f"| `{o.env}` | `{o.flag}` | `{o.default}` | {o.help} |" for o in options]
    return "\n".join(rows) + "\n"
