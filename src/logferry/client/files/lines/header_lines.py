"""Finds the header lines of a file whose lines mean what the last header before them says (docs/protocol.md, rule F59).

Owns which header holds at an offset, and how far the lines behind it were looked at: a reader goes no further, so that
each chunk has one header, whatever was there when it was read. Where a checkpoint says which header a range has,
nothing is searched for. Must never hold more of a file than one block, nor read a part of it twice for one chunk.
"""

import sys
from typing import Final

from logferry.client.files.lines.known_file import KnownFile
from logferry.model.format_names import HEADER_PREFIX, MAX_HEADER_CHARACTERS, has_header, without_header
from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import BOM
from logferry.rendering.registry import format_named

# How much is looked at for one chunk: as much as a chunk has at most.
_LOOK_BYTES: Final = 256 * 1024

# How much is searched at once, and at most, for the last header before an offset; then for one at the beginning.
_SEARCH_BYTES: Final = 1024 * 1024
_MAX_SEARCH_BYTES: Final = 64 * _SEARCH_BYTES

# A header line, behind the newline of the line before it. NULs at its beginning are a hole.
_MARK: Final = b"#Fields:"
_header: Final = compile_pattern(rb"\n\x00*+#Fields:([^\n]*+)(?=\n)")
_LONGEST_HEADER: Final = MAX_HEADER_CHARACTERS + 64

# A checkpoint keeps at most about this many headers of a source; the lines behind later ones are shipped whole.
_MOST_RENDERINGS: Final = 1000

# The format of lines that no header precedes, or one that cannot be used.
_NO_HEADER: Final = without_header(HEADER_PREFIX)


class HeaderLines:
    """The headers of one source, as far as its lines were looked at. The reading thread uses it."""

    __slots__ = ("_begin", "_format", "_stops", "_until", "source")

    def __init__(self, file: KnownFile) -> None:
        self.source = file.source
        self._begin = self._until = file.text_begin
        self._format = _NO_HEADER
        self._stops = False

    def at(self, file: KnownFile, offset: int, *, ends: bool) -> tuple[str, int, bool]:
        """Return the format of the line at an offset, up to where it holds, and whether another header is there.

        `ends` says that the file will have no other lines there. Raises OSError.
        """
        if self._begin <= offset < self._until:
            return self._format, self._until, self._stops
        if offset != self._until:
            self._format = self._before(file, offset)
        data = file.peek(offset, _LOOK_BYTES)
        has_too_many = len(file.source.renderings) >= _MOST_RENDERINGS
        if own := _header.match(b"\n" + (data.removeprefix(BOM) if not offset else data)):
            self._format = _NO_HEADER if has_too_many else _format_of(own[1])
        following = None if has_too_many or _MARK not in data else _header.search(data)
        whole = following.start() + 1 if following else data.rfind(b"\n") + 1
        self._begin, self._until, self._stops = offset, offset + whole, following is not None
        if following is None and (ends or (not whole and len(data) == _LOOK_BYTES)):
            return self._format, sys.maxsize, False  # all that there will be, or a single long line
        return self._format, self._until, self._stops

    def _before(self, file: KnownFile, offset: int) -> str:
        """Return the format that holds before an offset: what the checkpoint says, or what the lines there say."""
        renderings = file.source.renderings  # read once: the engine may replace the list in between
        known = [spec.format for start, spec in renderings if start < offset <= file.source.committed]
        if known and has_header(known[-1]):
            return known[-1]
        begin, otherwise = (self._until, self._format) if offset > self._until else (file.text_begin, _NO_HEADER)
        found = _last_header(file, begin, offset)
        return otherwise if found is None else _format_of(found)


def headers_of(file: KnownFile, end: int) -> list[tuple[int, str]]:
    """Return the formats that the headers of a file give to its lines before `end`, each with its first offset.

    Raises OSError.
    """
    found, choice, offset = list[tuple[int, str]](), HeaderLines(file), file.text_begin
    while offset < end:
        name, until, _ = choice.at(file, offset, ends=False)
        if not found or found[-1][1] != name:
            found.append((offset if found else 0, name))
        if until <= offset:
            break
        offset = min(until, offset + _LOOK_BYTES)
    return found


def _last_header(file: KnownFile, begin: int, end: int) -> bytes | None:
    """Search the lines between two offsets for the last header, the nearest block first, and then the first block."""
    lowest, stop = max(begin, end - _MAX_SEARCH_BYTES), end
    while stop > lowest:
        start = max(lowest, stop - _SEARCH_BYTES)
        if (found := _last_header_in(file, start, min(stop + _LONGEST_HEADER, end))) is not None:
            return found
        stop = start
    return _last_header_in(file, begin, min(begin + _SEARCH_BYTES, end)) if lowest > begin else None


def _last_header_in(file: KnownFile, start: int, end: int) -> bytes | None:
    data = file.peek(start, end - start)
    if start == file.text_begin:
        data = b"\n" + data.removeprefix(BOM)
    found = [match[1] for match in _header.finditer(data)] if _MARK in data else []
    return found[-1] if found else None


def _format_of(header: bytes) -> str:
    """Return the format of the lines that follow a header."""
    try:
        fields = " ".join(header.decode("ascii").split())
        if fields:
            format_named(f"{HEADER_PREFIX}{fields}")
    except ValueError:
        return _NO_HEADER
    return f"{HEADER_PREFIX}{fields}" if fields else _NO_HEADER
