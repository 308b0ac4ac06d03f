"""Bookmarks of a tail as text: what a page sends as `Last-Event-ID` to go on behind the last line that it has.

Owns the form: Base64 of numbers, first the version. A bookmark belongs to hosts and files: with others,
it would leave out lines. It comes back from outside, and is hostile until it has passed; all that it decides is where a
tail begins.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from logferry.checksum import crc32
from logferry.console.source import Query, UnknownPlace
from logferry.reading.stored import Bookmark

_VERSION: Final = 1

# Of a tail that follows more files that grow, lines have no bookmark: it would be longer than they are.
_MOST_REST: Final = 500

_MAX_TEXT: Final = 8 * 1024
_MAX_NUMBER_BYTES: Final = 9  # less than 2^63
_MAX_NUMBER: Final = 1 << 63

_is_text: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII).fullmatch
_BITS: Final = 7
_MORE: Final = 1 << _BITS


def text_of(bookmark: Bookmark, query: Query) -> str:
    """Return the text of a bookmark; "" for one that would be too long."""
    if len(bookmark.rest) > _MOST_REST:
        return ""
    data = bytearray()
    for number in (_VERSION, _check(query), bookmark.last, bookmark.check):
        _append(data, number)
    before = 0
    for number, at in sorted(bookmark.rest.items()):
        _append(data, number - before)
        _append(data, at)
        before = number
    return urlsafe_b64encode(data).decode().rstrip("=")


def bookmark_of(text: str, query: Query) -> Bookmark:
    """Parse the text of a bookmark. Raises UnknownPlace."""
    if len(text) > _MAX_TEXT or not _is_text(text):
        raise UnknownPlace
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        version, check, last, segments, *rest = _numbers(data)
    except ValueError:
        raise UnknownPlace from None
    if (version, check) != (_VERSION, _check(query)) or len(rest) % 2 or len(rest) > 2 * _MOST_REST:
        raise UnknownPlace
    found, number = {}, 0
    for step, at in zip(rest[::2], rest[1::2], strict=True):
        number += step
        found[number] = at
    if len(found) * 2 != len(rest) or number >= _MAX_NUMBER:
        raise UnknownPlace
    return Bookmark(last, segments, found)


def _check(query: Query) -> int:
    return crc32(repr((tuple(query.hosts), tuple(query.files))).encode())


def _append(data: bytearray, number: int) -> None:
    while number >= _MORE:
        data.append(number % _MORE + _MORE)
        number >>= _BITS
    data.append(number)


def _numbers(data: bytes) -> Iterator[int]:
    """Yield the numbers; raise ValueError for one that is too large, or not whole."""
    ends = [-1, *(index for index, byte in enumerate(data) if byte < _MORE)]
    if not data or ends[-1] != len(data) - 1:
        raise ValueError("the last number is not whole")
    for before, end in pairwise(ends):
        if end - before > _MAX_NUMBER_BYTES:
            raise ValueError("a number is too large")
        yield sum((data[before + 1 + place] % _MORE) << _BITS * place for place in range(end - before))
