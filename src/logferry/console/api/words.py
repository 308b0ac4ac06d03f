r"""The language of the search box: what people type becomes parts of a query.

    timeout refused        lines that contain both texts, in any order; upper and lower case are the same
    "connection refused"   this text, with its spaces
    -healthcheck           lines that do not contain it; also -"two words", -/regex/, -level:debug
    /time ?out \d+/        a regular expression (Python's `re`)
    level:error,warn       levels; host:web-* and file:app.log are patterns, as in `logferry logs`
    \-5 or "-5"            a text that begins with a minus

Owns this language. A part that is wrong is a ValueError with a sentence. Pure.
"""

import re
from dataclasses import dataclass
from re import _parser  # type: ignore[attr-defined]
from typing import Final

from logferry.console.source import Word
from logferry.printable import quoted

MAX_CHARS: Final = 4000
MAX_WORDS: Final = 50

_PART: Final = re.compile(
    r"""\s*(?P<minus>-)?(?:
        "(?P<exact>(?:[^"\\]|\\.)*)"(?=\s|$)
      | /(?P<regex>(?:[^/\\]|\\.)+)/(?=\s|$)
      | (?P<key>level|host|file):(?P<value>"(?:[^"\\]|\\.)*"(?=\s|$)|\S+)
      | (?P<text>\S+)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_UNESCAPED_SLASH: Final = re.compile(r"\\/")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was typed, by what it is about."""

    words: tuple[Word, ...] = ()
    hosts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    unwanted_levels: tuple[str, ...] = ()


def parse(text: str) -> Parsed:
    """Return what a text of the search box asks for. Raises ValueError with a sentence."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"the search has more than {MAX_CHARS} characters")
    words: list[Word] = []
    found: dict[str, list[str]] = {"host": [], "file": [], "level": [], "-level": []}
    for match in _PART.finditer(text.strip()):
        is_unwanted = bool(match["minus"])
        if match["key"]:
            _add_key(found, match["key"].lower(), match["value"], is_unwanted=is_unwanted)
        elif word := _word(match, is_unwanted=is_unwanted):
            words.append(word)
    if len(words) + sum(map(len, found.values())) > MAX_WORDS:
        raise ValueError(f"the search has more than {MAX_WORDS} parts")
    return Parsed(tuple(words), *(tuple(found[key]) for key in ("host", "file", "level", "-level")))


def _add_key(found: dict[str, list[str]], key: str, value: str, *, is_unwanted: bool) -> None:
    if is_unwanted and key != "level":
        raise ValueError(f"-{key}: cannot be excluded: name the {key}s that you want, such as {key}:web-*")
    values = [_unescaped(value[1:-1])] if value.startswith('"') else value.split(",")
    found["-level" if is_unwanted else key] += [each for each in values if each]


def _word(match: re.Match[str], *, is_unwanted: bool) -> Word | None:
    if match["regex"] is not None:
        pattern = _UNESCAPED_SLASH.sub("/", match["regex"])
        return Word(checked_pattern(pattern), is_regex=True, is_unwanted=is_unwanted)
    if match["exact"] is not None:
        text = _unescaped(match["exact"])
    else:
        text = match["text"].removeprefix("\\") if match["text"].startswith("\\-") else match["text"]
    return Word(text, is_unwanted=is_unwanted) if text else None


def checked_pattern(pattern: str) -> str:
    """Return a regular expression that is well-formed. Raises ValueError, with what is wrong with it.

    It is not compiled: that may take many seconds, in which Python would do nothing else (see isolated.py).
    """
    try:
        _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"/{quoted(pattern, max_chars=100)[1:-1]}/ is not a regular expression: {error}") from None
    return pattern


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
