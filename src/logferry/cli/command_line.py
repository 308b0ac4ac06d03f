"""What commands with settings share: the way from command-line words to settings, and their log.

Each such command has a `CommandLine`. This module sets up logging.
It never exits and leaves printing to `output`.
"""

import argparse
import logging
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TextIO

from logferry.cli.commands import (
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_NOT_DELIVERED,
    EXIT_OK,
    EXIT_USAGE,
)
from logferry.cli.output import notices_as_json
from logferry.cli.parsing import ALL_OPTIONS, RaisingParser
from logferry.config import STANDARD_INPUT, Group, Option, Settings, former_names, load, options_of
from logferry.errors import ConfigError
from logferry.telemetry.log_format import JsonFormatter, SafeFormatter
from logferry.telemetry.log_limits import FloodGuard

__all__ = [
    "EXIT_INCOMPLETE",
    "EXIT_INTERRUPTED",
    "EXIT_NOT_DELIVERED",
    "EXIT_OK",
    "EXIT_USAGE",
    "CommandLine",
    "CommandParser",
    "Operand",
    "flush_log",
    "log_to_stderr",
]

logger = logging.getLogger(__name__)

# Where a parser puts the operand.
_OPERAND: Final = "operand"

# What files named as operands are called in the help.
_FILES: Final = "[FILE ...]"

_COMMON: Final = "common options"


class CommandParser(RaisingParser):
    """The parser of a command with settings."""

    def __init__(self, command: str, description: str, epilog: str = "", *, operand: str = "") -> None:
        super().__init__(command, description, epilog, usage=f"%(prog)s [options] {operand}".rstrip())

    def add_options(
        self, options: Sequence[Option], letters: Mapping[str, str], *, common: Collection[str] = (), shows_all: bool
    ) -> None:
        """Add a flag for each option, by group. Every value stays a text, which `config.load` checks.

        `letters` are short flags, by the names of their options. The help lists the options that `common` names before
        all groups, and the others only if it `shows_all`.
        """
        used = {option.group for option in options}
        first = self.add_argument_group(_COMMON) if common else None
        sections = {group: self.add_argument_group(group.value) for group in Group if group in used}
        for option in options:
            text = f"{option.help} [{option.env}, default {option.default}]".replace("%", "%%")
            if first and option.name in common:
                self._add_option(first, option, letters, text)
            else:
                self._add_option(sections[option.group], option, letters, text if shows_all else argparse.SUPPRESS)
        if not shows_all:
            self.all_options.help = f"show all {len(options)} options and exit"

    def _add_option(
        self, section: argparse._ArgumentGroup, option: Option, letters: Mapping[str, str], text: str
    ) -> None:
        if option.kind.is_flag:
            section.add_argument(option.flag, dest=option.name, nargs="?", const="true", metavar="BOOL", help=text)
            if option.opposite:
                opposite = f"the same as {option.flag}=false" if text != argparse.SUPPRESS else text
                section.add_argument(
                    option.opposite, dest=option.name, action="store_const", const="false", help=opposite
                )
        else:
            action = "append" if option.kind.separator else "store"
            flags = [letters[option.name]] if option.name in letters else []
            section.add_argument(*flags, option.flag, dest=option.name, action=action, metavar="VALUE", help=text)

    def read(self, words: Sequence[str]) -> tuple[dict[str, str | list[str]], list[str]]:
        """Return the options that the words set, by name, and a sentence for each unknown word."""
        given, unknown = self.read_some(words)
        return given, [self.unknown_argument(word) for word in unknown]

    def read_some(self, words: Sequence[str]) -> tuple[dict[str, str | list[str]], list[str]]:
        """Return the options that the words set, by name, and the words that are none of them."""
        known, unknown = self.parse_known_args(list(words))
        return vars(known), unknown


@dataclass(frozen=True, slots=True)
class Operand:
    """The file that a command is called with, instead of the options that name files.

    `instead_of` are the names of options that the command does not have, `fixed` the values of some of them.
    """

    name: str
    help: str
    instead_of: frozenset[str] = frozenset()
    fixed: Mapping[str, str] = field(default_factory=dict)


_NO_OPERAND: Final = Operand("", "")


@dataclass(frozen=True, slots=True)
class CommandLine(Generic[Settings]):
    """The command line of a command with settings. `switches` are flags that are not settings, with their help.

    `letters` are short flags, by the names of their options. `common` names the options that --help lists, besides the
    first ten; --help-all lists all. Without it, both do. With `takes_files`, words that are no options name log files.
    """

    command: str
    kind: type[Settings]
    description: str
    epilog: str = ""
    switches: Mapping[str, str] | None = None
    operand: Operand = _NO_OPERAND
    letters: Mapping[str, str] = field(default_factory=dict)
    common: frozenset[str] = frozenset()
    takes_files: bool = False

    def settings(self, words: Sequence[str]) -> Settings:
        """Return the settings. Raises ConfigError with every problem in the words and the values."""
        return self._read(words)[0]

    def _read(self, words: Sequence[str]) -> tuple[Settings, str]:
        """Return the settings and the operand."""
        options = [option for option in options_of(self.kind) if option.name not in self.operand.instead_of]
        parser = self._parser(options, shows_all=not self.common or ALL_OPTIONS in words)
        words, after = _split(words) if self.takes_files else (words, [])
        has_operands = self.takes_files or bool(self.operand.name)
        given, unknown = parser.read_some(_with_values(options, words) if has_operands else words)
        files = [word for word in unknown if self.takes_files and _is_operand(word)] + after
        problems = [parser.unknown_argument(word) for word in unknown if word not in files]
        if files and "log_file" in given:
            problems.append("name the files either with --log-file or without, not both ways")
        operand = str(given.pop(_OPERAND, ""))
        if operand.startswith("--"):
            problems.append(f"unknown argument: {operand}")
        elif self.operand.name and not operand:
            problems.append(f"{self.operand.name} is missing: {self.operand.help}")
        try:
            arguments = {**_joined(options, given), **({"log_file": files} if files else {}), **self.operand.fixed}
            settings = load(self.kind, arguments, os.environ)
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from None
        if problems:
            raise ConfigError(problems)
        return settings, operand

    def _parser(self, options: Sequence[Option], *, shows_all: bool) -> CommandParser:
        operand = _FILES if self.takes_files else self.operand.name
        parser = CommandParser(self.command, self.description, self.epilog, operand=operand)
        if self.operand.name:
            parser.add_argument(_OPERAND, nargs="?", metavar=self.operand.name, help=self.operand.help)
        for flag, text in (self.switches or {}).items():
            parser.add_argument(flag, action="store_true", help=text)
        first_ten = [option.name for option in options if option.is_one_of_the_first]
        common = {*self.common, *first_ten} if self.common else ()
        parser.add_options(options, self.letters, common=common, shows_all=shows_all)
        return parser

    def start(self, words: Sequence[str]) -> Settings:
        """Set up logging and return the settings. Logs which variables of former versions are still set."""
        return self.start_with_operand(words)[0]

    def start_with_operand(self, words: Sequence[str]) -> tuple[Settings, str]:
        """Do the same, and return the operand, too."""
        settings, operand = self._read(words)
        log_to_stderr(settings.log_level, as_json=settings.log_format == "json")
        for sentence in former_names(options_of(self.kind), os.environ):
            logger.info("%s", sentence)
        return settings, operand


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is at that moment: it may be replaced, and threads log until the very end."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """The stream that records go to."""
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        raise AttributeError("this handler always writes to sys.stderr")


def log_to_stderr(level: str, *, as_json: bool = False) -> None:
    """Log records of this level and above to stderr; with `as_json`, all lines on stderr are objects of JSON."""
    handler = _StderrHandler()
    handler.setFormatter(JsonFormatter() if as_json else SafeFormatter(encoding=sys.stderr.encoding or "utf-8"))
    notices_as_json(is_wanted=as_json)
    handler.addFilter(FloodGuard())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def flush_log() -> None:
    """Log how many messages were suppressed so far: before the summary of a run, and at the end of the process."""
    filters = [each for handler in logging.getLogger().handlers for each in handler.filters]
    for guard in filters:
        if isinstance(guard, FloodGuard):
            guard.flush()


def _split(words: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """Return the words before `--`, and those after it."""
    end = words.index("--") if "--" in words else len(words)
    return words[:end], list(words[end + 1 :])


def _is_operand(word: str) -> bool:
    return word == STANDARD_INPUT or not word.startswith("-")


def _with_values(options: Sequence[Option], words: Sequence[str]) -> list[str]:
    """Return the words with `=true` after each flag before a word that cannot be its value: that is the operand."""
    flags = {option.flag: option for option in options if option.kind.is_flag}
    return [
        f"{word}=true" if word in flags and not _is_value(flags[word], following) else word
        for word, following in zip(words, [*words[1:], ""], strict=False)
    ]


def _is_value(option: Option, word: str) -> bool:
    try:
        option.kind.parse(word)
    except ValueError:
        return False
    return True


def _joined(options: Sequence[Option], given: Mapping[str, str | list[str]]) -> dict[str, str | Sequence[str]]:
    """Return the text of each option; the values of a repeated flag are joined with the option's separator."""
    separators = {option.name: option.kind.separator for option in options}
    return {name: separators[name].join(value) if isinstance(value, list) else value for name, value in given.items()}
