"""`logferry stats`: counts stored lines by minute, hour, level, host, file or pattern of their message."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from logferry.cli.commands import EXIT_INCOMPLETE, EXIT_OK
from logferry.cli.output import print_notice, print_result, shown, size_text, terminal_columns
from logferry.cli.parsing import RaisingParser
from logferry.cli.reading.options import (
    add_contents,
    add_selection,
    add_store,
    data_dir_of,
    selection_of,
    unmatched,
    whole_number,
)
from logferry.cli.reading.stats_report import Screen, statistics_as_json, statistics_as_text
from logferry.errors import ConfigError, LogferryError
from logferry.reading.counting.statistics import By, Statistics, statistics_of
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Looked

_EPILOG: Final = """examples:
  logferry stats --by minute --level error --since 30m
  logferry stats 'web-*' --by message-pattern --level error,warn --since today

A line counts for the minute of its timestamp; one without a timestamp for that of the line before it, or of its
receipt.

exit codes: 0 counted; 1 there is no store, or no such host or file; 2 the command line or the configuration is wrong;
3 some segments could not be read
"""

# Rows that are shown of the most frequent ones, unless -n says it.
_MOST_ROWS: Final = 30

_WORDS: Final = ", ".join(by.value for by in By)


def parser() -> RaisingParser:
    """Return the parser of the command line."""
    made = RaisingParser("stats", "Count stored lines.", _EPILOG, usage="%(prog)s [options] [HOST ...]")
    made.add_argument("hosts", nargs="*", metavar="HOST", help="the same as --host")
    made.add_argument("--by", metavar="WHAT", help=f"count by {_WORDS} (default: minute)")
    add_store(made, or_console=True)
    add_selection(made)
    add_contents(made)
    add = made.add_argument_group("how").add_argument
    add("-n", "--rows", type=whole_number, metavar="N", help="the last N rows, or the N most frequent; 0: all")
    add("--json", action="store_true", help="print the result as JSON, with times in UTC")
    return made


def run(words: Sequence[str]) -> int:
    """Count and print; return the exit code. Raises ConfigError, LogferryError and OSError."""
    given = vars(parser().parse_args(list(words)))
    by = _by(given.get("by", By.MINUTE.value))
    selection = selection_of(given)
    count = _counted_by_console if given.get("url") else _counted
    statistics, looked = count(given, selection, by)
    most = given.get("rows")
    if given.get("json"):
        print_result(statistics_as_json(statistics, most=most or None))
    else:
        _print_rows(statistics, most)
        print_notice(_looked_at(looked, statistics.lines))
    return EXIT_INCOMPLETE if looked.unreadable else EXIT_OK


def _counted(given: Mapping[str, Any], selection: Selection, by: By) -> tuple[Statistics, Looked]:
    with closing(DiskLogs(data_dir_of(given))) as stored:
        if sentence := unmatched(selection, stored.logs()):
            raise LogferryError(sentence)
        return statistics_of(stored, selection, by, with_patterns=selection.looks_inside), stored.looked


def _counted_by_console(given: Mapping[str, Any], selection: Selection, by: By) -> tuple[Statistics, Looked]:
    from logferry.cli.reading.remote import Console  # late: only this needs HTTP

    console = Console(given, selection)
    if sentence := unmatched(selection, console.logs()):
        raise LogferryError(sentence)
    return console.statistics(by, with_patterns=selection.looks_inside)


def _looked_at(looked: Looked, lines: int) -> str:
    parts = [f"{lines:,} lines counted", f"looked at {size_text(looked.bytes)} of {looked.logs:,} logs"]
    if looked.unreadable:
        parts.append(f"{looked.unreadable} segments could not be read: {shown(looked.problem)}")
    return ", ".join(parts)


def _print_rows(statistics: Statistics, most: int | None) -> None:
    if most is None and not statistics.by.is_time:
        most = _MOST_ROWS
    if statistics.rows:
        print_result(statistics_as_text(statistics, _screen(), most=most or None))


def _screen() -> Screen:
    columns = terminal_columns()
    try:
        "▏█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return Screen(columns, has_blocks=False)
    return Screen(columns)


def _by(word: str) -> By:
    try:
        return By(word.lower())
    except ValueError:
        raise ConfigError([f"--by must be one of {_WORDS}, not {shown(word)}"]) from None
