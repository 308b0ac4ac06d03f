"""`logferry explain`: the story of a place in a file, in sentences: where it is stored, or why it is not."""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from typing import Final

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_NOT_DELIVERED, EXIT_OK
from logferry.cli.output import print_problem, print_result, shown
from logferry.cli.reading.query import QueryLine, nothing_matches
from logferry.cli.reading.stats_report import local_time
from logferry.errors import ConfigError
from logferry.reading.disk_logs import DiskLogs
from logferry.reading.explanation import sentences_of
from logferry.reading.history import History
from logferry.reading.history_of import history_at
from logferry.reading.selection import Selection
from logferry.reading.stored import Log
from logferry.reading.when import moment_of

_EPILOG: Final = """examples:
  logferry explain --host web-1 --file app.log 'order 523'
  logferry explain --host web-1 --file /srv/app/app.log --at 09:19:33

If no line has the text, and a number is in it, the lines with the next lower and the next higher number are shown.

exit codes: 0 stored, and the stored bytes around it are as they were acked; 1 there is no store, or not one such file;
2 the command line is wrong; 3 not stored, or something around it is damaged
"""

_MOST_NAMED: Final = 8


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", metavar="TEXT", help="a part of the message of the line")
    parser.add_argument("--host", metavar="HOST", help="the host of the line; a pattern such as 'web-*' will do")
    parser.add_argument("--file", metavar="FILE", help="the file of the line: its name, or with a slash its whole path")
    parser.add_argument("--at", metavar="TIME", help="when it was written: 09:19, 1h, 2026-01-15T08:00, @1768464000")


_COMMAND_LINE: Final = QueryLine(
    "explain", "[TEXT]", "Explain what became of a line. Reads the data folder of a server.", _EPILOG, _add_arguments
)


def run(words: Sequence[str]) -> int:
    """Print the story; return the exit code. Raises ConfigError, LogferryError and OSError."""
    settings, asked = _COMMAND_LINE.start(words)
    text, at = getattr(asked, "text", None) or "", _at(asked)
    selection = Selection(
        hosts=tuple(filter(None, [getattr(asked, "host", None)])),
        files=tuple(filter(None, [getattr(asked, "file", None)])),
    )
    with closing(DiskLogs(settings.data_dir)) as stored:
        logs = [log for log in stored.logs() if selection.has_log(log)]
        if problem := nothing_matches(stored, selection) or _too_many(logs):
            print_problem(problem, command="explain")
            return EXIT_NOT_DELIVERED
        history = history_at(settings.data_dir, stored, logs[0], text=text, at=at)
    print_result("\n".join(shown(sentence) for sentence in sentences_of(history, clock_of(history))))
    is_well = history.line is not None and not history.checked.problems
    return EXIT_OK if is_well else EXIT_INCOMPLETE


def _at(asked: argparse.Namespace) -> int | None:
    text = getattr(asked, "at", None)
    problems = [] if text or getattr(asked, "text", None) else ["TEXT or --at is missing: what to explain"]
    moment = None
    try:
        moment = None if text is None else moment_of(text, now=round(time.time() * 1000))
    except ValueError as error:
        problems.append(f"--at must be {error}, not {text}")
    if problems:
        raise ConfigError(problems)
    return moment


def _too_many(logs: Sequence[Log]) -> str:
    if len(logs) == 1:
        return ""
    named = ", ".join(f"{shown(log.host)}:{shown(log.path or '(plain protocol)')}" for log in logs[:_MOST_NAMED])
    more = f" and {len(logs) - _MOST_NAMED} more" if len(logs) > _MOST_NAMED else ""
    return f"{len(logs)} files match: {named}{more}; name one of them with --host and --file"


def clock_of(history: History) -> Callable[[int], str]:
    """Return what shows times: without the date if all of the story is of one day."""
    lines = [line for line in (history.line, history.before, history.after) if line]
    times = [time for line in lines for time in line.received if time is not None]
    times += [time for each in history.happenings for time in (each.first, each.last) if time is not None]
    days = {local_time(time).date() for time in times}
    form = "%H:%M:%S" if days <= {datetime.now().astimezone().date()} else "%Y-%m-%d %H:%M:%S"
    return lambda time: f"{local_time(time):{form}}"
