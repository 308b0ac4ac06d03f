"""How what a user wrote becomes a value, and what is allowed: one checker for every place a setting comes from.

The command line and the environment have only texts; a TOML file has numbers, booleans, arrays and tables as well. What
is no text is turned into one, so that the same rule judges it.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from logferry.model.format_names import FORMAT_NAMES, REGEX_PREFIX
from logferry.model.render_spec import EVENTS_BEGIN_WITH_TIMESTAMP, REDACTION_NAMES, RESERVED_KEYS

Parser = Callable[[str], Any]

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")

FORMATS: Final = ("auto", *FORMAT_NAMES)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a text becomes a value.

    `parse` raises ValueError, whose text says what is wrong beyond what `allowed` says; `allowed` completes the
    sentence "must be ...". `types` are the TOML types that may stand for a text. A kind with an `item` takes several
    values: the flag may be given several times, in one text `separator` stands between them, in TOML they are an array,
    which may be empty if `none` is allowed; with `takes_table` a table of key and value will do.
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
        raise ValueError(f"{part!r}: {error}" if str(error) else f"{part!r} is not") from None


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


def seconds(minimum: float, maximum: float = 1e6) -> Kind:
    """Take a number of seconds, with or without a fraction."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{0,9}\.?[0-9]{0,9}", text) or not minimum <= float(text) <= maximum:
            raise ValueError
        return float(text)

    return Kind(parse, f"a number of seconds from {minimum:g} to {maximum:g}", (int, float))


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


def _not_empty(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError
    return text


def _pattern(text: str) -> str:
    """Check a regular expression."""
    if not text or "\0" in text:
        raise ValueError("it is empty" if not text else "it holds a NUL")
    compile_pattern(text)
    return text


def compile_pattern(text: str) -> re.Pattern[str]:
    """Return a pattern compiled. Raises ValueError that says what is wrong with it."""
    try:
        # Python may mean something else by a pattern one day: no news for the one who wrote it.
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            return re.compile(text)
    except (re.error, OverflowError) as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _format(text: str) -> str:
    if text.startswith(REGEX_PREFIX):
        groups = compile_pattern(_pattern(text.removeprefix(REGEX_PREFIX))).groupindex
        if not groups:
            raise ValueError("the pattern has no named group, like (?P<message>.*)")
        return text
    if text.lower() not in FORMATS:
        raise ValueError
    return text.lower()


def _multiline(text: str) -> str:
    return text.lower() if text.lower() == EVENTS_BEGIN_WITH_TIMESTAMP else _pattern(text)


def _redaction(text: str) -> str:
    return text.lower() if text.lower() in REDACTION_NAMES else _pattern(text)


def _field(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or "\0" in text:
        raise ValueError
    if key in RESERVED_KEYS:
        raise ValueError(f"{key} is written by the format itself")
    return key, value


TEXT: Final = Kind(_not_empty, "a text that is not empty")
PATH: Final = Kind(lambda text: Path(_not_empty(text)), "a path")
FILES: Final = several(Kind(_not_empty, ""), ":", "names or patterns of files, separated by ':', or '-'")
FILE_PATTERNS: Final = any_number(Kind(_not_empty, ""), ":", "names or patterns of files, separated by ':'")
PATTERN: Final = Kind(_pattern, "a regular expression")
PATTERNS: Final = any_number(PATTERN, "\n", "regular expressions, one a line")
FORMAT: Final = Kind(_format, f"one of {', '.join(FORMATS)}, or regex: and a pattern with named groups")
MULTILINE: Final = word_or(
    "none",
    Kind(
        _multiline,
        f"'{EVENTS_BEGIN_WITH_TIMESTAMP}', or a regular expression that the first line of an event begins with",
    ),
    value="",
)
REDACT: Final = any_number(
    Kind(_redaction, ""), "\n", f"{', '.join(REDACTION_NAMES)} or regular expressions, one a line"
)
FIELDS: Final = replace(any_number(Kind(_field, ""), "\n", "key=value, one a line"), takes_table=True)
BOOLEAN: Final = Kind(_parse_bool, f"one of {', '.join(_TRUE)} or {', '.join(_FALSE)}", types=(bool,), is_flag=True)
PORT: Final = whole(1, 65535)
LISTEN_PORT: Final = whole(0, 65535)
MIB: Final = 1024 * 1024
