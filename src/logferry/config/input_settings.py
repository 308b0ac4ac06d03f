"""The settings of one input of the client, and with them their options: which files, and what their lines become.

Each field declares its option (see `options`). Nothing here reads anything: `loading` finds the values.
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from logferry.config.input_kinds import FIELDS, FILE_PATTERNS, FILES, FORMAT, MULTILINE, PATTERNS, REDACT
from logferry.config.kinds import BOOLEAN, choice, whole
from logferry.config.options import Declaration, Group
from logferry.config.units import KIB, MIB, duration, size
from logferry.model.format_names import FORMAT_NAMES, REGEX_PREFIX
from logferry.model.render_spec import EVENTS_BEGIN_WITH_TIMESTAMP, REDACTION_NAMES

Exclude: TypeAlias = Annotated[
    tuple[str, ...],
    Declaration(
        FILE_PATTERNS,
        "none",
        "files to leave out: patterns of names (`*.gz`) or, with a slash, of whole paths, separated by ':'",
        Group.FILES,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSettings:
    """What one input of the client is: which files, what their lines are, and what becomes of them.

    `log_file` and `exclude` are names or patterns, "-" is standard input. `format` is a name or `regex:<pattern>`;
    `multiline` is empty, "timestamp", or the pattern of a line that begins an event. `host` is the client's `--host`.
    """

    log_file: Annotated[
        tuple[str, ...],
        Declaration(
            FILES,
            "/var/log/app.log",
            "the log files to ship: names or patterns (`*`, `?`, `[a-z]`, `**` for any folders) separated by ':'; "
            "- = standard input",
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
            "where continuous mode begins to read a file that exists at start: beginning or end",
            Group.FILES,
        ),
    ]
    max_line_bytes: Annotated[
        int,
        Declaration(size(64, 16 * MIB), "1M", "longer lines are cut here, marked and counted", Group.LIMITS),
    ]
    format: Annotated[
        str,
        Declaration(
            FORMAT,
            "plain",
            f"what the lines are: {', '.join(FORMAT_NAMES)}, "
            f"{REGEX_PREFIX}<pattern with named groups>; auto = decided for each file by its first lines",
            Group.LINES,
        ),
    ]
    multiline: Annotated[
        str,
        Declaration(
            MULTILINE,
            "none",
            f"join lines to events: {EVENTS_BEGIN_WITH_TIMESTAMP} = an event begins with a timestamp; or a regular "
            "expression that the first line of an event begins with; none = each line is an event",
            Group.LINES,
        ),
    ]
    multiline_max_lines: Annotated[
        int, Declaration(whole(1, 1_000_000), "500", "join at most this many lines to one event", Group.LIMITS)
    ]
    multiline_max_bytes: Annotated[
        int, Declaration(size(KIB, 128 * KIB), "128K", "join at most this many bytes to one event", Group.LIMITS)
    ]
    multiline_timeout: Annotated[
        float,
        Declaration(
            duration(0.01, 3600), "2s", "how long a file is quiet before its last event counts as complete", Group.LINES
        ),
    ]
    field: Annotated[
        tuple[tuple[str, str], ...],
        Declaration(
            FIELDS,
            "none",
            "add key=value to every record; one a line in the variable, the flag may be given several times",
            Group.LINES,
        ),
    ]
    add_host: Annotated[
        bool, Declaration(BOOLEAN, "false", "add the name of this host (--host) to every record, as host", Group.LINES)
    ]
    add_path: Annotated[
        bool, Declaration(BOOLEAN, "false", "add the path of the file to every record, as path", Group.LINES)
    ]
    include: Annotated[
        tuple[str, ...],
        Declaration(
            PATTERNS,
            "none",
            "ship only events in which one of these regular expressions is found; one a line, or several flags",
            Group.LINES,
        ),
    ]
    exclude_line: Annotated[
        tuple[str, ...],
        Declaration(
            PATTERNS,
            "none",
            "do not ship events in which one of these regular expressions is found; one a line, or several flags",
            Group.LINES,
        ),
    ]
    redact: Annotated[
        tuple[str, ...],
        Declaration(
            REDACT,
            "none",
            f"hide {', '.join(REDACTION_NAMES)}, or what a regular expression finds; one a line, or several flags",
            Group.LINES,
        ),
    ]
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """Which files of an input `logferry verify` is to look at: names or patterns."""

    log_file: Annotated[
        tuple[str, ...],
        Declaration(
            FILES,
            "/var/log/app.log",
            "the files to verify, plain or gzip: names or patterns separated by ':'",
            Group.FILES,
            variable="LOG_FILE",
        ),
    ]
    exclude: Exclude
