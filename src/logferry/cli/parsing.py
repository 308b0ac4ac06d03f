"""How the words of a command line are parsed: all problems are reported the same way, as ConfigError."""

import argparse
import os
from typing import Any, Final, NoReturn

from logferry import __version__
from logferry.errors import ConfigError
from logferry.suggestions import similar

# Shows the help with every option, also of a command whose --help has only the common ones.
ALL_OPTIONS: Final = "--help-all"


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Return a formatter for this terminal. argparse makes one for each flag, and imports much to find the width."""
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns)
    except (ValueError, OSError):
        columns = 80
    return argparse.RawDescriptionHelpFormatter(prog, width=max(columns - 2, 40))


class RaisingParser(argparse.ArgumentParser):
    """A parser that raises instead of exiting. What was not given is not in the result."""

    def __init__(self, command: str, description: str, epilog: str = "", *, usage: str = "%(prog)s [options]") -> None:
        super().__init__(
            prog=f"logferry {command}",
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=_formatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"logferry {__version__}")
        self.all_options = self.add_argument(ALL_OPTIONS, action="help", help=argparse.SUPPRESS)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Do as ArgumentParser does, but take no word that begins with `--` for an operand because it has a space."""
        for word in args or ():
            if word == "--":
                break
            if word.startswith("--") and " " in word.partition("=")[0]:
                self.error(f"unknown argument: {word}")
        return super().parse_known_args(args, namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Do as ArgumentParser does. Raises ConfigError with a sentence for each word that is unknown."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise ConfigError([self.unknown_argument(word) for word in unknown])
        return known

    def unknown_argument(self, word: str) -> str:
        """Return a sentence about a word that this command does not know."""
        if not word.startswith("--"):
            return f"unknown argument: {word}"
        # Compared without the dashes: all flags share them, so with them any two look alike.
        names = [flag.removeprefix("--") for flag in self._option_string_actions if flag.startswith("--")]
        found = similar(word.removeprefix("--").partition("=")[0], names)
        return f"unknown argument: {word}" + (f"; did you mean --{found}?" if found else "")

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError([message])
