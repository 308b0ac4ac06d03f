"""Selects the events to ship (`--include`, `--exclude-line`).

Patterns see the text of an event as it is in the file, with newlines between joined lines, and bytes that are not UTF-8
as lone surrogates.
"""

from collections.abc import Sequence
from itertools import chain, compress
from typing import Final

from logferry import speedups
from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import WHITE_SPACE
from logferry.rendering.engine.events import joined_texts, texts_of
from logferry.rendering.engine.user_patterns import UserPattern, compile_user_pattern

# A pattern that is nothing but texts, separated by bars: without characters that mean something in a pattern, unless a
# backslash precedes them. Control characters are left out, because one of them may stand for newlines inside events.
_CHARACTER: Final = r"(?:[^\x00-\x1f\x7f\\.^$*+?{}\[\]|()]|\\[!-/:-@\[-`{-~])"
_FIXED: Final = compile_pattern(rf"{_CHARACTER}++(?:\|{_CHARACTER}++)*+")
_ESCAPED: Final = compile_pattern(r"\\(.)")
_TEXT: Final = compile_pattern(rf"{_CHARACTER}++")

# What the compiled part takes.
_MAX_TEXT_BYTES: Final = 255

Texts = tuple[bytes, ...]


class EventFilter:
    """The filters of a source. Without patterns to include, the filter includes every event.

    The compiled part searches for patterns that are fixed texts; other patterns see only what those texts leave.
    """

    def __init__(self, *, include: Sequence[str], exclude: Sequence[str]) -> None:
        """Raises ValueError naming a pattern that is invalid."""
        self._include = [compile_user_pattern("include", pattern) for pattern in include]
        self._exclude = [compile_user_pattern("exclude", pattern) for pattern in exclude]
        included, excluded = (list(map(fixed_texts, patterns)) for patterns in (include, exclude))
        self._texts = _all_of(included) if all(included) else (), _all_of(excluded)
        self._other_include = [] if all(included) else self._include
        self._other_exclude = [pattern for pattern, texts in zip(self._exclude, excluded, strict=True) if not texts]

    def kept(self, events: list[str]) -> list[str]:
        """Return the blank events, and those that match a pattern to include but none to exclude."""
        return _kept(events, self._include, self._exclude)

    def select(self, data: bytes, inner_newline: bytes) -> tuple[bytes, int]:
        """Do the same to joined events, one per line; return those that are kept, and the number of the others."""
        include, exclude, filtered = self._include, self._exclude, 0
        if speedups.compiled and any(self._texts):
            data, filtered = speedups.compiled.select_events(data, *self._texts, inner_newline)
            include, exclude = self._other_include, self._other_exclude
        if not include and not exclude:
            return data, filtered
        events = texts_of(data, inner_newline)
        kept = _kept(events, include, exclude)
        return joined_texts(kept, inner_newline), filtered + len(events) - len(kept)


def fixed_texts(pattern: str) -> Texts:
    """Return the texts that a pattern matches, in UTF-8; none if it matches anything but fixed texts."""
    if not _FIXED.fullmatch(pattern):
        return ()
    try:
        texts = tuple(_ESCAPED.sub(r"\1", text).encode() for text in _TEXT.findall(pattern))
    except UnicodeEncodeError:  # bytes that are not UTF-8, which may be a part of a character in the data
        return ()
    return texts if max(map(len, texts)) <= _MAX_TEXT_BYTES else ()


def _all_of(texts: Sequence[Texts]) -> Texts:
    return tuple(chain.from_iterable(texts))


def _kept(events: list[str], include: Sequence[UserPattern], exclude: Sequence[UserPattern]) -> list[str]:
    if not include and not exclude:
        return events
    wanted = [not include] * len(events)
    for pattern in include:
        for index in compress(range(len(events)), pattern.find_each(events, too_slow=True)):
            wanted[index] = True
    for pattern in exclude:
        for index in compress(range(len(events)), pattern.find_each(events, too_slow=False)):
            wanted[index] = False
    return [event for event, is_wanted in zip(events, wanted, strict=True) if is_wanted or _is_blank(event)]


def _is_blank(event: str) -> bool:
    return not event.strip(WHITE_SPACE)
