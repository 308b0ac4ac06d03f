"""`logferry explain`: the story of a place in a file, in sentences: where it is stored, or why it is not."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from typing import Final

from logferry.cli.commands import EXIT_INCOMPLETE, EXIT_OK
from logferry.cli.output import print_result, shown
from logferry.cli.parsing import RaisingParser
from logferry.cli.reading.options import add_store, data_dir_of, refuse_console, unmatched, without_console
from logferry.cli.reading.stats_report import local_time
from logferry.errors import ConfigError, LogferryError
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Log
from logferry.reading.story.explanation import sentences_of
from logferry.reading.story.history import History
from logferry.reading.story.history_of import history_at
from logferry.reading.times.when import moment_of

_EPILOG: Final = """examples:
  logferry explain --host web-1 --file app.log 'order 523'
  logferry explain --host web-1 --file /srv/app/app.log --at 09:19:33

If no line has the text, and a number is in it, the lines with the next lower and the next higher number are shown.

exit codes: 0 stored, and the stored bytes around it are as they were acked; 1 there is no store, or not one such file;
2 the command line is wrong; 3 not stored, or something around it is damaged
"""

_MOST_NAMED: Final = 8


def parser() -> RaisingParser:
    """Return the parser of the command line."""
    made = RaisingParser("explain", "Explain what became of a line.", _EPILOG, usage="%(prog)s [options] [TEXT]")
    made.add_argument("text", nargs="?", metavar="TEXT", help="a part of the message of the line")
    made.add_argument("--host", metavar="HOST", help="the host of the line; a pattern such as 'web-*' will do")
    made.add_argument("--file", metavar="FILE", help="its file: the name, or with a slash the whole path")
    made.add_argument("--at", metavar="TIME", help="when it was written: 09:19, 1h, 2026-01-15T08:00, @1768464000")
    add_store(made)
    refuse_console(made)
    return made


def run(words: Sequence[str]) -> int:
    """Print the story; return the exit code. Raises ConfigError, LogferryError and OSError."""
    given = without_console(vars(parser().parse_args(list(words))), "explanations")
    text, at = given.get("text") or "", _at(given.get("at"))
    if not text and at is None:
        raise ConfigError(["TEXT or --at is missing: what to explain"])
    names = {name: tuple(filter(None, [given.get(name)])) for name in ("host", "file")}
    selection = Selection(hosts=names["host"], files=names["file"])
    data_dir = data_dir_of(given)
    with closing(DiskLogs(data_dir)) as stored:
        logs = [log for log in stored.logs() if selection.has_log(log)]
        if sentence := unmatched(selection, stored.logs()) or _too_many(logs):
            raise LogferryError(sentence)
        history = history_at(data_dir, stored, logs[0], text=text, at=at)
    print_result("\n".join(shown(sentence) for sentence in sentences_of(history, clock_of(history))))
    is_well = history.line is not None and not history.checked.problems
    return EXIT_OK if is_well else EXIT_INCOMPLETE


def _at(text: str | None) -> int | None:
    try:
        return None if text is None else moment_of(text, now=round(time.time() * 1000))
    except ValueError as error:
        raise ConfigError([f"--at: {shown(text)} must be {error}"]) from None


def _too_many(logs: Sequence[Log]) -> str:
    if len(logs) == 1:
        return ""
    if not logs:
        return "nothing is stored yet"
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
