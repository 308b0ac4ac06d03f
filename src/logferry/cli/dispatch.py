"""Finds the command of `logferry`, imports its module, and turns its exceptions into exit codes.

Each command has its own module (`command_line.COMMANDS`), which is imported only when the command is called.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path

from logferry.cli.commands import (
    COMMANDS,
    DEFAULT_COMMAND,
    EXIT_INTERRUPTED,
    EXIT_NOT_DELIVERED,
    EXIT_USAGE,
    STOPPED_BY_SIGNALS,
)
from logferry.cli.signals import exiting_on_interrupt
from logferry.errors import ConfigError, LogferryError, cause_of
from logferry.speedups import collect_garbage_from_here, keep_freed_memory


def main(
    arguments: Sequence[str] | None = None, *, default_command: str = DEFAULT_COMMAND, shows_overview: bool = False
) -> int:
    """Run `logferry` with `arguments` (default: those of the process); return the exit code.

    Without the name of a command in them, this is `default_command`; if this `shows_overview`, no words at all, or
    --help alone, ask for the overview of the commands.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        from logferry.cli.help import unknown_command  # late, as the command

        _print_problem(unknown_command(words[0]))
        return EXIT_USAGE
    command = _command(words, default_command, shows_overview=shows_overview)
    keep_freed_memory()
    say = partial(_print_problem, "interrupted", command=command)
    try:
        with nullcontext() if command in STOPPED_BY_SIGNALS else exiting_on_interrupt(say):
            run: Callable[[Sequence[str]], int] = import_module(COMMANDS[command]).run
            collect_garbage_from_here()
            return run(words)
    except ConfigError as error:
        for problem in error.problems:
            _print_problem(problem, command=command)
        return EXIT_USAGE
    except LogferryError as error:
        _print_problem(str(error), command=command)
        return EXIT_NOT_DELIVERED
    except UnicodeEncodeError as error:
        from logferry.names import are_utf_8  # late, as the command

        encoding = sys.getfilesystemencoding()
        if are_utf_8(encoding):
            raise
        _print_problem(
            f"cannot open a file with the name {error.object!r}: in this locale, names are {encoding}; "
            "LC_ALL=C.UTF-8 (or PYTHONUTF8=1) allows all names",
            command=command,
        )
        return EXIT_NOT_DELIVERED
    except OSError as error:
        from logferry.permissions import advice  # late, as the command

        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else Path()
        _print_problem(f"cannot go on: {cause_of(error, with_path=True)}{advice(path, error)}", command=command)
        return EXIT_NOT_DELIVERED
    except KeyboardInterrupt:
        say()
        return EXIT_INTERRUPTED
    finally:
        if log := sys.modules.get("logferry.cli.command_line"):
            log.flush_log()


def _command(words: list[str], default_command: str, *, shows_overview: bool) -> str:
    """Return the command that the words ask for, and take its name out of them."""
    if words and words[0] in COMMANDS:
        return words.pop(0)
    if shows_overview and words in ([], ["-h"], ["--help"]):
        words.clear()
        return "help"
    return default_command


def _print_problem(text: str, *, command: str = "") -> None:
    """Print a problem. Commands that have none do without the module."""
    from logferry.cli.output import print_problem

    print_problem(text, command=command)
