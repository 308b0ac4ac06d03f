"""The plain format: a timestamp, a level, and the rest (docs/protocol.md, rules F1 to F5)."""

import re
from typing import Final

from logferry import speedups
from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.base import EscapedFormat, Rendered, render_unknown, unknown_fields
from logferry.rendering.engine.escape import with_plain_newlines
from logferry.rendering.engine.records import Shape, upper_levels

# `YYYY-MM-DD HH:MM:SS`, `T` or space, optional fraction, optional zone. ASCII digits only.
TIMESTAMP: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]++)?+"
    r"(?: ?+(?:Z|UTC|GMT|[+-][0-9]{2}(?::?+[0-9]{2})?+)(?![A-Za-z0-9]))?+"
)
_LEVEL: Final = r"\[[A-Za-z]++\]|[A-Za-z]++:?+"

_line: Final = compile_pattern(rf"({TIMESTAMP})(?: ++|\t)({_LEVEL})(?:[ \t\n]|\Z)(.*)", re.DOTALL)

# After escaping: a separating tab has become backslash and t, a newline before a joined line backslash and n.
_SHAPE: Final = Shape(
    rf"({TIMESTAMP})(?: ++|\\t)({_LEVEL})(?: |\\[tn]|(?=\n))([^\n]*+)",
    (b'{"level": "', 2, b'", "message": "', 3, b'", "timestamp": "', 1, b'"}\n'),
    {2: upper_levels},
)


class PlainFormat(EscapedFormat):
    """Lines that begin with a timestamp and a level."""

    name = "plain"

    def render(self, data: bytes, joint: bytes) -> Rendered:
        """See Format; 20 million 100-byte lines a second where _speedups.c is compiled."""
        if speedups.compiled:
            return Rendered(*speedups.compiled.render_plain(with_plain_newlines(data, joint), joint))
        return super().render(data, joint)

    def fields_of(self, text: str) -> dict[str, object]:
        """See EscapedFormat."""
        match = _line.fullmatch(text)
        if match is None:
            return unknown_fields(text)
        return {"level": match[2].strip("[]:").upper(), "message": match[3], "timestamp": match[1]}

    def render_escaped(self, escaped: bytes) -> Rendered:
        """See EscapedFormat; 2 million 100-byte lines a second on CPython 3.11 to 3.13 (benchmarks/formatter.py)."""
        return _SHAPE.render(escaped, render_unknown)


PLAIN: Final = PlainFormat()
