"""What commands with settings share: the way from command-line words to settings, and their log.

Each such command has a `CommandLine`. This module sets up logging.
It never exits and leaves printing to `output`.
"""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
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
from logferry.cli.parsing import RaisingParser
from logferry.config import Group, Option, Settings, former_names, load, options_of
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


class CommandParser(RaisingParser):
    """The parser of a command with settings."""

    def __init__(self, command: str, description: str, epilog: str = "", *, operand: str = "") -> None:
        super().__init__(command, description, epilog, usage=f"%(prog)s [options] {operand}".rstrip())

    def add_options(self, options: Sequence[Option], letters: Mapping[str, str]) -> None:
        """Add a flag for each option, by group. Every value stays a text, which `config.load` checks.

        `letters` are short flags, by the names of their options.
        """
        used = {option.group for option in options}
        sections = {group: self.add_argument_group(group.value) for group in Group if group in used}
        for option in options:
            section = sections[option.group]
            text = f"{option.help} [{option.env}, default {option.default}]".replace("%", "%%")
            if option.kind.is_flag:
                section.add_argument(option.flag, dest=option.name, nargs="?", const="true", metavar="BOOL", help=text)
                if option.opposite:
                    text = f"the same as {option.flag}=false"
                    section.add_argument(
                        option.opposite, dest=option.name, action="store_const", const="false", help=text
                    )
            else:
                action = "append" if option.kind.separator else "store"
                flags = [letters[option.name]] if option.name in letters else []
                section.add_argument(*flags, option.flag, dest=option.name, action=action, metavar="VALUE", help=text)

    def read(self, words: Sequence[str]) -> tuple[dict[str, str | list[str]], list[str]]:
        """Return the options that the words set, by name, and a sentence for each unknown word."""
        known, unknown = self.parse_known_args(list(words))
        return vars(known), [f"unknown argument: {word}" for word in unknown]


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

    `letters` are short flags, by the names of their options.
    """

    command: str
    kind: type[Settings]
    description: str
    epilog: str = ""
    switches: Mapping[str, str] | None = None
    operand: Operand = _NO_OPERAND
    letters: Mapping[str, str] = field(default_factory=dict)

    def settings(self, words: Sequence[str]) -> Settings:
        """Return the settings. Raises ConfigError with every problem in the words and the values."""
        return self._read(words)[0]

    def _read(self, words: Sequence[str]) -> tuple[Settings, str]:
        """Return the settings and the operand."""
        options = [option for option in options_of(self.kind) if option.name not in self.operand.instead_of]
        given, problems = self._parser(options).read(_with_values(options, words) if self.operand.name else words)
        operand = str(given.pop(_OPERAND, ""))
        if operand.startswith("--"):
            problems.append(f"unknown argument: {operand}")
        elif self.operand.name and not operand:
            problems.append(f"{self.operand.name} is missing: {self.operand.help}")
        try:
            settings = load(self.kind, {**_joined(options, given), **self.operand.fixed}, os.environ)
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from None
        if problems:
            raise ConfigError(problems)
        return settings, operand

    def _parser(self, options: Sequence[Option]) -> CommandParser:
        parser = CommandParser(self.command, self.description, self.epilog, operand=self.operand.name)
        if self.operand.name:
            parser.add_argument(_OPERAND, nargs="?", metavar=self.operand.name, help=self.operand.help)
        for flag, text in (self.switches or {}).items():
            parser.add_argument(flag, action="store_true", help=text)
        parser.add_options(options, self.letters)
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


def _joined(options: Sequence[Option], given: Mapping[str, str | list[str]]) -> dict[str, str]:
    """Return the text of each option; the values of a repeated flag are joined with the option's separator."""
    separators = {option.name: option.kind.separator for option in options}
    return {name: separators[name].join(value) if isinstance(value, list) else value for name, value in given.items()}
