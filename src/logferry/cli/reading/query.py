"""What the commands that look at stored lines share: their words, and a sentence where a name matches nothing.

What somebody asks for (hosts, files, times, levels, texts) has no variables and no keys in a file: only the command
line says it. Where the data folder is, and how to log, are settings as those of the server.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from logferry.cli.command_line import CommandParser, log_to_stderr
from logferry.cli.output import shown
from logferry.config import ReadingSettings, load, options_of
from logferry.errors import ConfigError
from logferry.reading.selection import Selection
from logferry.reading.stored import Span, StoredLogs
from logferry.reading.when import moment_of

_MOST_NAMED: Final = 8


@dataclass(frozen=True, slots=True)
class QueryLine:
    """The command line of a command that looks at stored lines. `add_arguments` adds what is not a setting."""

    command: str
    usage: str
    description: str
    epilog: str
    add_arguments: Callable[[argparse.ArgumentParser], None]

    def start(self, words: Sequence[str]) -> tuple[ReadingSettings, argparse.Namespace]:
        """Set up logging; return the settings, and what is asked for. Raises ConfigError with all problems."""
        options = options_of(ReadingSettings)
        parser = CommandParser(self.command, self.description, self.epilog, operand=self.usage)
        self.add_arguments(parser)
        parser.add_options(options, {})
        given, problems = parser.read(words)
        names = {option.name for option in options}
        try:
            settings = load(ReadingSettings, {name: str(given[name]) for name in names & given.keys()}, os.environ)
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from None
        if problems:
            raise ConfigError(problems)
        log_to_stderr(settings.log_level, as_json=settings.log_format == "json")
        return settings, argparse.Namespace(**{name: value for name, value in given.items() if name not in names})


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which lines are wanted."""
    lines = parser.add_argument_group("which lines")
    lines.add_argument(
        "hosts", nargs="*", metavar="HOST", help="only of these hosts; a pattern such as 'web-*' will do"
    )
    lines.add_argument("--host", action="append", metavar="GLOB", help="the same")
    lines.add_argument(
        "--file", action="append", metavar="GLOB", help="only of these files: a name, or with a slash the whole path"
    )
    lines.add_argument(
        "--since", metavar="TIME", help="from this time on: 1h, today, 09:00, 2026-01-15T08:00, @1768464000"
    )
    lines.add_argument("--until", metavar="TIME", help="before this time")
    lines.add_argument("--level", action="append", metavar="WORDS", help="only with one of these levels: error,warn")
    lines.add_argument("--grep", metavar="REGEX", help="only with a part that this regular expression matches")
    lines.add_argument("--text", action="append", metavar="TEXT", help="only with this text")
    lines.add_argument("-v", "--invert", action="store_true", help="without the text or what the expression matches")


def selection_of(asked: argparse.Namespace) -> Selection:
    """Return the selection. Raises ConfigError."""
    problems: list[str] = []
    now = round(time.time() * 1000)

    def moment(name: str, after: int | None = None) -> int | None:
        text = getattr(asked, name, None)
        try:
            return None if text is None else moment_of(text, now=now, after=after)
        except ValueError as error:
            problems.append(f"--{name} must be {error}, not {text}")
            return None

    since = moment("since")
    span = Span(since, moment("until", since))
    try:
        selection = Selection.of_words(
            levels=getattr(asked, "level", None) or (),
            regex=getattr(asked, "grep", None) or "",
            hosts=(*getattr(asked, "hosts", ()), *(getattr(asked, "host", None) or ())),
            files=tuple(getattr(asked, "file", None) or ()),
            span=span,
            texts=tuple(getattr(asked, "text", None) or ()),
            inverted=getattr(asked, "invert", False),
        )
    except ValueError as error:
        problems.append(f"--grep: {error}")
    if problems:
        raise ConfigError(problems)
    return selection


def nothing_matches(stored: StoredLogs, selection: Selection) -> str:
    """Return a sentence that says what there is if no log is one that is asked for; "" if there is one."""
    logs = stored.logs()
    if any(selection.has_log(log) for log in logs):
        return ""
    if not logs:
        return "nothing is stored yet"
    hosts = sorted({log.host for log in logs})
    if not any(map(selection.has_host, hosts)):
        return f"no host matches {', '.join(map(shown, selection.hosts))}; there are {_named(hosts)}"
    files = sorted({log.path for log in logs if selection.has_host(log.host)})
    return f"no file matches {', '.join(map(shown, selection.files))}; there are {_named(files)}"


def _named(names: Sequence[str]) -> str:
    named = ", ".join(shown(name or "(plain protocol)") for name in names[:_MOST_NAMED])
    return f"{named} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else named


def looked_at(stored: StoredLogs, lines: int) -> str:
    """Return how much was looked at, for the end of a result."""
    looked = stored.looked
    parts = [f"{lines:,} lines counted", f"looked at {looked.bytes / 1e6:,.1f} MB of {looked.logs:,} logs"]
    if looked.unreadable:
        parts.append(f"{looked.unreadable} segments could not be read: {shown(looked.problem)}")
    return ", ".join(parts)


def words_of(values: Iterable[str]) -> str:
    """Return the words that an argument may be."""
    return ", ".join(values)
