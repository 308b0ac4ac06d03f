"""Finds the lines of a chunk that have what a selection asks for, besides their time.

A search over the bytes of the chunk finds the lines that may match; only those are parsed and decided. What such a
search cannot know (letters as escapes, objects written in another way) makes it find more lines, never fewer. Pure.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from logferry import speedups
from logferry.reading.query.literals import longest_piece, required_literals
from logferry.reading.query.records import Record, record_of
from logferry.reading.query.selection import Selection, Word
from logferry.reading.stored import MayMatch

# Where a text is first in a part of bytes; -1 if it is not there.
find_text: Callable[[bytes, bytes, int, int], int] = getattr(speedups.compiled, "find_text", bytes.find)

Extent = tuple[int, int]  # of a line in a chunk, without its newline


class Match(NamedTuple):
    """A line that matches: where it is in its chunk, and what it says."""

    start: int
    end: int
    record: Record


class Matcher:
    """Decides about lines. It is made once for a search."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._candidates = _candidates_of(selection)
        needles = _needles_of(selection)
        self.may_match: MayMatch | None = _quick_test_of(needles) if needles else None

    def matches(self, data: bytes) -> Iterator[Match]:
        """Yield the lines of a chunk that match, in order."""
        for start, end in self._candidates(data):
            record = record_of(data[start:end])
            if self.is_match(record):
                yield Match(start, end, record)

    def is_match(self, record: Record) -> bool:
        """Whether a line is wanted."""
        selection = self._selection
        if selection.levels and record.level.upper() not in selection.levels:
            return False
        if selection.unwanted_levels and record.level.upper() in selection.unwanted_levels:
            return False
        if selection.words and not self._has_words(record):
            return False
        if not selection.texts and not selection.regex:
            return True
        return self._has_content(record) is not selection.inverted

    def _has_words(self, record: Record) -> bool:
        message: Sequence[str] = [record.message]
        values: Sequence[str] = ()
        for word in self._selection.words:
            is_there = word.is_in(message)
            if not is_there and record.fields:
                values = values or [*record.fields_as_text()]
                is_there = word.is_in(values)
            if is_there is word.is_unwanted:
                return False
        return True

    def _has_content(self, record: Record) -> bool:
        values = [record.message]
        if record.fields and not (self._has_all_texts(values) and self._has_pattern(values)):
            values += record.fields_as_text()
        return self._has_all_texts(values) and self._has_pattern(values)

    def _has_all_texts(self, values: Sequence[str]) -> bool:
        return all(any(text in value for value in values) for text in self._selection.texts)

    def _has_pattern(self, values: Sequence[str]) -> bool:
        regex = self._selection.regex
        return regex is None or any(regex.search(value) for value in values)


def all_lines(data: bytes) -> Iterator[Extent]:
    """Yield the extent of every line."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield start, end
        start = end + 1


def _needles_of(selection: Selection) -> list[str]:
    """Return texts: every line that matches has at least one of them; nothing if there are no such texts."""
    if selection.inverted:
        return []
    if piece := max(map(longest_piece, selection.texts), key=len, default=""):
        return [piece]
    return [longest_piece(each) for each in required_literals(selection.regex)] if selection.regex else []


def _quick_test_of(needles: Sequence[str]) -> MayMatch:
    """Return whether bytes may have a line that matches."""
    encoded = [(_as_stored(needle), _other_writing(needle)) for needle in needles]

    def may_match(data: bytes, end: int) -> bool:
        has_escapes = data.find(b"\\", 0, end) >= 0
        return any(
            find_text(data, needle, 0, end) >= 0 or (has_escapes and other.search(data, 0, end) is not None)
            for needle, other in encoded
        )

    return may_match


def _as_stored(text: str) -> bytes:
    """Return a text as clients write it in a string of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape")


def _candidates_of(selection: Selection) -> Callable[[bytes], Iterator[Extent]]:
    """Return the narrowest search that finds every line that may match."""
    if needles := _needles_of(selection):
        return _having_any(needles)
    if found := _candidates_of_words(selection.words):
        return found
    return _with_level(selection.levels) if selection.levels else all_lines


def _candidates_of_words(words: Sequence[Word]) -> Callable[[bytes], Iterator[Extent]] | None:
    """Return a search for one of the words that a line must have; None if no word makes it narrower."""
    wanted = [word for word in words if not word.is_unwanted]
    texts = [word for word in wanted if not word.regex and (not word.any_case or word.text.isascii())]
    best = max(texts, key=lambda word: len(longest_piece(word.text)), default=None)
    if best and (piece := longest_piece(best.text)):
        return _having_any_case(piece) if best.any_case else _having(piece)
    for word in wanted:
        if word.regex and (literals := required_literals(word.regex)):
            return _having_any([longest_piece(literal) for literal in literals])
    return None


def _having(text: str) -> Callable[[bytes], Iterator[Extent]]:
    """Find the lines with a text, as clients write it, and all that may have it written in another way."""
    needle = _as_stored(text)
    other = _other_writing(text)

    def find(data: bytes) -> Iterator[Extent]:
        if b"\\" in data and other.search(data):
            yield from sorted({*_lines_having(needle, data), *_lines_with(other, data)})
            return
        yield from _lines_having(needle, data)

    return find


def _having_any_case(text: str) -> Callable[[bytes], Iterator[Extent]]:
    """Find the lines with a text in small letters of ASCII, whatever their case is in the line."""
    needle = json.dumps(text)[1:-1].lower().encode()
    other = _other_writing(text)

    def find(data: bytes) -> Iterator[Extent]:
        lower = data.lower()
        if b"\\" in data and other.search(data):
            yield from sorted({*_lines_having(needle, lower), *_lines_with(other, data)})
            return
        yield from _lines_having(needle, lower)

    return find


def _lines_having(needle: bytes, data: bytes) -> Iterator[Extent]:
    place = data.find(needle)
    while place >= 0:
        start, end = data.rfind(b"\n", 0, place) + 1, data.find(b"\n", place)
        yield start, end
        place = data.find(needle, end)


def _having_any(texts: Sequence[str]) -> Callable[[bytes], Iterator[Extent]]:
    """Find the lines with any of several texts."""
    if len(texts) == 1:
        return _having(texts[0])
    finders = [_having(text) for text in texts]

    def find(data: bytes) -> Iterator[Extent]:
        return iter(sorted({extent for finder in finders for extent in finder(data)}))

    return find


def _other_writing(text: str) -> "re.Pattern[bytes]":
    r"""Return what a line has that writes such a text in another way: any character as `\u....`, a slash as `\/`.

    The escapes of control characters, which are in every coloured line, count only if the text has one.
    """
    has_control, is_ascii = any(char < " " for char in text), text.isascii()
    escapes = rb"\\u" if has_control else rb"\\u00[2-7]" if is_ascii else rb"\\u(?!00[01])"
    return re.compile(escapes + (rb"|\\/" if "/" in text else b""))


def _with_level(levels: frozenset[str]) -> Callable[[bytes], Iterator[Extent]]:
    """Find the lines with one of these levels, where the level is the first member, as clients write it.

    Of a chunk with other lines, all lines that have the word of a level anywhere are found.
    """
    words = b"|".join(re.escape(level.encode("utf-8", "surrogateescape")) for level in sorted(levels))
    first = re.compile(rb'\n\{"level": "(?i:%b)"' % words)
    opening = b'\n{"level": "'
    anywhere = re.compile(words + rb"|\\u00[2-7]", re.IGNORECASE)

    def find(data: bytes) -> Iterator[Extent]:
        before = b"\n" + data
        if before.count(opening) != data.count(b"\n"):
            yield from _lines_with(anywhere, data)
            return
        for match in first.finditer(before):
            start = match.start()
            yield start, data.find(b"\n", start)

    return find


def _lines_with(pattern: "re.Pattern[bytes]", data: bytes) -> Iterator[Extent]:
    end = 0
    while match := pattern.search(data, end):
        start, end = data.rfind(b"\n", 0, match.start()) + 1, data.find(b"\n", match.start())
        yield start, end
