"""`logferry status`: reports what a client is doing, from its state folder alone."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from logferry.cli.client.status_report import status_as_json, status_as_table
from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_OK, CommandLine
from logferry.cli.output import print_result, terminal_columns
from logferry.client.run import state_dir
from logferry.client.status.acknowledged import acknowledge
from logferry.client.status.inspect import inspect
from logferry.config import StatusSettings

_EPILOG: Final = """exit codes:
  0  the client is running or its batch run ended well, without problems
  1  unknown: no client has used this state folder, or the folder cannot be read
  2  the command line or the configuration is wrong
  3  there are problems: the client is not running or waits for the server, the server stores nothing, a file is
     unreadable, or data was lost or may have been (until --acknowledge)
"""

_ACKNOWLEDGE: Final = "--acknowledge"
_SWITCHES: Final = {_ACKNOWLEDGE: "print the status; the losses that it shows are then no longer problems"}
_COMMAND_LINE: Final = CommandLine(
    "status", StatusSettings, "Report what a client is doing, from its state folder.", _EPILOG, _SWITCHES
)


def run(words: Sequence[str]) -> int:
    """Print what the client is doing; return the exit code. Raises ConfigError, StateError."""
    settings = _COMMAND_LINE.start(words)
    folder = state_dir(settings.state_dir)
    status = inspect(folder, now=time.time())
    columns = terminal_columns()
    as_table = partial(status_as_table, shows_all=settings.all, columns=columns)
    print_result(status_as_json(status) if settings.json else as_table(status))
    if _ACKNOWLEDGE in words:
        acknowledge(folder, number=status.latest_loss, client=status.client)
        status = inspect(folder, now=time.time())
    return EXIT_INCOMPLETE if status.problems else EXIT_OK
