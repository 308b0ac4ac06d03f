r"""The cri format: what containerd and CRI-O write (docs/protocol.md, rules F26 and F27).

    2024-01-15T08:23:45.123456789Z stdout F message

The runtime splits a long line into parts, with tag P instead of F. `partial_lines` joins the parts before lines get
here, so each line is an event. A line that is still a part is an event whose rest is missing; its record is marked
`"partial": true`. A level word at the beginning of the message becomes the level. The timestamp is the runtime's.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from logferry import speedups
from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import NEWLINE, escape_characters, with_plain_newlines
from logferry.rendering.engine.fields import flag
from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.levels import LEVEL_AHEAD
from logferry.rendering.engine.line_format import LineFormat, LineKind
from logferry.rendering.engine.records import Columns, LinePattern, Texts, Written
from logferry.rendering.engine.timestamps import RFC_3339
from logferry.rendering.formats.containers.records import render_taken
from logferry.rendering.formats.containers.runtime_fields import FIELDS, STREAM, ContainerLine, Taken, WriteRecords
from logferry.rendering.formats.text.raw import RAW
from logferry.rendering.partial_lines import Part, PartSyntax

# An empty message may come without the space before it.
_KIND: Final = LineKind(
    rf"(?P<timestamp>{RFC_3339}) {STREAM} (?:F|(?P<partial>P))(?: |\Z){LEVEL_AHEAD}(?P<message>.*+)",
    rf"(?P<timestamp>{RFC_3339}) {STREAM} (?:F|(?P<partial>P)) {LEVEL_AHEAD}(?P<message>[^\n]*+)",
    [*FIELDS, flag("partial")],
)


_line: Final = compile_pattern(
    rf"(?P<timestamp>{RFC_3339}) {STREAM} (?P<tag>[FP])(?: (?P<content>.*+))?+", re.DOTALL | re.ASCII
)


class _CriParts:
    """The parts of lines of the Container Runtime Interface. A split may fall inside a character."""

    candidate = compile_pattern(rb"std(?:out|err) P")
    _line: Final = compile_pattern(
        rf"(?P<begin>{RFC_3339} {STREAM} )(?P<tag>[FP])(?: (?P<content>[^\n]*+)|\r?+)\n".encode()
    )

    def has_no_parts(self, data: bytes) -> bool:
        """See PartSyntax."""
        return speedups.compiled is not None and speedups.compiled.cri_are_whole(data)

    def part_of(self, line: bytes) -> Part | None:
        """See PartSyntax."""
        match = self._line.fullmatch(line)
        if match is None:
            return None
        return Part(match["stream"], match["begin"], match["content"] or b"", b"", is_last=match["tag"] == b"F")

    def joined(self, parts: list[Part]) -> bytes:
        """See PartSyntax."""
        tag = b"F " if parts[-1].is_last else b"P "
        return b"".join([parts[0].begin, tag, *(part.content for part in parts), b"\n"])

    def text_of(self, content: bytes) -> str:
        """See PartSyntax."""
        return content.decode("utf-8", "surrogateescape")

    def newline_within(self, data: bytes, candidates: bytes) -> tuple[bytes | None, bytes]:
        """See PartSyntax."""
        free = next((bytes([code]) for code in candidates if code not in data), None)
        return free, free or NEWLINE


# A whole line with something in it, for the formats inside. Carriage returns would end lines there once more.
_USUAL_CONTENT: Final = (
    rf"(?P<timestamp>{RFC_3339}) {STREAM} F (?P<content>(?=[ \t\v\f]*+[^ \t\v\f\r\n])[^\r\n]*+)(?!\r)"
)


class CriFormat(LineFormat):
    """Lines of the Container Runtime Interface."""

    def __init__(self) -> None:
        super().__init__("cri", [_KIND])

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format."""
        if speedups.compiled is None:
            return super().render(data, inner_newline)

        def otherwise(left: bytes) -> Rendered:
            return self.render_escaped(escape_characters(left, inner_newline))

        taken, newline_inside = self.take_contents(speedups.compiled, data, inner_newline)
        return render_taken(speedups.compiled, taken, partial(RAW.render, inner_newline=newline_inside), otherwise)

    def line_of(self, text: str) -> ContainerLine | None:
        """See Runtime."""
        match = _line.fullmatch(text)
        if match is None:
            return None
        others = {"partial": True} if match["tag"] == "P" else {}
        return ContainerLine(match["content"] or "", match["timestamp"], match["stream"], others)

    def take_contents(self, compiled: Any, data: bytes, inner_newline: bytes) -> tuple[Taken, bytes]:
        """See Runtime."""
        return compiled.cri_contents(with_plain_newlines(data, inner_newline), inner_newline), inner_newline

    def render_contents(
        self, data: bytes, inner_newline: bytes, write: WriteRecords, otherwise: Callable[[bytes], Rendered]
    ) -> Rendered:
        """See Runtime."""

        def written(contents: Texts, times: Texts, streams: Texts) -> Written:
            return Written(write(b"\n".join(contents) + b"\n", inner_newline, times, streams))

        record = (Columns(("content", "timestamp", "stream"), written), b"\n")
        pattern = LinePattern(_USUAL_CONTENT, record, is_one_line=True)
        return pattern.render(with_plain_newlines(data, inner_newline), otherwise)

    def part_syntax(self) -> PartSyntax:
        """See Runtime."""
        return _CriParts()


CRI: Final = CriFormat()
