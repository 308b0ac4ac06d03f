"""`logferry token new`: makes a token for a client, and the entry of the clients file that knows it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from logferry.cli.command_line import EXIT_OK, CommandParser
from logferry.cli.output import print_notice, print_result
from logferry.errors import ConfigError, LogferryError, cause_of
from logferry.printable import quoted
from logferry.server.clients.identities.entries import identities_of
from logferry.server.clients.identities.tokens import entry_for, new_token

_USAGE: Final = "write `logferry token new --name NAME`"
_DESCRIPTION: Final = "Make a token for a client, and print the entry for the server's clients file (--clients)."
_EPILOG: Final = (
    "Without --token-file, the token is printed in a comment before the entry. Give it to the client in a file that\n"
    "only it can read (the client's --token-file), and keep it nowhere else: the server needs only the entry.\n"
    "exit codes: 0 made; 1 the file exists already or cannot be written; 2 the command line is wrong"
)


def run(words: Sequence[str]) -> int:
    """Make a token; return the exit code. Raises ConfigError, and LogferryError if the file cannot be written."""
    parser = CommandParser("token new", _DESCRIPTION, _EPILOG)
    parser.add_argument("--name", metavar="NAME", help="the client's name: letters, digits, `.`, `_` and `-`")
    parser.add_argument("--token-file", metavar="FILE", help="write the token into this new file, with mode 0600")
    given, problems = parser.read([word for word in words if word != "new"])
    if "new" not in words:
        problems.append(_USAGE)
    if "name" not in given:
        problems.append("--name is missing")
    if problems:
        raise ConfigError(problems)
    token = new_token()
    entry = entry_for(str(given["name"]), token)
    identities_of(entry)
    if "token_file" in given:
        path = Path(str(given["token_file"]))
        _write(path, token)
        print_notice(f"logferry token: wrote the token into {quoted(str(path))}; the entry for the server follows")
        print_result(entry.rstrip())
    else:
        print_result(f"# token, for the client alone: {token}\n{entry.rstrip()}")
    return EXIT_OK


def _write(path: Path, token: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LogferryError(f"cannot write {quoted(str(path))}: {cause_of(error)}") from error
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
