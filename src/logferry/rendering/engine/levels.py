"""Defines the words and numbers that programs use for levels, and finds a level at the beginning of a message.

Levels are written in capitals. Only an unmistakable level counts: a wrong level is worse than UNKNOWN.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.timestamps import AT_MESSAGE_START

UNKNOWN: Final = "UNKNOWN"

# Severities 0 to 7 of syslog (RFC 5424, table 2), by the names that most programs use.
SEVERITIES: Final = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")

# Words that are levels wherever a level may stand.
LEVEL_WORDS: Final = (
    *("TRACE", "DEBUG", "INFO", "NOTICE", "WARNING", "WARN", "ERROR", "ERR", "CRITICAL", "CRIT", "ALERT"),
    *("EMERGENCY", "EMERG", "FATAL", "SEVERE", "PANIC"),
)

# The levels of Python's `logging`, their synonyms, and those that its most common extensions add.
PYTHON_LEVELS: Final = (
    *("NOTSET", "TRACE", "DEBUG", "INFO", "SUCCESS", "NOTICE", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"),
)

_WORD: Final = f"(?:{'|'.join(LEVEL_WORDS)})"

# Looks ahead for the level at the beginning of a message, perhaps after a timestamp: a known word in square brackets,
# before a colon, or all in capitals. Group `word` captures it. The pattern works on plain and on escaped text. The
# first letters decide that a message has no level, which takes 70 ns.
LEVEL_AHEAD: Final = (
    rf"(?=(?:{AT_MESSAGE_START} ++)?+(?P<word>\[(?i:{_WORD})\]|(?=[A-Za-z]{{3,9}}+:)(?i:{_WORD}):"
    rf"|(?=[A-Z]{{3}}){_WORD}(?![0-9A-Za-z_-]))|)"
)

_level_ahead: Final = compile_pattern(LEVEL_AHEAD, re.ASCII)


def level_of_word(word: str | None) -> str:
    """Return the level that group `word` of LEVEL_AHEAD stands for."""
    return word.strip("[]:").upper() if word else UNKNOWN


def level_of_message(message: str) -> str:
    """Return the level that a message begins with; UNKNOWN if it does not begin with one."""
    match = _level_ahead.match(message)
    return level_of_word(match["word"] if match else None)


# --- what the plain format recognises by rules 2 (docs/protocol.md, rule F41) ---

# Levels of java.util.logging, and short forms: in capitals they are not words of a sentence.
_ONLY_IN_CAPITALS: Final = ("FINEST", "FINER", "FINE", "INF", "WRN", "FTL", "DBG")

# In small letters, without a mark, these are levels right after a timestamp; others may begin a sentence there.
_IN_SMALL_LETTERS: Final = ("debug", "info", "warn", "warning", "error", "err", "crit", "fatal")

# Levels of databases, which are ordinary words: only in brackets, or in capitals before a colon.
_ONLY_IF_MARKED: Final = ("NOTE", "SYSTEM", "LOG")

# Single letters are levels in brackets only.
_LETTERS: Final = {
    "T": "TRACE",
    "D": "DEBUG",
    "I": "INFO",
    "N": "NOTICE",
    "W": "WARNING",
    "E": "ERROR",
    "C": "CRITICAL",
    "F": "FATAL",
}

# The signs that Redis writes for levels. A `-` is its level "verbose", for which other programs have no word.
_SIGNS: Final = {".": "DEBUG", "*": "NOTICE", "#": "WARNING"}


def level_words(*sets: Iterable[str]) -> str:
    """Return the pattern of any of these words, the longest first."""
    return f"(?:{'|'.join(sorted({word for words in sets for word in words}, key=lambda word: (-len(word), word)))})"


@dataclass(frozen=True, slots=True)
class LevelPatterns:
    """The patterns of words that are levels in brackets, before a colon, or without a mark."""

    in_brackets: str
    before_colon: str  # without the colon; in any case
    capitals_before_colon: str
    capitals: str
    small: str

    @classmethod
    def of(cls, more: Iterable[str] = ()) -> Self:
        """Return the patterns of the known levels, and of the user's own words, which count in any spelling."""
        own = f"|(?i:{level_words(more)})" if (more := tuple(more)) else ""
        every = level_words(LEVEL_WORDS, _ONLY_IN_CAPITALS, _ONLY_IF_MARKED)
        return cls(
            in_brackets=f"(?:(?i:{every})|[{''.join(_LETTERS)}]{own})",
            before_colon=f"(?:(?i:{level_words(LEVEL_WORDS)}){own})",
            capitals_before_colon=every,
            capitals=f"(?:{level_words(LEVEL_WORDS, _ONLY_IN_CAPITALS)}{own})",
            small=level_words(_IN_SMALL_LETTERS),
        )


_colours: Final = compile_pattern(r"\x1b\[[0-9;]*+m")
_last_word: Final = compile_pattern(r"[A-Za-z][A-Za-z_-]*+(?=[^A-Za-z]*+\Z)")


def level_of_token(token: str | None) -> str:
    """Return the level for a token that LevelPatterns found, with its brackets, colon and colours."""
    token = _colours.sub("", token or "")
    if token in _SIGNS:
        return _SIGNS[token]
    word = _last_word.search(token)
    level = word[0].upper() if word else UNKNOWN
    return _LETTERS.get(level, level)
