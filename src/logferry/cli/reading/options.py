"""What the commands that look at stored lines share: the flags that say where and which, and what becomes of them.

They have no settings but the data folder, which is that of the server: LOGFERRY_DATA_DIR, or its configuration file.
Imports little: a search must begin at once.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from logferry.cli.parsing import RaisingParser
from logferry.errors import ConfigError
from logferry.printable import quoted
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Log, Span
from logferry.reading.times.when import moment_of

_DATA_DIR: Final = "./data"
_MOST_NAMES: Final = 8

# Variables that need no check. With any other one, settings are loaded, which refuses those that are misspelled.
_PLAIN_VARIABLES: Final = frozenset({"LOGFERRY_DATA_DIR", "LOGFERRY_PAGER", "LOGFERRY_SPEEDUPS"})


def add_store(parser: RaisingParser, *, or_console: bool = False) -> None:
    """Add the flags that say which store; with `or_console`, also those of a console to ask instead."""
    group = parser.add_argument_group("where")
    group.add_argument(
        "--data-dir",
        metavar="DIR",
        help=f"the data folder of a server [LOGFERRY_DATA_DIR, default {_DATA_DIR}]",
    )
    if or_console:
        group.add_argument(
            "--url", metavar="URL", help="ask a console instead (logferry console): http://127.0.0.1:9080"
        )
        group.add_argument("--token-file", metavar="FILE", help="a file with the token that the console of --url wants")
        group.add_argument("--tls-ca", metavar="FILE", help="certificates in PEM to trust, instead of the system's")
        group.add_argument("--tls-cert", metavar="FILE", help="a certificate in PEM for a console that wants one")
        group.add_argument("--tls-key", metavar="FILE", help="the key of --tls-cert, if it is in another file")
    group.add_argument(
        "--config", metavar="FILE", help="a TOML file with the server's settings, which names it [LOGFERRY_CONFIG]"
    )


def refuse_console(parser: RaisingParser) -> None:
    """Know the flag that other commands have for a console, so that `without_console` can say why it is refused."""
    parser.add_argument("--url", help=argparse.SUPPRESS)


def without_console(given: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """Return what is given. Raises ConfigError if that is a console, which does not answer with `what`."""
    if given.get("url"):
        raise ConfigError(
            [f"--url: a console does not answer with {what}: run this beside the data folder (--data-dir)"]
        )
    return given


def add_selection(parser: RaisingParser) -> None:
    """Add the flags that say which lines."""
    group = parser.add_argument_group("which lines")
    add = group.add_argument
    add("--host", action="append", metavar="GLOB", help="of these hosts: web-1, 'web-*'; repeatable")
    add(
        "--file",
        action="append",
        metavar="GLOB",
        help="of these files: 'app*.log' is the name, '/var/log/*' with a slash the whole path; repeatable",
    )
    add(
        "--since", metavar="TIME", help="not before: 1h, today, 'yesterday 09:00', 09:00, 2026-01-15T08:00, @1768464000"
    )
    add("--until", metavar="TIME", help="before this time")
    add("--level", action="append", metavar="LEVELS", help="with one of these levels: error,warn; repeatable")


def add_contents(parser: RaisingParser) -> Any:
    """Add the flags that say what lines must have in them; return the group."""
    group = parser.add_argument_group("what is in them")
    add = group.add_argument
    add("--text", action="append", metavar="TEXT", help="with this text; repeatable: with all of them")
    add("--grep", metavar="REGEX", help="that this pattern of Python's re matches somewhere")
    add("-v", "--invert", action="store_true", help="without what --text and --grep ask for, instead")
    return group


def data_dir_of(given: Mapping[str, Any]) -> Path:
    """Return the data folder: from the command line, the environment, the server's file, or the default."""
    arguments = {name: str(given[name]) for name in ("data_dir", "config") if given.get(name)}
    others = [name for name in os.environ if name.startswith("LOGFERRY_") and name not in _PLAIN_VARIABLES]
    if others or "config" in arguments:
        from logferry.config import FsckSettings, load  # they take longer to import than most searches

        return load(FsckSettings, arguments, os.environ).data_dir
    return Path(arguments.get("data_dir") or os.environ.get("LOGFERRY_DATA_DIR") or _DATA_DIR)


def selection_of(given: Mapping[str, Any]) -> Selection:
    """Return what the flags select. Raises ConfigError."""
    now = time.time_ns() // 1_000_000
    since = _moment("--since", given.get("since"), now, None)
    until = _moment("--until", given.get("until"), now, since)
    if since is not None and until is not None and until <= since:
        raise ConfigError(["--until must be later than --since"])
    try:
        return Selection.of_words(
            levels=given.get("level") or (),
            hosts=(*given.get("hosts", ()), *(given.get("host") or ())),
            files=tuple(given.get("file") or ()),
            span=Span(since, until),
            texts=tuple(given.get("text") or ()),
            regex=given.get("grep") or "",
            inverted=bool(given.get("invert")),
        )
    except ValueError as error:
        raise ConfigError([f"--grep: {error}"]) from None


def _moment(flag: str, text: str | None, now: int, after: int | None) -> int | None:
    if text is None:
        return None
    try:
        return moment_of(text, now=now, after=after)
    except ValueError as error:
        raise ConfigError([f"{flag}: {quoted(text, max_chars=100)} must be {error}"]) from None


def unmatched(selection: Selection, logs: Sequence[Log]) -> str:
    """Return what there is, as a sentence, if nothing matches a pattern of hosts or files; "" if all match."""
    for pattern in selection.hosts:
        if not any(Selection(hosts=(pattern,)).has_log(log) for log in logs):
            return f"no host {quoted(pattern)}; {_there_are(log.host for log in logs)}"
    of_hosts = [log for log in logs if selection.has_host(log.host)]
    for pattern in selection.files:
        if not any(Selection(files=(pattern,)).has_log(log) for log in of_hosts):
            names = (log.path if "/" in pattern else log.name for log in of_hosts)
            return f"no file {quoted(pattern)}; {_there_are(name for name in names if name)}"
    if logs and not any(selection.has_log(log) for log in logs):
        return f"no such file of these hosts; {_there_are(f'{log.host}:{log.path}' for log in logs)}"
    return ""


def _there_are(names: Any) -> str:
    known = sorted(set(names))
    shown = ", ".join(quoted(name, max_chars=80)[1:-1] for name in known[:_MOST_NAMES])
    if len(known) > _MOST_NAMES:
        shown += f" and {len(known) - _MOST_NAMES} more"
    return f"there are {shown}" if known else "nothing is stored yet"


def whole_number(text: str) -> int:
    """Parse a number of lines."""
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError("it must be a whole number")
    return int(text)
