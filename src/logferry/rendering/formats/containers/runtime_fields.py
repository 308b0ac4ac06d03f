"""Defines what the formats of container runtimes share: the stream, and the fields of every line of a container."""

from typing import Final

from logferry.rendering.engine.fields import Field, of_each, text
from logferry.rendering.engine.levels import level_of_word

STREAM: Final = r"(?P<stream>stdout|stderr)"

# Group `word` of a line's pattern is the level that its message begins with (`levels.LEVEL_AHEAD`).
FIELDS: Final[tuple[Field, ...]] = (
    of_each("level", "word", level_of_word),
    text("message"),
    text("timestamp"),
    text("stream"),
)
