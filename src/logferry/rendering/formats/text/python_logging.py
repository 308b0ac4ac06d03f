"""The python format: what Python's logging writes when it is set up as its documentation shows.

    WARNING:app.db:connection lost                                  logging.basicConfig()
    2024-01-15 08:23:45,123 - app.db - WARNING - connection lost    the "simple" formatter of the logging how-to
    2024-01-15 08:23:45,123 WARNING app.db: connection lost         a common way to write it
    WARNING:  connection lost                                       uvicorn

Any other line with a timestamp and a level is read as in the plain format, and the rest is shipped whole (rule F5).
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.base import EscapedFormat, Rendered
from logferry.rendering.engine.records import Shape, upper_levels
from logferry.rendering.formats.text.plain import PLAIN, TIMESTAMP

# In capitals only: a word before a colon need not be a level.
_LEVELS: Final = "NOTSET|TRACE|DEBUG|INFO|SUCCESS|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL"

# Nothing in it that JSON would escape.
_LOGGER: Final = r'[^\x00-\x20"\\:]++'

_HEADS: Final = [
    rf"(?P<level>{_LEVELS}):(?P<logger>{_LOGGER}):",
    rf"(?P<timestamp>{TIMESTAMP}) - (?P<logger>{_LOGGER}) - (?P<level>[A-Za-z]++) - ",
    rf"(?P<timestamp>{TIMESTAMP}) (?P<level>{_LEVELS}) (?P<logger>{_LOGGER}): ",
    rf"(?P<level>{_LEVELS}): ++",
]
_texts: Final = [compile_pattern(rf"{head}(?P<message>.*+)", re.DOTALL) for head in _HEADS]


class PythonFormat(EscapedFormat):
    """Lines that Python's logging has written."""

    name = "python"

    def fields_of(self, text: str) -> dict[str, object]:
        """See EscapedFormat."""
        match = next(filter(None, (pattern.fullmatch(text) for pattern in _texts)), None)
        if match is None:
            return PLAIN.fields_of(text)
        found = match.groupdict()
        fields = {"level": match["level"].upper(), "message": match["message"], "timestamp": found.get("timestamp")}
        return fields | ({"logger": match["logger"]} if "logger" in found else {})

    def recognises(self, text: str) -> bool:
        """See Format: what is read as in the plain format is of that format."""
        return any(pattern.fullmatch(text) for pattern in _texts)

    def render_escaped(self, escaped: bytes) -> Rendered:
        """See EscapedFormat."""
        render: Callable[[bytes], Rendered] = PLAIN.render_escaped
        for shape in reversed(_SHAPES):
            render = partial(shape.render, otherwise=render)
        return render(escaped)


PYTHON: Final = PythonFormat()


def _shape(head: str) -> Shape:
    pattern = rf"{head}(?P<message>[^\n]*+)"
    group = compile_pattern(pattern).groupindex
    template: list[bytes | int] = [b'{"level": "', group["level"], b'", "message": "', group["message"]]
    template += [b'", "timestamp": "', group["timestamp"], b'"'] if "timestamp" in group else [b'", "timestamp": null']
    template += [b', "logger": "', group["logger"], b'"'] if "logger" in group else []
    return Shape(pattern, [*template, b"}\n"], {group["level"]: upper_levels})


_SHAPES: Final = [_shape(head) for head in _HEADS]
