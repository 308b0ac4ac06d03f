"""Formats whose lines have many layouts: patterns for whole chunks are made when lines need them.

The lines of one program have few layouts. Each is learned from a line that no pattern matched so far, as the reference
reads it. What was learned changes nothing but the speed.
"""

from abc import abstractmethod
from collections.abc import Collection, Hashable, Iterable
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final

from logferry.rendering.engine.base import AFTER_UNKNOWN, BEFORE_UNKNOWN, Format, Rendered
from logferry.rendering.engine.escape import escape_texts, with_plain_newlines, without_blank_lines
from logferry.rendering.engine.records import Edit, Shape

# How many layouts are tried on one chunk, how many lines are looked at to find one, and how few are not worth it.
_MAX_LAYOUTS: Final = 6
_SAMPLE_LINES: Final = 4
_FEW_LINES: Final = 8


# A pattern, and what is written for what it matches: that itself (None), something else, or what an edit makes of it.
Piece = tuple[str, bytes | Edit | None]


class LearningFormat(Format):
    """A format that finds its fields in raw lines; `text_line` matches lines that certainly are not as it wants."""

    text_line: str

    @abstractmethod
    def layout_of(self, text: str) -> Hashable | None:
        """Return the layout of the text of one event; None if no pattern would match it."""

    @abstractmethod
    def shape_of(self, layout: Hashable) -> Shape:
        """Return the shape of the lines of a layout; never one of a line that `record_of` reads otherwise."""

    def render(self, data: bytes, joint: bytes) -> Rendered:
        """See Format."""
        lines, blank = without_blank_lines(with_plain_newlines(data, joint), is_escaped=False)
        rendered = self._render_lines(lines, joint, ())
        return Rendered(rendered.payload, rendered.lines, blank)

    def _render_lines(self, lines: bytes, joint: bytes, tried: tuple[Hashable, ...]) -> Rendered:
        """Render lines that are not blank, and match no pattern of the layouts tried."""
        layout = self._common_layout(lines) if len(tried) < _MAX_LAYOUTS else None
        if layout is None or layout in tried:
            texts = Shape(self.text_line, (BEFORE_UNKNOWN, 1, AFTER_UNKNOWN), {1: partial(escape_texts, joint=joint)})
            return texts.render(lines, partial(self._one_by_one, joint=joint))
        return self.shape_of(layout).render(lines, partial(self._render_lines, joint=joint, tried=(*tried, layout)))

    def _common_layout(self, lines: bytes) -> Hashable | None:
        """Return the layout of the first lines that have one; None if that is not worth while."""
        if lines.count(b"\n") < _FEW_LINES:
            return None
        samples = lines.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]
        found = (self.layout_of(sample.decode()) for sample in samples)
        return next((layout for layout in found if layout is not None), None)

    def _one_by_one(self, lines: bytes, joint: bytes) -> Rendered:
        newline = joint.decode()
        records = [self.record_of(line.replace(newline, "\n")) for line in lines.decode().split("\n")[:-1]]
        return Rendered("".join(record + "\n" for record in records).encode(), len(records))


def composed(pieces: Iterable[Piece], sources: Collection[str]) -> Shape:
    """Return the shape of lines that consist of these pieces, and have the fields `sources` of the three."""
    has_message = "message" in sources
    groups = 0 if has_message else 1  # group 1 is the whole line
    edits: dict[int, Edit] = {} if has_message else {1: escape_texts}
    template: list[bytes | int] = [b"{"]
    template += [] if "level" in sources else [b'"level": "UNKNOWN", ']
    template += [] if has_message else [b'"message": "', 1, b'", ']
    template += [] if "timestamp" in sources else [b'"timestamp": null, ']
    line = ""
    for written, run in groupby(pieces, key=itemgetter(1)):
        pattern = "".join(pattern for pattern, _ in run)
        if isinstance(written, bytes):
            line += pattern
            template.append(written)
            continue
        groups += 1
        line += f"({pattern})"
        template.append(groups)
        if written:
            edits[groups] = written
    pattern = line if has_message else f"({line})"
    return Shape(pattern, [*template, b"}\n"], edits)
