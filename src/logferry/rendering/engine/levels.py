"""Levels that are not where the plain format has them: numbers, and words that messages happen to begin with."""

import re
from typing import Final

from logferry.protocol.patterns import compile_pattern

# Severities 0 to 7 of syslog (RFC 5424, table 2), by the names that most programs use.
SEVERITIES: Final = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")

_TIME: Final = (
    r"[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]++)?+(?:Z|[+-][0-9]{2}:?+[0-9]{2})?+"
)
_WORD: Final = (
    "(?:TRACE|DEBUG|INFO|NOTICE|WARNING|WARN|ERROR|ERR|CRITICAL|CRIT|ALERT|EMERGENCY|EMERG|FATAL|SEVERE|PANIC)"
)

# Looks ahead for the level that a message begins with, perhaps after a timestamp: a known word in square brackets,
# before a colon, or all in capitals. Group `word` has it. The same on text and on escaped text. What is not a level is
# seen from its first letters: 70 ns for a message that has none.
LEVEL_AHEAD: Final = (
    rf"(?=(?:{_TIME} ++)?+(?P<word>\[(?i:{_WORD})\]|(?=[A-Za-z]{{3,9}}+:)(?i:{_WORD}):"
    rf"|(?=[A-Z]{{3}}){_WORD}(?![0-9A-Za-z_-]))|)"
)


_level_ahead: Final = compile_pattern(LEVEL_AHEAD, re.ASCII)


def level_of_word(word: str | None) -> str:
    """Return the level that group `word` of LEVEL_AHEAD stands for."""
    return word.strip("[]:").upper() if word else "UNKNOWN"


def level_of_message(message: str) -> str:
    """Return the level that a message begins with; UNKNOWN if it does not."""
    match = _level_ahead.match(message)
    return level_of_word(match["word"] if match else None)
