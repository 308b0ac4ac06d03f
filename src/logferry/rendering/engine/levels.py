"""Defines the words and numbers that programs use for levels, and finds a level at the beginning of a message.

Levels are written in capitals. Only an unmistakable level counts: a wrong level is worse than UNKNOWN.
"""

import re
from typing import Final

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
