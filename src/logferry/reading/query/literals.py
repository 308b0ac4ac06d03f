"""Texts that a line must have to match: found quickly in a whole chunk, before any line is parsed.

Pure. What it does not understand has no such text, so that every line is looked at.
"""

import re
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

# Texts that are shorter are in most lines.
_SHORTEST: Final = 3


def longest_piece(text: str) -> str:
    """Return the longest part of a text that is in one string or number of a record: `key=value` is in two."""
    return max(text.split("="), key=len)


def required_literals(regex: "re.Pattern[str]") -> list[str]:
    """Return texts: everything that a pattern matches has at least one of them; nothing if there are no such texts."""
    if regex.flags & (re.IGNORECASE | re.VERBOSE | re.DEBUG):
        return []
    try:
        literals = _literals_in(_parser.parse(regex.pattern, regex.flags & ~re.UNICODE))
    except (re.error, OverflowError, RecursionError):
        return []
    return literals if literals and all(len(longest_piece(each)) >= _SHORTEST for each in literals) else []


def _literals_in(pattern: Any) -> list[str]:
    """Return the best texts of a parsed pattern: the longest run of literals, or those of all branches."""
    best: list[str] = []
    run = ""
    for operation, value in pattern:
        name = str(operation)
        if name == "LITERAL":
            run += chr(value)
            best = _better(best, [run])
            continue
        run = ""
        best = _better(best, _literals_of(name, value))
    return best


def _literals_of(name: str, value: Any) -> list[str]:
    if name == "BRANCH":
        branches = [_literals_in(branch) for branch in value[1]]
        return [text for branch in branches for text in branch] if all(branches) else []
    if name == "SUBPATTERN":
        return [] if value[1] or value[2] else _literals_in(value[-1])
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _literals_in(value[2]) if value[0] else []
    return []


def _better(one: list[str], other: list[str]) -> list[str]:
    """Return those texts whose shortest one is longer."""
    return other if min(map(len, other), default=0) > min(map(len, one), default=0) else one
