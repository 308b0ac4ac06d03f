"""The entry point of `logferry`: finds the command, imports its module, and turns its exceptions into exit codes.

Each command has its own module (`command_line.COMMANDS`), which is imported only when the command is called.
"""

import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from logferry.cli.command_line import COMMANDS, DEFAULT_COMMAND, EXIT_NOT_DELIVERED, EXIT_USAGE
from logferry.cli.output import print_problem
from logferry.errors import ConfigError, LogferryError
from logferry.speedups import keep_freed_memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `logferry` with `arguments` (default: those of the process); return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words.pop(0) if words and words[0] in COMMANDS else DEFAULT_COMMAND
    keep_freed_memory()
    run: Callable[[Sequence[str]], int] = import_module(COMMANDS[command]).run
    try:
        return run(words)
    except ConfigError as error:
        for problem in error.problems:
            print_problem(problem, command=command)
        return EXIT_USAGE
    except LogferryError as error:
        print_problem(str(error), command=command)
        return EXIT_NOT_DELIVERED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
