"""Which lines of a file differ from what a server has stored, and how, for extents that do not agree.

Reads both sides forward, a chunk at a time: the file, rendered again as it was when it was shipped, and what the
server's disk has. Where they differ, it looks ahead for a place where they agree again. Memory is bounded, whatever the
size of an extent, and so is work: after MAX_PROBLEMS in a run of extents, the rest is one problem.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.files.lines.line_splitter import splitter_for
from logferry.client.readers.rerender import Renderings, chunks_up_to, lines_in, rendered_chunk
from logferry.model.chunk import Chunk
from logferry.model.format_names import joins_lines
from logferry.protocol.messages.reports import Extent
from logferry.rendering.renderer import renderer

MAX_PROBLEMS: Final = 1000

# How far to look for a place where both sides agree again.
_LOOK_AHEAD: Final = 1000
_LOOK_AHEAD_BYTES: Final = 4 * 1024 * 1024

# Of a line, at most this much is kept for the user.
_MAX_TEXT_BYTES: Final = 4096

Kind = Literal["altered", "missing", "extra"]


@dataclass(slots=True)
class LineProblem:
    """Lines `first` to `last` of the file, as `sed -n` counts them, and what is wrong with them on the server.

    altered: the server has `found` instead of `expected`. missing: it does not have them. extra: it has `found` before
    line `first`, which is not in the file. The texts are the beginning of one rendered line; they are empty unless they
    were requested, and for a problem of several lines.
    """

    kind: Kind
    first: int
    last: int
    expected: str = ""
    found: str = ""


@dataclass(slots=True)
class Run:
    """Extents of a file, one after the other, none of which agrees; the first one begins with line `first_line`."""

    first_line: int
    extents: list[Extent] = field(default_factory=list)


def line_problems(
    file: SourceFile, run: Run, renderings: Renderings, stored: Iterable[bytes], *, with_text: bool
) -> list[LineProblem]:
    """Compare the lines of a run with the bytes that the server has of it. Raises SourceError.

    `file` is left somewhere. `stored` is consumed lazily.
    """
    file.rewind(run.extents[0].start)
    comparison = _LineComparison(_Stored(iter(stored)), run.first_line, with_text=with_text)
    for chunk in chunks_up_to(file, run.extents[-1].end, renderings):
        comparison.compare(chunk)
    comparison.finish()
    return comparison.problems


class _Stored:
    """What the server has, read forward."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = bytearray()

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size and (piece := next(self._pieces, b"")):
            self._buffer += piece

    def takes(self, expected: bytes) -> bool:
        """Whether exactly this comes next; if so, move behind it."""
        self._fill(len(expected))
        if not self._buffer.startswith(expected):
            return False
        del self._buffer[: len(expected)]
        return True

    def lines(self, count: int) -> list[bytes]:
        """Return the next lines without moving, at most `count` of them."""
        self._fill(_LOOK_AHEAD_BYTES)
        return [match[0] for match in islice(_line.finditer(self._buffer), count)]

    def drop(self, lines: Sequence[bytes]) -> None:
        """Move behind these lines, which `lines` has returned."""
        del self._buffer[: sum(map(len, lines))]


_line: Final = re.compile(rb"[^\n]*\n|[^\n]+\Z")


class _LineComparison:
    """Compares chunk after chunk, and records problems."""

    def __init__(self, stored: _Stored, first_line: int, *, with_text: bool) -> None:
        self._stored = stored
        self._with_text = with_text
        self._line = first_line  # of the next chunk
        self._expected: deque[tuple[int, bytes]] = deque()  # not compared yet, each with its line in the file
        self._is_lost = False  # there are too many problems: what follows is not compared
        self.problems: list[LineProblem] = []

    @property
    def _is_at_end(self) -> bool:
        """Whether the server has nothing more."""
        return not self._stored.lines(1)

    def compare(self, chunk: Chunk) -> None:
        """Compare the next chunk."""
        line, self._line = self._line, self._line + lines_in(chunk)
        if self._is_lost or (self._is_at_end and not self._expected and not self._with_text):
            self._add("missing" if self._is_at_end else "altered", line, self._line - 1)
        elif self._expected or not self._stored.takes(rendered_chunk(chunk).payload):
            for number, payload in _events(chunk, line):
                self._expected.extend((number, each) for each in payload.splitlines(keepends=True))
                self._match(is_end=False)

    def finish(self) -> None:
        """Compare what is left, after the last chunk."""
        self._match(is_end=True)
        extra = [] if self._is_lost else self._stored.lines(MAX_PROBLEMS)
        for line in extra:
            self._add("extra", self._line, self._line, found=line)

    def _match(self, *, is_end: bool) -> None:
        while self._expected and not self._is_lost:
            line = self._expected[0][1]
            if self._stored.takes(line):
                self._expected.popleft()
            elif is_end or len(self._expected) >= _LOOK_AHEAD:
                self._resolve()
            elif self._is_at_end:
                self._drop_expected(len(self._expected))
            else:
                return
        if self._is_lost and self._expected:
            self._add("missing" if self._is_at_end else "altered", self._expected[0][0], self._expected[-1][0])
            self._expected.clear()

    def _resolve(self) -> None:
        """Record how both sides differ up to the nearest place where they agree again."""
        stored = self._stored.lines(_LOOK_AHEAD)
        expected, found = _next_agreement([line for _, line in islice(self._expected, _LOOK_AHEAD)], stored)
        pairs = min(expected, found)
        for line in stored[:pairs]:
            number, wanted = self._expected.popleft()
            self._add("altered", number, number, expected=wanted, found=line)
        for line in stored[pairs:found]:
            number = self._expected[0][0] if self._expected else self._line
            self._add("extra", number, number, found=line)
        self._stored.drop(stored[:found])
        self._drop_expected(expected - pairs)

    def _drop_expected(self, count: int) -> None:
        for _ in range(count):
            number, line = self._expected.popleft()
            self._add("missing", number, number, expected=line)

    def _add(self, kind: Kind, first: int, last: int, *, expected: bytes = b"", found: bytes = b"") -> None:
        """Record a problem; without texts, join it with the one before."""
        before = self.problems[-1] if self.problems else None
        joins = self._is_lost or not self._with_text
        if before and joins and before.kind == kind and kind != "extra" and first <= before.last + 1:
            before.last = max(before.last, last)
            return
        texts = (_text(expected), _text(found)) if self._with_text else ("", "")
        self.problems.append(LineProblem(kind, first, last, *texts))
        self._is_lost = len(self.problems) >= MAX_PROBLEMS


def _next_agreement(expected: Sequence[bytes], stored: Sequence[bytes]) -> tuple[int, int]:
    """Return how many lines of each side come before the nearest line that both have; none: one line of each."""
    places: dict[bytes, int] = {}
    for place, line in enumerate(stored):
        places.setdefault(line, place)
    agreements = [(place, places[line]) for place, line in enumerate(expected) if line in places]
    return min(agreements, key=sum, default=(1, min(1, len(stored))))


def _text(line: bytes) -> str:
    return line[:_MAX_TEXT_BYTES].rstrip(b"\n").decode("utf-8", "backslashreplace")


def _events(chunk: Chunk, line: int) -> Iterator[tuple[int, bytes]]:
    """Yield what each event of a chunk renders to, with the number of its first line, counted from `line`."""
    if chunk.truncated:
        yield line, rendered_chunk(chunk).payload
        return
    is_start = chunk.start == 0
    for event in _raw_events(chunk):
        yield line, renderer(chunk.rendering).render(event, is_start=is_start).payload
        line += event.count(b"\n")
        is_start = False


def _raw_events(chunk: Chunk) -> Iterator[bytes]:
    spec, data = chunk.rendering, chunk.data
    if not spec.multiline and not joins_lines(spec.format):
        yield from (match[0] for match in _line.finditer(data))
        return
    while data:
        piece = splitter_for(spec).split(data, starts_event=True, max_lines=1, has_more=False, is_settled=True)
        size = piece.length if piece else len(data)
        yield data[:size]
        data = data[size:]
