"""The parameters of a question, strictly: an unknown, repeated, malformed or oversized one is a sentence, and a 400.

Owns which values are valid. Everything here comes from outside, and is hostile until it has passed.
"""

import re
from collections.abc import Callable, Collection
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from logferry.console.api import words
from logferry.console.levels import LEVEL_CLASSES, NAMES_OF
from logferry.console.source import Query
from logferry.printable import quoted
from logferry.reading.times.when import ALLOWED, moment_of

_MAX_QUERY_BYTES: Final = 16 * 1024
_MAX_FIELDS: Final = 40
_MAX_PATTERNS: Final = 100
_MAX_PATTERN_CHARS: Final = 4096

_T = TypeVar("_T")

QUERY_NAMES: Final = ("q", "host", "file", "level", "since", "until")

# The longest name of a segment, and a position in it.
_MAX_PLACE_CHARS: Final = 1200

# The id of an event: what a source gives, and can read again.
_is_bookmark: Final = re.compile(r"[A-Za-z0-9_-]{1,8192}", re.ASCII).fullmatch

_is_whole: Final = re.compile(r"[0-9]{1,15}", re.ASCII).fullmatch
_is_level: Final = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII).fullmatch


class BadParameter(ValueError):
    """A question that cannot be answered as it was asked; the text says why."""


class Parameters:
    """The parameters of one question."""

    def __init__(self, query_string: bytes, allowed: Collection[str]) -> None:
        """Raises BadParameter."""
        self.after = ""
        if len(query_string) > _MAX_QUERY_BYTES:
            raise BadParameter(f"the parameters have more than {_MAX_QUERY_BYTES} bytes")
        try:
            pairs = parse_qsl(
                query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
            )
        except UnicodeError:
            raise BadParameter("the parameters are not UTF-8") from None
        except ValueError:
            raise BadParameter(f"there are more than {_MAX_FIELDS} parameters") from None
        self._values: dict[str, str] = {}
        for name, value in pairs:
            if name not in allowed:
                known = ", ".join(sorted(allowed)) or "none"
                raise BadParameter(f"unknown parameter {quoted(name, max_chars=50)}; there are: {known}")
            if name in self._values:
                raise BadParameter(f"the parameter {name} is given twice")
            if "\0" in value:
                raise BadParameter(f"{name} has a NUL in it")
            self._values[name] = value

    def goes_on_after(self, bookmark: str) -> None:
        """Take the id of the event after which a tail goes on, "" for none. Raises BadParameter."""
        if bookmark and not _is_bookmark(bookmark):
            raise BadParameter("Last-Event-ID must be the id of an event of this tail")
        self.after = bookmark

    def text(self, name: str) -> str:
        """Return a parameter as it is, "" if it is not given."""
        return self._values.get(name, "")

    def name(self, name: str, *, may_be_empty: bool = False) -> str:
        """Return the name of a host, or the path of a file, as it is. Raises BadParameter."""
        text = self.text(name)
        if (not text and not may_be_empty) or len(text) > _MAX_PATTERN_CHARS:
            raise BadParameter(f"{name} must be a name, as /api/v1/files has it")
        return text

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number. Raises BadParameter."""
        text = self.text(name)
        if not text:
            return default
        if not _is_whole(text) or not least <= int(text) <= most:
            raise BadParameter(f"{name} must be a whole number from {least} to {most}")
        return int(text)

    def choice(self, name: str, default: str, *choices: str) -> str:
        """Return one of some words. Raises BadParameter."""
        text = self.text(name) or default
        if text not in choices:
            raise BadParameter(f"{name} must be one of {', '.join(choices)}")
        return text

    def place(self, name: str, *, is_needed: bool = False) -> str:
        """Return the place of a line, as answers name it; "" if it is not given. Raises BadParameter."""
        text = self.text(name)
        if is_needed and not text:
            raise BadParameter(f"{name} is missing: the place of a line, as /api/v1/logs names it")
        if len(text) > _MAX_PLACE_CHARS or not text.isprintable():
            raise BadParameter(f"{name} must be the place of a line, as /api/v1/logs names it")
        return text

    def moment(self, name: str, now: float) -> int | None:
        """Return a time in milliseconds of Unix time, None if it is not given. Raises BadParameter."""
        text = self.text(name).strip()
        if not text:
            return None
        try:
            return moment_of(text, now=round(now * 1000))
        except ValueError:
            raise BadParameter(f"{name} must be {ALLOWED}") from None

    def query(self, now: float) -> Query:
        """Return which lines are wanted. Raises BadParameter."""
        parsed = self._judged("q", lambda: words.parse(self.text("q")))
        since, until = self.moment("since", now), self.moment("until", now)
        if since is not None and until is not None and until <= since:
            raise BadParameter("until must be later than since")
        levels = levels_of((*self._list("level"), *parsed.levels), parsed.unwanted_levels)
        hosts = (*self._list("host"), *parsed.hosts)
        files = (*self._list("file"), *parsed.files)
        return Query(hosts, files, levels, parsed.words, since, until)

    def _list(self, name: str) -> tuple[str, ...]:
        patterns = tuple(each.strip() for each in self.text(name).split(",") if each.strip())
        if len(patterns) > _MAX_PATTERNS or any(len(each) > _MAX_PATTERN_CHARS for each in patterns):
            raise BadParameter(f"{name} has too many, or too long patterns")
        return patterns

    @staticmethod
    def _judged(name: str, parse: Callable[[], _T]) -> _T:
        try:
            return parse()
        except ValueError as error:
            raise BadParameter(f"{name}: {error}") from None


def levels_of(wanted: Collection[str], unwanted: Collection[str]) -> tuple[str, ...]:
    """Return the names of levels that are wanted, in lower case; none stands for all. Raises BadParameter."""
    for each in (*wanted, *unwanted):
        if not _is_level(each):
            raise BadParameter(
                f"level: {quoted(each, max_chars=50)} is not a level; there are {', '.join(LEVEL_CLASSES)}"
            )
    names = _spelled_out(wanted or (LEVEL_CLASSES if unwanted else ()))
    without = set(_spelled_out(unwanted))
    return tuple(name for name in names if name not in without)


def _spelled_out(levels: Collection[str]) -> list[str]:
    """Return the names that programs use for levels: `error` also stands for FATAL."""
    found: list[str] = []
    for each in levels:
        found += NAMES_OF.get(each.lower(), (each.lower(),))
    return list(dict.fromkeys(found))
