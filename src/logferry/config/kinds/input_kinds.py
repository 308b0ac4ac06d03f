"""The kinds of values that describe log files and their lines: names, formats, patterns, fields, redactions.

This module checks the user's text and changes nothing but its case; `client/finding` and `rendering` interpret it.
"""

import os
import re
import warnings
from dataclasses import replace
from typing import Final

from logferry.config.kinds.kinds import Kind, any_number, at_home, not_empty, several, word_or
from logferry.model.encoding_names import ENCODING_NAMES, encoding_name
from logferry.model.format_names import FORMAT_NAMES, NESTED_FORMATS, REGEX_PREFIX, RUNTIME_FORMATS, parts_of
from logferry.model.render_spec import MULTILINE_NAMES, REDACTION_NAMES, RESERVED_KEYS, is_level_word
from logferry.names import encodable

FORMATS: Final = ("auto", *FORMAT_NAMES)

# How messages and help texts list the formats inside the lines of containers.
NESTED: Final = ", ".join(f"{runtime}+<format>" for runtime in RUNTIME_FORMATS)

STANDARD_INPUT: Final = "-"
_NAMES_OF_STANDARD_INPUT: Final = (STANDARD_INPUT, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def _pattern(text: str) -> str:
    """Return a regular expression after checking it."""
    if not text or "\0" in text:
        raise ValueError("it is empty" if not text else "it holds a NUL")
    _compiled(text)
    return text


def _compiled(text: str) -> re.Pattern[str]:
    """Compile a pattern. Raises ValueError that explains what is wrong with the pattern."""
    try:
        # A future Python may give the pattern another meaning. The user who wrote it need not know.
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            return re.compile(text)
    except (re.error, OverflowError) as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _file(text: str) -> str:
    return STANDARD_INPUT if text in _NAMES_OF_STANDARD_INPUT else at_home(not_empty(text))


def _format(text: str) -> str:
    _, inner = parts_of(text)
    if inner.startswith(REGEX_PREFIX):
        groups = _compiled(_pattern(inner.removeprefix(REGEX_PREFIX))).groupindex
        if not groups:
            raise ValueError("the pattern has no named group, like (?P<message>.*)")
        return text
    if text.lower() not in (*FORMATS, *NESTED_FORMATS):
        raise ValueError
    return text.lower()


def _encoding(text: str) -> str:
    name = encoding_name(text)
    if name is None:
        raise ValueError
    return name


def _multiline(text: str) -> str:
    return text.lower() if text.lower() in MULTILINE_NAMES else _pattern(text)


def _redaction(text: str) -> str:
    return text.lower() if text.lower() in REDACTION_NAMES else _pattern(text)


def _level(text: str) -> str:
    if not is_level_word(text):
        raise ValueError
    return text.upper()


def _field(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or "\0" in text:
        raise ValueError
    if key in RESERVED_KEYS:
        raise ValueError(f"{key} is written by the format itself")
    return encodable(key), encodable(value)


_SEPARATED: Final = several(Kind(_file, ""), ":", "names or patterns of files, separated by ':', or '-'")


def _files(text: str) -> tuple[str, ...]:
    files: tuple[str, ...] = _SEPARATED.parse(text)
    if len(files) > 1 and os.path.lexists(text):
        raise ValueError("':' separates names; a file whose name has one is an argument of its own: ship FILE")
    return files


FILES: Final = replace(_SEPARATED, parse=_files)
FILE_PATTERNS: Final = any_number(Kind(not_empty, ""), ":", "names or patterns of files, separated by ':'")
PATTERNS: Final = any_number(Kind(_pattern, "a regular expression"), "\n", "regular expressions, one a line")
FORMAT: Final = Kind(_format, f"one of {', '.join(FORMATS)}, {NESTED}, or regex: and a pattern with named groups")
ENCODING: Final = Kind(_encoding, f"one of {', '.join(ENCODING_NAMES)}")
MULTILINE: Final = word_or(
    "none",
    Kind(
        _multiline,
        f"{', '.join(map(repr, MULTILINE_NAMES))}, or a regular expression that the first line of an event begins with",
    ),
    value="",
)
REDACT: Final = any_number(
    Kind(_redaction, ""), "\n", f"{', '.join(REDACTION_NAMES)} or regular expressions, one a line"
)
LEVELS: Final = any_number(Kind(_level, "a word of letters"), ",", "words of letters, separated by commas")
FIELDS: Final = replace(any_number(Kind(_field, ""), "\n", "key=value, one a line"), takes_table=True)
