"""The plain format: lines of any program, read by its timestamp and its level (docs/protocol.md, rules F40 to F42).

A wrong level or timestamp is worse than none: a word is a level only if it is a known one, where the layouts of
well-known programs have the level. `plain_layouts` has these layouts. The compiled part knows the commonest layout, and
which lines are certain to have no level; it renders all others by the program that is made of the layouts.
"""

from functools import lru_cache
from typing import Final

from logferry import speedups
from logferry.rendering.engine.escape import with_plain_newlines
from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.levels import UNKNOWN
from logferry.rendering.engine.line_format import LineFormat
from logferry.rendering.formats.text.plain_layouts import kinds_of

# To make the program takes as long as Python takes for this many lines of rare layouts.
_MANY_LINES: Final = 5000


class PlainFormat(LineFormat):
    """Lines that may have a timestamp and a level. `levels` are words that are levels besides the known ones."""

    def __init__(self, levels: tuple[str, ...] = ()) -> None:
        super().__init__("plain", kinds_of(levels))
        self._has_own_levels = bool(levels)
        # The program of all layouts, once it is worth its making: most files have no line that needs it. Threads may
        # count a line less; what they render is the same.
        self._rare_lines = 0
        self._rare_layouts: object | None = None

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
        if compiled is None:
            return super().render(data, inner_newline)
        lines = with_plain_newlines(data, inner_newline)
        rendered = compiled.render_plain_2(lines, inner_newline, self._has_own_levels, self._rare_layouts)
        if self._rare_layouts is None and rendered[3]:
            self._rare_lines += rendered[3].count(b"\n")
            if self._rare_lines > _MANY_LINES:
                self._rare_layouts = self._program
                return self.render(data, inner_newline) if self._rare_layouts else self._with_rest(*rendered)
        return self._with_rest(*rendered)


@lru_cache(maxsize=64)
def _with_levels(levels: tuple[str, ...]) -> PlainFormat:
    return PlainFormat(levels)


PLAIN: Final = PlainFormat()
