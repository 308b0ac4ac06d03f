"""Base of the formats whose lines have many layouts (json, logfmt): patterns for whole chunks are made on demand.

The lines of one program have few layouts. For a line that no pattern has matched yet, the format reads the layout from
the line, as the reference does, and makes a pattern from the layout. Patterns must never change anything but the speed.
The compiled part, where there is one, renders what it reads with certainty, and leaves only other lines to patterns.
"""

from abc import abstractmethod
from collections.abc import Collection, Hashable, Iterable, Mapping
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final

from logferry import speedups
from logferry.rendering.engine.escape import NEWLINE, escape_texts, with_plain_newlines, without_blank_lines
from logferry.rendering.engine.format import AFTER_UNKNOWN, BEFORE_UNKNOWN, Format, Rendered
from logferry.rendering.engine.gaps import with_gaps_filled
from logferry.rendering.engine.levels import UNKNOWN
from logferry.rendering.engine.records import Column, Edit, LinePattern, Texts, Written

# At most this many layouts are tried on one chunk.
_MAX_LAYOUTS: Final = 6

# At most this many lines are read to find one layout.
_SAMPLE_LINES: Final = 4

# Fewer lines than this go one by one: finding their layout would cost more.
_FEW_LINES: Final = 8

# What may stand between the quotes of a JSON string, without escapes and with them.
PLAIN_CHARACTERS: Final = r'[^"\\\x00-\x1f]*+'
INSIDE_STRING: Final = rf'{PLAIN_CHARACTERS}(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{{4}}){PLAIN_CHARACTERS})*+'

# A part of a line's pattern, and what the record gets for the text that it matches: the text itself (None), other
# bytes, or the result of an edit.
Piece = tuple[str, bytes | Edit | None]


class LayoutFormat(Format):
    """A format that finds its fields in raw lines, by their layout.

    `unstructured_line` is a pattern with one group, the whole line. It matches only lines that cannot have the format.
    """

    unstructured_line: str

    # The function of the compiled part that renders the lines whose reading is certain, if there is one.
    compiled_name = ""

    @abstractmethod
    def layout_of(self, text: str) -> Hashable | None:
        """Return the layout of the text of one event; None if no pattern would match it."""

    @abstractmethod
    def pattern_of(self, layout: Hashable) -> LinePattern:
        """Return the pattern of the lines of a layout; it never matches a line that `record_of` reads otherwise."""

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format. Measured with benchmarks/formatter.py."""
        compiled = getattr(speedups.compiled, self.compiled_name, None)
        if compiled is None:
            return self._render_by_layouts(data, inner_newline)
        payload, lines, blank, others, gaps = compiled(with_plain_newlines(data, inner_newline), inner_newline)
        if not others:
            return Rendered(payload, lines, blank)
        rest = self._render_lines(others, inner_newline, ())
        return Rendered(with_gaps_filled(payload, rest.payload, gaps), lines + rest.lines, blank)

    def _render_by_layouts(self, data: bytes, inner_newline: bytes) -> Rendered:
        lines, blank = without_blank_lines(with_plain_newlines(data, inner_newline), is_escaped=False)
        rendered = self._render_lines(lines, inner_newline, ())
        return Rendered(rendered.payload, rendered.lines, blank)

    def _render_lines(self, lines: bytes, inner_newline: bytes, tried: tuple[Hashable, ...]) -> Rendered:
        """Render lines that are not blank and match none of the patterns tried so far."""
        layout = self._common_layout(lines) if len(tried) < _MAX_LAYOUTS else None
        if layout is None or layout in tried:
            escaped = partial(_escaped, inner_newline=inner_newline)
            record = (BEFORE_UNKNOWN, Column(1, escaped), AFTER_UNKNOWN)
            unstructured = LinePattern(self.unstructured_line, record, is_one_line=True)
            return unstructured.render(lines, partial(self._one_by_one, inner_newline=inner_newline))
        render_rest = partial(self._render_lines, inner_newline=inner_newline, tried=(*tried, layout))
        return self.pattern_of(layout).render(lines, render_rest)

    def _common_layout(self, lines: bytes) -> Hashable | None:
        """Return the layout of the first line that has one; None if a layout is not found or not worth finding."""
        if lines.count(b"\n") < _FEW_LINES:
            return None
        samples = lines.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]
        found = (self.layout_of(sample.decode()) for sample in samples)
        return next((layout for layout in found if layout is not None), None)

    def _one_by_one(self, lines: bytes, inner_newline: bytes) -> Rendered:
        text_newline = inner_newline.decode()
        records = [self.record_of(line.replace(text_newline, "\n")) for line in lines.decode().split("\n")[:-1]]
        return Rendered("".join(record + "\n" for record in records).encode(), len(records))


def composed(
    pieces: Iterable[Piece], sources: Collection[str], converted: Mapping[str, tuple[str, Edit]] | None = None
) -> LinePattern:
    """Return the pattern of lines that consist of these pieces and have the common keys `sources`.

    `converted` has the common keys whose values are made from the text of a named group, which a piece must have; the
    result of an edit is JSON.
    """
    front: dict[str, list[bytes | Column]] = {
        key: [f'"{key}": '.encode(), Column(group, edit), b", "] for key, (group, edit) in (converted or {}).items()
    }
    has_message = "message" in sources
    groups = 0 if has_message else 1  # group 1 is the whole line
    record: list[bytes | Column] = [b"{"]
    record += [] if "level" in sources else front.get("level", [b'"level": "%b", ' % UNKNOWN.encode()])
    record += [] if has_message else [b'"message": "', Column(1, _escaped), b'", ']
    record += [] if "timestamp" in sources else front.get("timestamp", [b'"timestamp": null, '])
    line = ""
    for written, run in groupby(pieces, key=itemgetter(1)):
        pattern = "".join(pattern for pattern, _ in run)
        if isinstance(written, bytes):
            line += pattern
            record.append(written)
            continue
        groups += 1
        line += f"({pattern})"
        record.append(Column(groups, written))
        groups += pattern.count("(?P<")
    return LinePattern(line if has_message else f"({line})", [*record, b"}\n"], is_one_line=True)


def _escaped(texts: Texts, inner_newline: bytes = NEWLINE) -> Written:
    return Written(escape_texts(texts, inner_newline))
