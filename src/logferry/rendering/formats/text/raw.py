"""The raw format: every line is a message, whatever it looks like. There is no faster one."""

from typing import Final

from logferry import speedups
from logferry.rendering.engine.base import EscapedFormat, Rendered, render_unknown, unknown_fields
from logferry.rendering.engine.escape import with_plain_newlines


class RawFormat(EscapedFormat):
    """Lines that nobody looks into."""

    name = "raw"

    def render(self, data: bytes, joint: bytes) -> Rendered:
        """See Format."""
        if speedups.compiled:
            return Rendered(*speedups.compiled.render_raw(with_plain_newlines(data, joint), joint))
        return super().render(data, joint)

    def fields_of(self, text: str) -> dict[str, object]:
        """See EscapedFormat."""
        return unknown_fields(text)

    def render_escaped(self, escaped: bytes) -> Rendered:
        """See EscapedFormat."""
        return render_unknown(escaped)


RAW: Final = RawFormat()
