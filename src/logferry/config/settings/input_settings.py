"""The settings of one input of the client, and thereby its options: which files, and what their lines become.

Each field declares its option (see `options`). This module reads nothing: `loading` finds the values.
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from logferry.config.kinds.input_kinds import (
    ENCODING,
    FIELDS,
    FILE_PATTERNS,
    FILES,
    FORMAT,
    LEVELS,
    MULTILINE,
    NESTED,
    PATTERNS,
    REDACT,
)
from logferry.config.kinds.kinds import BOOLEAN, choice, whole
from logferry.config.kinds.units import KIB, duration, size
from logferry.config.options import Declaration, Group
from logferry.model.encoding_names import ENCODING_NAMES, UTF_8
from logferry.model.format_names import FORMAT_NAMES, REGEX_PREFIX
from logferry.model.render_spec import (
    EVENTS_ARE_JSON_OBJECTS,
    EVENTS_BEGIN_WITH_TIMESTAMP,
    LONGEST_LINE_BYTES,
    REDACTION_NAMES,
)

Exclude: TypeAlias = Annotated[
    tuple[str, ...],
    Declaration(
        FILE_PATTERNS,
        "none",
        "files to skip: patterns of file names (`*.gz`) or, with a slash, of whole paths, separated by ':'",
        Group.FILES,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSettings:
    """One input of the client: which files, the format of their lines, and what happens to them.

    `log_file` and `exclude` hold names or patterns; "-" is standard input. `format` is a name or `regex:<pattern>`.
    `multiline` is empty, "timestamp", "json", or the pattern of a line that begins an event. `host` is the client's
    `--host`.
    """

    log_file: Annotated[
        tuple[str, ...],
        Declaration(
            FILES,
            "/var/log/app.log",
            "the log files to ship: names or patterns (`*`, `?`, `[a-z]`, `**` = any folders), separated by ':'; "
            "- = standard input, also as /dev/stdin; a FIFO is read as standard input is",
            Group.FILES,
            variable="LOG_FILE",
        ),
    ]
    exclude: Exclude
    start_at: Annotated[
        str,
        Declaration(
            choice("beginning", "end"),
            "beginning",
            "continuous mode: where to start reading the files that exist when the client first follows a name or "
            "pattern: beginning or end; files that come later are read from their beginning",
            Group.FILES,
        ),
    ]
    max_line_bytes: Annotated[
        int,
        Declaration(
            size(64, LONGEST_LINE_BYTES),
            "1M",
            "truncate lines longer than this; truncated lines are marked and counted",
            Group.LIMITS,
        ),
    ]
    format: Annotated[
        str,
        Declaration(
            FORMAT,
            "plain",
            f"the format of the lines: {', '.join(FORMAT_NAMES)}, "
            f"{REGEX_PREFIX}<pattern with named groups>; {NESTED} = a format inside the lines of containers, also "
            f"auto or {REGEX_PREFIX}...; auto = detected from the first 20 lines of each file, and again if the next "
            "200 lines do not fit",
            Group.LINES,
        ),
    ]
    encoding: Annotated[
        str,
        Declaration(
            ENCODING,
            UTF_8,
            f"the encoding of the files: {', '.join(ENCODING_NAMES)}; a byte order mark at the beginning of a file "
            "decides, whatever this says",
            Group.LINES,
        ),
    ]
    multiline: Annotated[
        str,
        Declaration(
            MULTILINE,
            "none",
            f"join lines into events: {EVENTS_BEGIN_WITH_TIMESTAMP} = an event begins with a timestamp; "
            f"{EVENTS_ARE_JSON_OBJECTS} = an event is a JSON object, however many lines it has; or a regular "
            "expression that matches the beginning of an event's first line; none = every line is an event",
            Group.LINES,
        ),
    ]
    multiline_max_lines: Annotated[
        int, Declaration(whole(1, 1_000_000), "500", "join at most this many lines into one event", Group.LIMITS)
    ]
    multiline_max_bytes: Annotated[
        int, Declaration(size(KIB, 128 * KIB), "128K", "join at most this many bytes into one event", Group.LIMITS)
    ]
    multiline_timeout: Annotated[
        float,
        Declaration(
            duration(0.01, 3600),
            "2s",
            "consider a file's last event complete when the file has been quiet for this long",
            Group.LINES,
        ),
    ]
    field: Annotated[
        tuple[tuple[str, str], ...],
        Declaration(
            FIELDS,
            "none",
            "add key=value to every record; repeat the flag, or put one on each line of the variable",
            Group.LINES,
        ),
    ]
    add_host: Annotated[
        bool, Declaration(BOOLEAN, "false", "add the host name (--host) to every record, as host", Group.LINES)
    ]
    add_path: Annotated[
        bool, Declaration(BOOLEAN, "false", "add the file's path to every record, as path", Group.LINES)
    ]
    add_kubernetes: Annotated[
        bool,
        Declaration(
            BOOLEAN,
            "false",
            "add namespace, pod and container to every record of a file whose name shows them, as those below "
            "/var/log/pods and /var/log/containers do",
            Group.LINES,
        ),
    ]
    include: Annotated[
        tuple[str, ...],
        Declaration(
            PATTERNS,
            "none",
            "ship only events that contain a match of one of these regular expressions; repeat the flag, or put one on "
            "each line of the variable",
            Group.LINES,
        ),
    ]
    exclude_line: Annotated[
        tuple[str, ...],
        Declaration(
            PATTERNS,
            "none",
            "do not ship events that contain a match of one of these regular expressions; repeat the flag, or put one "
            "on each line of the variable",
            Group.LINES,
        ),
    ]
    redact: Annotated[
        tuple[str, ...],
        Declaration(
            REDACT,
            "none",
            f"replace with [redacted]: {', '.join(REDACTION_NAMES)}, or whatever a regular expression matches; "
            "repeat the flag, or put one on each line of the variable",
            Group.LINES,
        ),
    ]
    levels: Annotated[
        tuple[str, ...],
        Declaration(
            LEVELS,
            "none",
            "words that are levels in the formats plain and python besides the known ones, such as AUDIT,VERBOSE",
            Group.LINES,
        ),
    ]
    strip_ansi: Annotated[
        bool,
        Declaration(
            BOOLEAN,
            "false",
            "take ANSI escape sequences, such as colours, out of the lines; they never hide a level or a timestamp",
            Group.LINES,
        ),
    ]
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """Which files `logferry verify` checks: names or patterns."""

    log_file: Annotated[
        tuple[str, ...],
        Declaration(
            FILES,
            "/var/log/app.log",
            "the files to verify or repair, plain or gzip: names or patterns, separated by ':'",
            Group.FILES,
            variable="LOG_FILE",
        ),
    ]
    exclude: Exclude
