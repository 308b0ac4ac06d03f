"""The python format: what Python's logging writes with the formats that its documentation shows.

    WARNING:app.db:connection lost                                  logging.basicConfig()
    2024-01-15 08:23:45,123 - app.db - WARNING - connection lost    the "simple" formatter of the logging how-to
    2024-01-15 08:23:45,123 WARNING app.db: connection lost         a common variant
    WARNING:  connection lost                                       uvicorn

All other lines are read as in the plain format.
"""

from typing import Final

from logferry.rendering.engine.fields import always_null, level, text
from logferry.rendering.engine.levels import PYTHON_LEVELS
from logferry.rendering.engine.line_format import LineFormat, LineKind, ending_with_message
from logferry.rendering.engine.timestamps import ISO_8601
from logferry.rendering.formats.text.plain import PLAIN

# In capitals only: a word before a colon need not be a level.
_LEVEL: Final = f"(?P<level>{'|'.join(PYTHON_LEVELS)})"
_TIMESTAMP: Final = rf"(?P<timestamp>{ISO_8601})"

# Without characters that JSON would escape.
_LOGGER: Final = r'(?P<logger>[^\x00-\x20"\\:]++)'


def _kind(head: str) -> LineKind:
    """Return the kind of lines that begin with the pattern `head`; the rest of a line is the message."""
    timestamp = text("timestamp") if "<timestamp>" in head else always_null("timestamp")
    logger = [text("logger")] if "<logger>" in head else []
    return ending_with_message(head, [level(), text("message"), timestamp, *logger])


def python_format(otherwise: LineFormat) -> LineFormat:
    """Return the format; `otherwise` reads the lines of other kinds."""
    kinds = [
        _kind(rf"{_LEVEL}:{_LOGGER}:"),
        _kind(rf"{_TIMESTAMP} - {_LOGGER} - (?P<level>[A-Za-z]++) - "),
        _kind(rf"{_TIMESTAMP} {_LEVEL} {_LOGGER}: "),
        _kind(rf"{_LEVEL}: ++"),
    ]
    return LineFormat("python", kinds, otherwise=otherwise)


PYTHON: Final = python_format(PLAIN)
