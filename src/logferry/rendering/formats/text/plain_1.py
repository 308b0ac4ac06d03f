"""The plain format by rules 1: a timestamp, any word, and a message (docs/protocol.md, rules F1 to F5)."""

from typing import Final

from logferry import speedups
from logferry.rendering.engine.escape import with_plain_newlines
from logferry.rendering.engine.fields import level, text
from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.levels import LEVEL_WORDS
from logferry.rendering.engine.line_format import LineFormat, LineKind
from logferry.rendering.engine.timestamps import ISO_8601

_TIMESTAMP: Final = rf"(?P<timestamp>{ISO_8601})"
_LEVEL: Final = r"(?P<level>\[[A-Za-z]++\]|[A-Za-z]++:?+)"

# In escaped text, a tab that separates is backslash and t, and a newline before a joined line is backslash and n.
_KIND: Final = LineKind(
    rf"{_TIMESTAMP}(?: ++|\t){_LEVEL}(?:[ \t\n]|\Z)(?P<message>.*)",
    rf"{_TIMESTAMP}(?: ++|\\t){_LEVEL}(?: |\\[tn]|(?=\n))(?P<message>[^\n]*+)",
    [level(), text("message"), text("timestamp")],
    is_exact=True,
)


class PlainFormat(LineFormat):
    """Lines that begin with a timestamp and a level."""

    def __init__(self) -> None:
        super().__init__("plain", [_KIND])

    def recognises(self, text: str) -> bool:
        """See Format: a word after a timestamp need not be a level; it may be a host or part of a message."""
        return self.fields_of(text)["level"] in (*LEVEL_WORDS, "INFORMATION")

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format. Throughput in lines of 100 bytes a second: 20 million with the compiled part, else 2 million.

        Measured on CPython 3.11 to 3.13 with benchmarks/formatter.py.
        """
        if speedups.compiled:
            lines = with_plain_newlines(data, inner_newline)
            return Rendered(*speedups.compiled.render_plain(lines, inner_newline))
        return super().render(data, inner_newline)


PLAIN: Final = PlainFormat()
