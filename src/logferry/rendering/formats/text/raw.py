"""The raw format: every line is a message, whatever its content. It is the fastest format."""

from typing import Final

from logferry import speedups
from logferry.rendering.engine.escape import with_plain_newlines
from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.line_format import LineFormat


class RawFormat(LineFormat):
    """Lines that are not parsed: a LineFormat without kinds."""

    def __init__(self) -> None:
        super().__init__("raw", [])

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format."""
        if speedups.compiled:
            return Rendered(*speedups.compiled.render_raw(with_plain_newlines(data, inner_newline), inner_newline))
        return super().render(data, inner_newline)


RAW: Final = RawFormat()
