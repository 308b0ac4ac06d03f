"""The names of the commands, the modules that run them, and their exit codes. Imports nothing that takes time.

What `logferry help` says of each command is in `help.py`.
"""

from collections.abc import Mapping
from typing import Final

EXIT_OK: Final = 0
EXIT_NOT_DELIVERED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INCOMPLETE: Final = 3
EXIT_INTERRUPTED: Final = 130

DEFAULT_COMMAND: Final = "ship"

# Each command with the module that runs it. The modules are imported late, so that no command spends time or memory on
# the modules of another.
COMMANDS: Final[Mapping[str, str]] = {
    "ship": "logferry.cli.client.ship",
    "serve": "logferry.cli.server.serve",
    "verify": "logferry.cli.client.verify",
    "repair": "logferry.cli.client.repair",
    "fsck": "logferry.cli.server.fsck",
    "status": "logferry.cli.client.status",
    "console": "logferry.cli.server.console",
    "token": "logferry.cli.server.token",
    "check-config": "logferry.cli.client.check_config",
    "try": "logferry.cli.client.try_lines",
    "logs": "logferry.cli.reading.logs",
    "stats": "logferry.cli.reading.stats",
    "hosts": "logferry.cli.reading.hosts",
    "explain": "logferry.cli.reading.explain",
    "sql": "logferry.cli.reading.sql",
    "demo": "logferry.cli.demo",
    "help": "logferry.cli.help",
}

# These commands only read, and have closed everything when they return. Python would take 13 ms to take itself apart,
# a tenth of a short search.
ENDED_AT_ONCE: Final = ("logs", "stats", "hosts")

# These commands run until a signal stops them, or have work to finish; the others end at Ctrl-C wherever they are.
STOPPED_BY_SIGNALS: Final = ("ship", "serve", "console")
