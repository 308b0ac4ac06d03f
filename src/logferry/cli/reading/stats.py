"""`logferry stats`: counts stored lines by minute, hour, level, host, file or pattern of their message."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_NOT_DELIVERED, EXIT_OK
from logferry.cli.output import print_notice, print_problem, print_result
from logferry.cli.reading.query import QueryLine, add_selection, looked_at, nothing_matches, selection_of, words_of
from logferry.cli.reading.stats_report import Screen, statistics_as_json, statistics_as_text
from logferry.errors import ConfigError
from logferry.reading.disk_logs import DiskLogs
from logferry.reading.statistics import By, Statistics, statistics_of

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


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--by", default="minute", metavar="WHAT", help=f"count by {words_of(by.value for by in By)}; default minute"
    )
    parser.add_argument("-n", "--rows", metavar="N", help="show N rows: the last ones, or the most frequent; 0 = all")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, with times in UTC")
    add_selection(parser)


_COMMAND_LINE: Final = QueryLine(
    "stats",
    "[HOST ...]",
    "Count stored lines. Reads the data folder of a server, also beside it.",
    _EPILOG,
    _add_arguments,
)


def run(words: Sequence[str]) -> int:
    """Count and print; return the exit code. Raises ConfigError, LogferryError and OSError."""
    settings, asked = _COMMAND_LINE.start(words)
    by, most = _by(asked), _most(asked)
    selection = selection_of(asked)
    with closing(DiskLogs(settings.data_dir)) as stored:
        if missing := nothing_matches(stored, selection):
            print_problem(missing, command="stats")
            return EXIT_NOT_DELIVERED
        statistics = statistics_of(stored, selection, by, with_patterns=selection.looks_inside)
        if getattr(asked, "json", False):
            print_result(statistics_as_json(statistics, most=most or None))
        else:
            _print_rows(statistics, most)
            print_notice(looked_at(stored, statistics.lines))
        return EXIT_INCOMPLETE if stored.looked.unreadable else EXIT_OK


def _print_rows(statistics: Statistics, most: int | None) -> None:
    if most is None and not statistics.by.is_time:
        most = _MOST_ROWS
    if statistics.rows:
        print_result(statistics_as_text(statistics, _screen(), most=most or None))


def _screen() -> Screen:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    try:
        "▏█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return Screen(columns, has_blocks=False)
    return Screen(columns)


def _by(asked: argparse.Namespace) -> By:
    word = str(getattr(asked, "by", By.MINUTE.value))
    try:
        return By(word.lower())
    except ValueError:
        raise ConfigError([f"--by must be one of {words_of(by.value for by in By)}, not {word}"]) from None


def _most(asked: argparse.Namespace) -> int | None:
    text = getattr(asked, "rows", None)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise ConfigError([f"-n must be a whole number, not {text}"])
    return int(text)
