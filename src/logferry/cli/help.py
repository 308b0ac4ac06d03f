"""`logferry help`, and `logferry` alone: the commands, by what they are for; `logferry help COMMAND`: its own help."""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final

from logferry import __version__
from logferry.cli.commands import COMMANDS, EXIT_OK
from logferry.cli.output import print_result
from logferry.cli.parsing import ALL_OPTIONS, RaisingParser
from logferry.errors import ConfigError
from logferry.printable import printable, quoted
from logferry.suggestions import suggestion

# What each command does, in a few words, under the headings of the overview.
SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "ship and store": {
        "ship": "ship log files to a server, once or continuously",
        "serve": "receive log lines and store them",
        "demo": "run both on this machine, and see what they do",
    },
    "prove": {
        "verify": "compare files with what the server has stored",
        "repair": "store damaged lines anew, from the files",
        "fsck": "check a server's data folder against its ledger",
        "explain": "explain what became of a line",
    },
    "look at what is stored": {
        "logs": "show stored lines, merged by time; -f follows them",
        "stats": "count stored lines by time, level, host, file or message",
        "hosts": "list the hosts with stored lines",
        "sql": "answer a query in SQL over stored lines",
        "console": "serve a page to search, count and check stored lines",
    },
    "set up": {
        "try": "show what lines of a file would be stored as",
        "check-config": "check a configuration and say what it means",
        "status": "show what the clients on this machine are doing",
        "token": "make a token by which a client proves who it is",
        "help": "this overview, or the help of a command",
    },
}

_EXAMPLES: Final = """\
  logferry serve --data-dir ./data                       # on the server
  logferry ship app.log 'logs/*.log' --server logs:9000  # on each machine
  logferry logs --level error --since 1h                 # on the server"""


def run(words: Sequence[str]) -> int:
    """Print the overview, or the help of one command; return the exit code. Raises ConfigError."""
    parser = RaisingParser("help", "Show the commands, or the help of one.", usage="%(prog)s [COMMAND] [--all]")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="the command to show the help of")
    parser.add_argument("--all", action="store_true", help="with every option of the command")
    given = vars(parser.parse_args(list(words)))
    if "command" not in given or given["command"] is None:
        print_result(overview())
        return EXIT_OK
    command: str = given["command"]
    if command not in COMMANDS:
        raise ConfigError([unknown_command(command)])
    runs: Callable[[Sequence[str]], int] = import_module(COMMANDS[command]).run
    return runs([ALL_OPTIONS if given.get("all") else "--help"])


def overview() -> str:
    """Return the names of all commands with what each does, and how to begin."""
    sections = [
        "\n".join([f"{heading}:", *(f"  {name:<14}{text}" for name, text in commands.items())])
        for heading, commands in SECTIONS.items()
    ]
    return "\n\n".join(
        [
            f"Logferry {__version__}: ships log lines, stores each exactly once, and proves it.",
            "usage: logferry COMMAND [options]",
            *sections,
            f"examples:\n{_EXAMPLES}",
            "'logferry help COMMAND' explains a command. Options alone are those of ship.",
        ]
    )


def unknown_command(word: str) -> str:
    """Return a sentence about a word that is not the name of a command."""
    if os.path.exists(word):
        return f"{quoted(word)} is not a command; 'logferry ship {printable(word)}' ships a file"
    what_next = suggestion(word, COMMANDS) or "; 'logferry help' lists them"
    return f"{quoted(word)} is not a command{what_next}"
