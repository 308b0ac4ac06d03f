"""Which lines somebody wants to see: of what hosts and files, between what times, with what level, text or pattern.

Pure values, checked once. What a glob, a level and a text match is defined here and in matching.py, and nowhere else.
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple, Self

from logferry.reading.stored import EVER, Log, Span

# Words for the same level. Asking for one of them selects the lines with any.
_SYNONYMS: Final = (
    ("TRACE", "FINEST", "FINER"),
    ("DEBUG", "DBG", "FINE"),
    ("INFO", "INF", "INFORMATION", "INFORMATIONAL"),
    ("WARNING", "WARN", "WRN"),
    ("ERROR", "ERR", "SEVERE"),
    ("CRITICAL", "CRIT"),
    ("EMERGENCY", "EMERG"),
    ("FATAL", "FTL"),
)
_SAME: Final = {word: frozenset(words) for words in _SYNONYMS for word in words}


class Word(NamedTuple):
    """One of several things that a line must have, or must not (`is_unwanted`): a text, or what a pattern matches.

    With `any_case`, upper and lower case of a text are the same.
    """

    text: str
    regex: re.Pattern[str] | None = None
    is_unwanted: bool = False
    any_case: bool = False

    def is_in(self, values: Sequence[str]) -> bool:
        """Whether one of the values contains it."""
        if self.regex:
            return any(self.regex.search(value) for value in values)
        if self.any_case:
            return any(self.text in value.lower() for value in values)
        return any(self.text in value for value in values)


class Selection(NamedTuple):
    """What lines must have. Hosts and files are patterns of the shell (`*`, `?`, `[...]`); any of several suffices.

    A line must have none of the `unwanted_levels`, and all `words`. `texts` and `regex` are looked for in the
    message, and in each other field as `key=value`; with `inverted`, lines that have them are left out instead.
    """

    hosts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    span: Span = EVER
    levels: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()
    regex: re.Pattern[str] | None = None
    inverted: bool = False
    words: tuple[Word, ...] = ()
    unwanted_levels: frozenset[str] = frozenset()

    @classmethod
    def of_words(cls, *, levels: Iterable[str] = (), regex: str = "", **values: object) -> Self:
        """Return a selection with the levels and the pattern that somebody has written. Raises ValueError."""
        pattern = None
        if regex:
            try:
                pattern = re.compile(regex)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"the pattern cannot be used: {error}") from error
        return cls(levels=levels_of(levels), regex=pattern, **values)  # type: ignore[arg-type]

    @property
    def looks_inside(self) -> bool:
        """Whether what is in a line decides, besides its time."""
        return bool(self.levels or self.texts or self.regex or self.words or self.unwanted_levels)

    def has_log(self, log: Log) -> bool:
        """Whether lines of a log are wanted."""
        return self.has_host(log.host) and self.has_file(log)

    def has_host(self, host: str) -> bool:
        """Whether lines of a host are wanted."""
        return not self.hosts or any(fnmatchcase(host, pattern) for pattern in self.hosts)

    def has_file(self, log: Log) -> bool:
        """Whether lines of a path are wanted: a pattern with a slash means the whole path, another one the name."""
        return not self.files or any(
            fnmatchcase(log.path if "/" in pattern else log.name, pattern) for pattern in self.files
        )


def levels_of(words: Iterable[str]) -> frozenset[str]:
    """Return the levels that words stand for, in capitals, each with its synonyms; words may be joined by commas."""
    parts = (part.strip().upper() for word in words for part in word.split(","))
    return frozenset(level for part in parts if part for level in _SAME.get(part, (part,)))
