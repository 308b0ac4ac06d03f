"""Which lines a query wants, as a selection of `reading`, with the levels that programs write for the page's
classes."""

import re

from logferry.console.levels import LEVEL_NAMES
from logferry.console.source import Query, Word, WrongPattern
from logferry.reading.query.selection import Selection, levels_of
from logferry.reading.query.selection import Word as SelectionWord
from logferry.reading.stored import Span


def selection_of(query: Query) -> Selection:
    """Return the selection. Raises WrongPattern."""
    is_other = "other" in query.levels
    wanted = levels_of(level for level in query.levels if level != "other")
    known = levels_of(LEVEL_NAMES)
    return Selection(
        hosts=tuple(query.hosts),
        files=tuple(query.files),
        span=Span(query.since, query.until),
        levels=frozenset() if is_other else wanted,
        unwanted_levels=known - wanted if is_other else frozenset(),
        words=tuple(map(_word, query.words)),
    )


def _word(word: Word) -> SelectionWord:
    """A text in small letters also finds capitals."""
    pattern = _compiled(word.text) if word.is_regex else None
    return SelectionWord(word.text, pattern, is_unwanted=word.is_unwanted, any_case=word.text == word.text.lower())


def _compiled(pattern: str) -> "re.Pattern[str]":
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise WrongPattern(f"/{pattern}/ is not a regular expression: {error}") from None
