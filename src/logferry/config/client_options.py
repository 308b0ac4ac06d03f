"""The options of the client's commands: `logferry ship` and `logferry verify`."""

from dataclasses import replace
from typing import Final

from logferry.config.kinds import (
    BOOLEAN,
    FIELDS,
    FILE_PATTERNS,
    FILES,
    FORMAT,
    MIB,
    MULTILINE,
    PATH,
    PATTERNS,
    PORT,
    REDACT,
    TEXT,
    choice,
    seconds,
    whole,
    word_or,
)
from logferry.config.options import JSON, LOG_LEVEL, SHUTDOWN_TIMEOUT, Option
from logferry.model.format_names import FORMAT_NAMES, REGEX_PREFIX
from logferry.model.render_spec import EVENTS_BEGIN_WITH_TIMESTAMP, REDACTION_NAMES

_LOG_FILE: Final = Option(
    "log_file",
    "LOG_FILE",
    FILES,
    "/var/log/app.log",
    "the log files to ship: names or patterns (`*`, `?`, `[a-z]`, `**` for any folders) separated by ':'; "
    "- = standard input",
)

# The ten options that the first users know, in their order, without the first of all: LOG_FILE.
_FIRST_TEN: Final = (
    Option("server_host", "SERVER_HOST", TEXT, "localhost", "the server's name or address"),
    Option("server_port", "SERVER_PORT", PORT, "9000", "the server's TCP port"),
    Option(
        "mode",
        "SHIPPING_MODE",
        choice("batch", "continuous"),
        "batch",
        "batch: ship the file as it is now, then exit; continuous: follow it for ever",
    ),
    Option("compress", "COMPRESS", BOOLEAN, "false", "send gzip frames instead of plain lines"),
    Option(
        "batch_size",
        "BATCH_SIZE",
        word_or("auto", whole(1, 1_000_000)),
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
    Option("buffer_size", "BUFFER_SIZE", whole(1, 100_000_000), "50000", "lines that the resilient buffer holds"),
    Option("metrics_interval", "METRICS_INTERVAL", seconds(0), "0", "seconds between metrics reports; 0 = off"),
    Option("poll_interval", "POLL_INTERVAL", seconds(0.01, 3600), "0.5", "seconds between looks at a quiet file"),
)

# What belongs to one input, after LOG_FILE: a client may have several.
_INPUT: Final = (
    Option(
        "exclude",
        "LOGFERRY_EXCLUDE",
        FILE_PATTERNS,
        "none",
        "files that are not shipped: patterns of names (`*.gz`) or, with a slash, of whole paths, separated by ':'",
    ),
    Option(
        "start_at",
        "LOGFERRY_START_AT",
        choice("beginning", "end"),
        "beginning",
        "where continuous mode begins in a file that is there at start: beginning or end",
    ),
    Option(
        "max_line_bytes",
        "LOGFERRY_MAX_LINE_BYTES",
        whole(64, 16 * MIB),
        "1048576",
        "longer lines are cut here, marked and counted",
    ),
    Option(
        "format",
        "LOGFERRY_FORMAT",
        FORMAT,
        "plain",
        f"what the lines are: {', '.join(FORMAT_NAMES)}, "
        f"{REGEX_PREFIX}<pattern with named groups>; auto = decided for each file by its first lines",
    ),
    Option(
        "multiline",
        "LOGFERRY_MULTILINE",
        MULTILINE,
        "none",
        f"join lines to events: {EVENTS_BEGIN_WITH_TIMESTAMP} = an event begins with a timestamp; or a regular "
        "expression that the first line of an event begins with; none = each line is one",
    ),
    Option(
        "multiline_max_lines",
        "LOGFERRY_MULTILINE_MAX_LINES",
        whole(1, 1_000_000),
        "500",
        "most lines that are joined to one",
    ),
    Option(
        "multiline_max_bytes",
        "LOGFERRY_MULTILINE_MAX_BYTES",
        whole(1024, 128 * 1024),
        "131072",
        "most bytes that are joined to one event",
    ),
    Option(
        "multiline_timeout",
        "LOGFERRY_MULTILINE_TIMEOUT",
        seconds(0.01, 3600),
        "2",
        "seconds of quiet after which an event is taken as complete",
    ),
    Option(
        "field",
        "LOGFERRY_FIELD",
        FIELDS,
        "none",
        "add key=value to every record; one a line in the variable, the flag may be given several times",
    ),
    Option("add_host", "LOGFERRY_ADD_HOST", BOOLEAN, "false", "add the name of this machine to every record, as host"),
    Option("add_path", "LOGFERRY_ADD_PATH", BOOLEAN, "false", "add the name of the file to every record, as path"),
    Option(
        "include",
        "LOGFERRY_INCLUDE",
        PATTERNS,
        "none",
        "ship only events in which one of these regular expressions is found; one a line, or several flags",
    ),
    Option(
        "exclude_line",
        "LOGFERRY_EXCLUDE_LINE",
        PATTERNS,
        "none",
        "do not ship events in which one of these regular expressions is found; one a line, or several flags",
    ),
    Option(
        "redact",
        "LOGFERRY_REDACT",
        REDACT,
        "none",
        f"hide {', '.join(REDACTION_NAMES)}, or what a regular expression finds; one a line, or several flags",
    ),
)

_OTHERS: Final = (
    Option(
        "resume",
        "LOGFERRY_RESUME",
        BOOLEAN,
        "false",
        "batch mode: go on where an earlier run of this file got to (continuous mode always does)",
    ),
    Option(
        "state_dir",
        "LOGFERRY_STATE_DIR",
        word_or("auto", PATH),
        "auto",
        "the folder for checkpoints, one process each; auto = /var/lib/logferry for root, else the user's state folder",
    ),
    Option(
        "delete_after",
        "LOGFERRY_DELETE_AFTER",
        BOOLEAN,
        "false",
        "batch mode: delete the log file once every byte of it is acked and verified",
    ),
    Option(
        "move_after",
        "LOGFERRY_MOVE_AFTER",
        word_or("none", PATH),
        "none",
        "batch mode: move the log file into this folder once every byte of it is acked and verified",
    ),
    Option(
        "ack",
        "LOGFERRY_ACK",
        choice("auto", "line", "none"),
        "auto",
        "which answers to expect: auto = exactly once if the server can, else line; line = one per line; none = none",
    ),
    Option(
        "ack_timeout",
        "LOGFERRY_ACK_TIMEOUT",
        seconds(0.05, 3600),
        "30",
        "seconds without progress until a peer is dropped",
    ),
    Option(
        "connect_timeout", "LOGFERRY_CONNECT_TIMEOUT", seconds(0.05, 3600), "5", "seconds to connect to one address"
    ),
    Option(
        "max_attempts",
        "LOGFERRY_MAX_ATTEMPTS",
        word_or("auto", whole(0, 1_000_000)),
        "auto",
        "failed connections in a row, no line acked, until giving up; 0 = never; auto = 5 in basic batch mode, else 0",
    ),
    Option(
        "backoff_max",
        "LOGFERRY_BACKOFF_MAX",
        seconds(0.01, 86400),
        "30",
        "longest wait in seconds before connecting again; it doubles from half a second, with jitter",
    ),
    Option(
        "deadline",
        "LOGFERRY_DEADLINE",
        seconds(0),
        "0",
        "seconds after which an unfinished run gives up with exit code 1; 0 = none",
    ),
    Option("compress_level", "LOGFERRY_COMPRESS_LEVEL", whole(0, 9), "1", "gzip level, 0 (store) to 9 (smallest)"),
    Option(
        "health_interval",
        "LOGFERRY_HEALTH_INTERVAL",
        seconds(0.05, 3600),
        "5",
        "seconds between health probes (resilient)",
    ),
    Option(
        "max_held_bytes",
        "LOGFERRY_MAX_HELD_BYTES",
        whole(0, 1024 * 1024 * 1024 * MIB),
        "0",
        "most unread bytes of renamed or deleted files that are waited for; more are given up and recorded as lost; "
        "0 = all are waited for",
    ),
    Option(
        "max_open_files",
        "LOGFERRY_MAX_OPEN_FILES",
        word_or("auto", whole(1, 1_000_000)),
        "auto",
        "files that are open at the same time, the others wait for their turn; auto = what the process may open",
    ),
    SHUTDOWN_TIMEOUT,
    LOG_LEVEL,
    Option(
        "config",
        "LOGFERRY_CONFIG",
        word_or("none", PATH),
        "none",
        "a TOML file with settings; see docs/configuration.md",
    ),
)

INPUT_OPTIONS: Final = (_LOG_FILE, *_INPUT)
SHIP_OPTIONS: Final = (_LOG_FILE, *_FIRST_TEN, *_INPUT, *_OTHERS)

_SHIP_OPTIONS_OF_VERIFY: Final = (
    "server_host",
    "server_port",
    "state_dir",
    "ack_timeout",
    "connect_timeout",
    "exclude",
    "log_level",
    "config",
)

VERIFY_OPTIONS: Final = (
    replace(_LOG_FILE, help="the files to verify, plain or gzip: names or patterns separated by ':'"),
    JSON,
    *(option for option in SHIP_OPTIONS if option.name in _SHIP_OPTIONS_OF_VERIFY),
)

STATUS_OPTIONS: Final = (
    JSON,
    Option("all", "LOGFERRY_ALL", BOOLEAN, "false", "show every file, however many there are"),
    *(option for option in SHIP_OPTIONS if option.name in ("state_dir", "log_level", "config")),
)
