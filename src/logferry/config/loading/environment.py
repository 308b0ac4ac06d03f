"""The environment: which variables the programs know, which they refuse, and which former versions read.

Only the ten options of the first version have variables without a prefix. Every other variable begins with `LOGFERRY_`,
so that a variable of another program (`INCLUDE`, `CONFIG`) never changes what is shipped. A misspelled `LOGFERRY_*`
variable is an error; a former name is only logged. This module never reads `os.environ`: callers pass the environment.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from logferry.config.options import PREFIX, Option
from logferry.printable import printable
from logferry.suggestions import similar

# Read where they are needed: when the compiled part is loaded (logferry/speedups.py), before any settings exist; and by
# commands that show lines on a terminal.
_NO_SETTINGS: Final = ("LOGFERRY_SPEEDUPS", "LOGFERRY_PAGER")

# Kubernetes sets these in every container of a namespace that has a Service called `logferry` or `logferry-...`:
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_OF_KUBERNETES: Final = re.compile(r"LOGFERRY\w*?_(SERVICE_HOST|SERVICE_PORT\w*|PORT_[0-9]+_\w+)")
_ADDRESS_OF_KUBERNETES: Final = re.compile(r"LOGFERRY\w*?_PORT")

# Former names of variables that have the prefix now. Options that came later never had a name without it.
_FORMER_CLIENT_NAMES: Final = {
    *(
        "EXCLUDE",
        "START_AT",
        "MAX_LINE_BYTES",
        "FORMAT",
        "MULTILINE",
        "MULTILINE_MAX_LINES",
        "MULTILINE_MAX_BYTES",
        "MULTILINE_TIMEOUT",
        "FIELD",
    ),
    *(
        "ADD_HOST",
        "ADD_PATH",
        "INCLUDE",
        "EXCLUDE_LINE",
        "REDACT",
        "RESUME",
        "STATE_DIR",
        "DELETE_AFTER",
        "MOVE_AFTER",
        "ACK",
        "ACK_TIMEOUT",
    ),
    *(
        "CONNECT_TIMEOUT",
        "MAX_ATTEMPTS",
        "BACKOFF_MAX",
        "DEADLINE",
        "COMPRESS_LEVEL",
        "HEALTH_INTERVAL",
        "MAX_HELD_BYTES",
        "MAX_OPEN_FILES",
    ),
    *("SHUTDOWN_TIMEOUT", "LOG_LEVEL", "CONFIG", "JSON"),
}
_FORMER_SERVER_NAMES: Final = {
    *(
        "DATA_DIR",
        "DURABILITY",
        "ECHO",
        "ACCEPT",
        "MAX_CONNECTIONS",
        "MAX_RECORD_BYTES",
        "MAX_FRAME_BYTES",
        "MAX_INFLATED_BYTES",
    ),
    *(
        "MEMORY_LIMIT_BYTES",
        "IDLE_TIMEOUT",
        "SEGMENT_BYTES",
        "RETENTION_BYTES",
        "RETENTION_DAYS",
        "SHUTDOWN_TIMEOUT",
        "LOG_LEVEL",
        "JSON",
    ),
}
_RENAMED_FORMER_NAMES: Final = {"LOGFERRY_ALL": "STATUS_ALL"}


def unknown_variables(environment: Mapping[str, str], options: Iterable[Option]) -> Iterator[str]:
    """Yield a sentence for each `LOGFERRY_*` variable that is set and unknown to every command of both ends.

    `options` are the options of the calling command.
    """
    own = {option.env for option in options}
    others = [name for name, value in environment.items() if name.startswith(PREFIX) and value and name not in own]
    known = _known_variables() if others else frozenset()
    for name in others:
        if name not in known and not _is_of_kubernetes(name, environment[name]):
            yield f"{printable(name)}: unknown environment variable{_suggestion(name, known)}"


def _known_variables() -> frozenset[str]:
    # Imported late: most clients have no unknown variables and need not wait for the tables of all commands.
    from logferry.config.tables import (
        CONSOLE_OPTIONS,
        FSCK_OPTIONS,
        SERVE_OPTIONS,
        SHIP_OPTIONS,
        STATUS_OPTIONS,
        VERIFY_OPTIONS,
    )

    tables = (SHIP_OPTIONS, VERIFY_OPTIONS, STATUS_OPTIONS, SERVE_OPTIONS, FSCK_OPTIONS, CONSOLE_OPTIONS)
    return frozenset((*_NO_SETTINGS, *(option.env for table in tables for option in table)))


def former_names(options: Iterable[Option], environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that is set and that a former version read for one of `options`."""
    options = list(options)
    is_server = any(option.name == "data_dir" for option in options)
    names = _FORMER_SERVER_NAMES if is_server else _FORMER_CLIENT_NAMES
    for option in options:
        former = _RENAMED_FORMER_NAMES.get(option.env, option.env.removeprefix(PREFIX))
        was_read = former in names or option.env in _RENAMED_FORMER_NAMES
        if was_read and former != option.env and environment.get(former):
            yield f"{former} is set but no longer read; use {option.env}"


def _is_of_kubernetes(name: str, value: str) -> bool:
    if _OF_KUBERNETES.fullmatch(name):
        return True
    return bool(_ADDRESS_OF_KUBERNETES.fullmatch(name)) and ("tcp://" in value or "udp://" in value)


def _suggestion(name: str, known: frozenset[str]) -> str:
    without_prefix = name.removeprefix(PREFIX)
    if without_prefix in known:
        return f"; did you mean {without_prefix}?"
    # Compared without the prefix: all names share it, so with it any two of them look alike.
    names = {each.removeprefix(PREFIX): each for each in sorted(known)}
    close = similar(without_prefix, names)
    return f"; did you mean {names[close]}?" if close else "; docs/configuration.md lists all variables"
