"""The token by which this client proves who it is (`--token-file`): read from its file whenever a server asks for it.

So a token can be replaced without a restart. Must never keep or log a token.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

from logferry.errors import ConfigError, NotAuthorised, cause_of
from logferry.printable import quoted
from logferry.protocol.delivery import MAX_TOKEN_CHARS

_is_token: Final = re.compile(rf"[!-~]{{1,{MAX_TOKEN_CHARS}}}", re.ASCII).fullmatch


def read_token(path: Path) -> str:
    """Return the token in a file, without the white space around it. Raises NotAuthorised."""
    try:
        with path.open("rb") as file:
            data = file.read(2 * MAX_TOKEN_CHARS + 1)
    except OSError as error:
        raise NotAuthorised(f"cannot read the token in {quoted(str(path))}: {cause_of(error)}") from error
    text = data.decode("ascii", "replace").strip()
    if not _is_token(text):
        raise NotAuthorised(
            f"{quoted(str(path))} does not hold a token: 1 to {MAX_TOKEN_CHARS} visible ASCII characters in one line"
        )
    return text


def check_token_file(path: Path) -> str:
    """Return what a user should know about a file that can be used, "" if nothing. Raises ConfigError if it cannot."""
    try:
        read_token(path)
    except NotAuthorised as error:
        raise ConfigError([f"--token-file: {error}"]) from None
    if stat.S_IMODE(os.stat(path).st_mode) & stat.S_IRWXO:
        name = quoted(str(path))
        return f"other users may read the token in {name}; take that away with chmod o= {name}"
    return ""
