"""Which lines somebody wants to see: of what hosts and files, between what times, with what level, text or pattern.

Pure values, checked once. What a glob, a level and a text match is defined here and in matching.py, and nowhere else.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Self

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


@dataclass(frozen=True, slots=True)
class Selection:
    """What lines must have. Hosts and files are patterns of the shell (`*`, `?`, `[...]`); any of several suffices.

    `text` and `regex` are looked for in the message, and in each other field as `key=value`; with `inverted`, lines
    that have them are left out instead.
    """

    hosts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    span: Span = EVER
    levels: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()
    regex: "re.Pattern[str] | None" = None
    inverted: bool = False

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
        return bool(self.levels or self.texts or self.regex)

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
