"""How a text becomes a value, and which values are allowed: one check for every place a setting comes from.

The command line and the environment supply only texts; a TOML file also has numbers, booleans, arrays and tables. TOML
values are converted to the text that a user would write, so that the same rule judges them. This module owns `Kind` and
the kinds that any option may have; `units` has durations and sizes, `input_kinds` the kinds for log files and lines.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from logferry.names import encodable
from logferry.printable import printable, quoted

Parser = Callable[[str], Any]

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")

# The longest host name that the server keeps (RFC 1035 allows 253 characters for a DNS name).
_MAX_HOST_CHARS: Final = 255


@dataclass(frozen=True, slots=True)
class Kind:
    """How a text becomes a value.

    `allowed` completes the sentence "must be ...". `parse` raises ValueError with a text that adds what `allowed`
    cannot explain. `types` are the TOML types accepted instead of a string. A kind with an `item` takes several values:
    as a repeated flag, as one text with `separator` between the values, or as a TOML array, which may be empty if
    `takes_none`. With `takes_table`, a TOML table of keys and values is accepted too.
    """

    parse: Parser
    allowed: str
    types: tuple[type, ...] = ()
    is_flag: bool = False
    item: "Kind | None" = None
    separator: str = ""
    takes_none: bool = False
    takes_table: bool = False

    def from_toml(self, value: object) -> Any:
        """Return the setting for a value from a TOML file. Raises ValueError as `parse` does."""
        if self.takes_table and isinstance(value, dict):
            value = [f"{key}={_as_text(part)}" for key, part in value.items()]
        if self.item is not None and isinstance(value, list):
            if not value and not self.takes_none:
                raise ValueError
            return tuple(_judge_part(self.item.from_toml, part) for part in value)
        if not isinstance(value, str) and type(value) not in self.types:
            raise ValueError
        return self.parse(_as_text(value))


def _as_text(value: object) -> str:
    """Return a TOML value as a user would write it on the command line. Raises ValueError if that is impossible."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError


def _judge_part(judge: Callable[[Any], Any], part: object) -> Any:
    """Parse one value of several. Raises ValueError that names the wrong one."""
    try:
        return judge(part)
    except ValueError as error:
        shown = quoted(part) if isinstance(part, str) else repr(part)
        raise ValueError(f"{shown}: {error}" if str(error) else f"{shown} is not") from None


def _parse_bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError


def whole(minimum: int, maximum: int) -> Kind:
    """Accept a whole number."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not minimum <= int(text) <= maximum:
            raise ValueError
        return int(text)

    return Kind(parse, f"a whole number from {minimum} to {maximum}", (int,))


def choice(*words: str) -> Kind:
    """Accept one of `words`, in upper or lower case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return Kind(parse, f"one of {', '.join(words)}")


def word_or(word: str, other: Kind, *, value: Any = None) -> Kind:
    """Accept `word`, which stands for `value`, or whatever `other` accepts."""

    def parse(text: str) -> Any:
        return value if text.lower() == word else other.parse(text)

    return Kind(parse, f"'{word}' or {other.allowed}", other.types)


def several(item: Kind, separator: str, allowed: str) -> Kind:
    """Accept one or more values, as a tuple."""

    def parse(text: str) -> tuple[Any, ...]:
        parts = text.split(separator)
        return tuple(_judge_part(item.parse, part) for part in parts) if len(parts) > 1 else (item.parse(text),)

    return Kind(parse, allowed, item=item, separator=separator)


def any_number(item: Kind, separator: str, allowed: str) -> Kind:
    """Accept `none`, which stands for an empty tuple, or one or more values."""
    some = several(item, separator, allowed)
    parse = word_or("none", some, value=()).parse
    return Kind(parse, f"'none' or {allowed}", item=item, separator=separator, takes_none=True)


def not_empty(text: str) -> str:
    """Return `text`. Raises ValueError if it is blank or holds a NUL."""
    if not text.strip() or "\0" in text:
        raise ValueError
    return text


def at_home(text: str) -> str:
    """Return a path with `~` or `~name` at its beginning replaced by that home folder. Raises ValueError."""
    if not text.startswith("~"):
        return text
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise ValueError("this user has no home folder")
    return path


def _host_name(text: str) -> str:
    if text.lower() == "auto":
        import socket  # late: only a client needs a host name

        return encodable(socket.gethostname())
    if text != text.strip() or not text.isprintable() or not 0 < len(text) <= _MAX_HOST_CHARS:
        raise ValueError
    return text


def _host_and_port(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:\[\]]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise ValueError
    return match[1] or match[2], int(match[3])


def _network(text: str) -> str:
    import ipaddress  # late: only a server needs it

    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(printable(str(error))) from None


def _certificate_name(text: str) -> str:
    if text.startswith(".") or not re.fullmatch(r"[^\s/@]{1,253}", text) or not text.isprintable():
        raise ValueError
    return text


TEXT: Final = Kind(not_empty, "a text that is not empty")
PATH: Final = Kind(lambda text: Path(at_home(not_empty(text))), "a path")
BOOLEAN: Final = Kind(_parse_bool, f"one of {', '.join(_TRUE)} or {', '.join(_FALSE)}", types=(bool,), is_flag=True)
PORT: Final = whole(1, 65535)
LISTEN_PORT: Final = whole(0, 65535)
HOST_AND_PORT: Final = Kind(_host_and_port, "an address and a port such as 127.0.0.1:9464 or [::1]:9464")
NETWORK: Final = Kind(_network, "an address or a network such as 10.0.0.0/8 or fd00::/8")
CERTIFICATE_NAME: Final = Kind(_certificate_name, "a host name or an IP address")
HOST_NAME: Final = Kind(
    _host_name, f"'auto' or a name of at most {_MAX_HOST_CHARS} printable characters, without spaces around it"
)
