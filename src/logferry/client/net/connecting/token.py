"""The token by which this client proves who it is (`--token-file`): read from its file whenever a server asks for it.

So a token can be replaced without a restart. Must never keep or log a token.
"""

import logging
import re
from pathlib import Path
from typing import Final

from logferry.errors import ConfigError, NotAuthorised, cause_of
from logferry.permissions import is_open_to_others
from logferry.printable import quoted
from logferry.protocol.messages.writing import MAX_TOKEN_CHARS
from logferry.small_files import read_small_file

logger = logging.getLogger(__name__)

_is_token: Final = re.compile(rf"[!-~]{{1,{MAX_TOKEN_CHARS}}}", re.ASCII).fullmatch


def read_token(path: Path) -> str:
    """Return the token in a file, without the white space around it. Raises NotAuthorised."""
    try:
        data = read_small_file(path, most=2 * MAX_TOKEN_CHARS)
    except (OSError, ValueError) as error:
        reason = cause_of(error) if isinstance(error, OSError) else error
        raise NotAuthorised(f"cannot read the token in {quoted(str(path))}: {reason}") from error
    text = data.decode("ascii", "replace").strip()
    if not _is_token(text):
        raise NotAuthorised(
            f"{quoted(str(path))} does not hold a token: 1 to {MAX_TOKEN_CHARS} visible ASCII characters in one line"
        )
    return text


def check_token_file(path: Path) -> None:
    """Log a warning if others may read the token. Raises ConfigError if there is none in the file."""
    try:
        read_token(path)
    except NotAuthorised as error:
        raise ConfigError([f"--token-file: {error}"]) from None
    if is_open_to_others(path):
        name = quoted(str(path))
        logger.warning("other users may read the token in %s; take that away with chmod o= %s", name, name)
