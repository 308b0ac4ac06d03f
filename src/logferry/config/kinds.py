"""How a text becomes a value, and what is allowed: one check for every place a setting comes from.

The command line and the environment give only texts; a TOML file also has numbers, booleans, arrays and tables. Those
are turned into the text that a user would write, so that the same rule judges them. This module owns `Kind` and the
kinds that any option may have; `units` has durations and sizes, `input_kinds` what is said about log lines.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from logferry.printable import quoted

Parser = Callable[[str], Any]

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")

# The longest name that the server keeps (RFC 1035 allows 253 characters for a name of the DNS).
_MAX_HOST_CHARS: Final = 255


@dataclass(frozen=True, slots=True)
class Kind:
    """How a text becomes a value.

    `parse` raises ValueError, whose text says what is wrong beyond what `allowed` says; `allowed` completes the
    sentence "must be ...". `types` are the TOML types that may stand for a text. A kind with an `item` takes several
    values: the flag may be given several times, in one text `separator` stands between them, in TOML they are an array,
    which may be empty if `takes_none`; with `takes_table` a table of keys and values will do.
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
        """Return what a value of a TOML file means. Raises ValueError as `parse` does."""
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
    """Return what a user would write on the command line. Raises ValueError for what has no such form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError


def _judge_part(judge: Callable[[Any], Any], part: object) -> Any:
    """Return what one value of several means. Raises ValueError that says which one is wrong."""
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
    """Take a whole number."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not minimum <= int(text) <= maximum:
            raise ValueError
        return int(text)

    return Kind(parse, f"a whole number from {minimum} to {maximum}", (int,))


def choice(*words: str) -> Kind:
    """Take one of `words`, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return Kind(parse, f"one of {', '.join(words)}")


def word_or(word: str, other: Kind, *, value: Any = None) -> Kind:
    """Take `word`, which means `value`, or what `other` takes."""

    def parse(text: str) -> Any:
        return value if text.lower() == word else other.parse(text)

    return Kind(parse, f"'{word}' or {other.allowed}", other.types)


def several(item: Kind, separator: str, allowed: str) -> Kind:
    """Take one value or several, as a tuple."""

    def parse(text: str) -> tuple[Any, ...]:
        parts = text.split(separator)
        return tuple(_judge_part(item.parse, part) for part in parts) if len(parts) > 1 else (item.parse(text),)

    return Kind(parse, allowed, item=item, separator=separator)


def any_number(item: Kind, separator: str, allowed: str) -> Kind:
    """Take `none`, which means an empty tuple, one value or several."""
    some = several(item, separator, allowed)
    parse = word_or("none", some, value=()).parse
    return Kind(parse, f"'none' or {allowed}", item=item, separator=separator, takes_none=True)


def not_empty(text: str) -> str:
    """Return a text in which something is written. Raises ValueError."""
    if not text.strip() or "\0" in text:
        raise ValueError
    return text


def _host_name(text: str) -> str:
    if text.lower() == "auto":
        import socket  # late: only a client needs a name

        return socket.gethostname()
    if text != text.strip() or not text.isprintable() or not 0 < len(text) <= _MAX_HOST_CHARS:
        raise ValueError
    return text


TEXT: Final = Kind(not_empty, "a text that is not empty")
PATH: Final = Kind(lambda text: Path(not_empty(text)), "a path")
BOOLEAN: Final = Kind(_parse_bool, f"one of {', '.join(_TRUE)} or {', '.join(_FALSE)}", types=(bool,), is_flag=True)
PORT: Final = whole(1, 65535)
LISTEN_PORT: Final = whole(0, 65535)
HOST_NAME: Final = Kind(
    _host_name, f"'auto' or a name of at most {_MAX_HOST_CHARS} printable characters, with no space around it"
)
