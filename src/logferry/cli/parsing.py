"""How the words of a command line are parsed: all problems are reported the same way, as ConfigError."""

import argparse
import os
from typing import Any, NoReturn

from logferry import __version__
from logferry.errors import ConfigError


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

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Do as ArgumentParser does, but take no word that begins with `--` for an operand because it has a space."""
        for word in args or ():
            if word == "--":
                break
            if word.startswith("--") and " " in word.partition("=")[0]:
                self.error(f"unknown argument: {word}")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError([message])
