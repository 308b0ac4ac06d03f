"""The first code that runs: readies the process for Ctrl-C and broken streams, then imports and runs the command.

A signal that arrives before a command can handle it is kept for the command (signals.py). Owns how the process begins
and ends. Must never import anything slow: until a handler is installed, Ctrl-C raises KeyboardInterrupt anywhere.
"""

import gc
import os
import sys
from collections.abc import Sequence

from logferry.cli import early_signals


def main(default_command: str = "ship", *, arguments: Sequence[str] | None = None, shows_overview: bool = False) -> int:
    """Run `logferry` with `arguments` (default: those of the process); return the exit code.

    Without the name of a command in them, this is `default_command`; with `shows_overview`, no words at all show the
    overview of the commands.
    """
    early_signals.keep()
    gc.disable()  # until the modules are loaded: Python would look for garbage among them again and again
    from logferry.cli.streams import open_standard_streams

    open_standard_streams()
    from logferry.cli.dispatch import main as run

    try:
        words = sys.argv[1:] if arguments is None else arguments
        return run(words, default_command=default_command, shows_overview=shows_overview)
    finally:
        early_signals.ignore()  # the exit code is decided, and Python's shutdown must not be interrupted


def installed() -> int:
    """Run the installed `logferry`, which alone shows the overview of the commands; return the exit code."""
    code = main(shows_overview=True)
    from logferry.cli.commands import ENDED_AT_ONCE  # late, as above

    if sys.argv[1:2] and sys.argv[1] in ENDED_AT_ONCE:
        os._exit(code)  # nothing is buffered (streams.py)
    return code
