"""The plain format: lines of any program, read by its timestamp and its level (docs/protocol.md, rules F40 to F42).

A wrong level or timestamp is worse than none: a word is a level only if it is a known one, where the layouts of
well-known programs have the level. `plain_layouts` has these layouts. The compiled part renders the lines of the
commonest layout, and those that are certain to have no level; it leaves all others to Python.
"""

from functools import lru_cache
from typing import Final

from logferry import speedups
from logferry.rendering.engine.escape import escape_characters, with_plain_newlines
from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.gaps import with_gaps_filled
from logferry.rendering.engine.levels import UNKNOWN
from logferry.rendering.engine.line_format import LineFormat
from logferry.rendering.formats.text.plain_layouts import kinds_of


class PlainFormat(LineFormat):
    """Lines that may have a timestamp and a level. `levels` are words that are levels besides the known ones."""

    def __init__(self, levels: tuple[str, ...] = ()) -> None:
        super().__init__("plain", kinds_of(levels))
        self._has_own_levels = bool(levels)

    def recognises(self, text: str) -> bool:
        """See Format: a timestamp alone may be that of any format."""
        return self.fields_of(text)["level"] != UNKNOWN

    def is_typical(self, text: str) -> bool:
        """See Format: a line with a level right after its timestamp."""
        return self._kinds[0].fields_of(text) is not None

    def with_levels(self, levels: tuple[str, ...]) -> "PlainFormat":
        """See Format."""
        return _with_levels(levels) if levels else self

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format. Measured with benchmarks/formatter.py."""
        compiled = speedups.compiled
        if compiled is None or not hasattr(compiled, "render_certain"):
            return super().render(data, inner_newline)
        render = compiled.render_certain_of_own_levels if self._has_own_levels else compiled.render_certain
        payload, lines, blank, others, gaps = render(with_plain_newlines(data, inner_newline), inner_newline)
        if not others:
            return Rendered(payload, lines, blank)
        rest = self.render_escaped(escape_characters(others, inner_newline))
        return Rendered(with_gaps_filled(payload, rest.payload, gaps), lines + rest.lines, blank)


@lru_cache(maxsize=64)
def _with_levels(levels: tuple[str, ...]) -> PlainFormat:
    return PlainFormat(levels)


PLAIN: Final = PlainFormat()
