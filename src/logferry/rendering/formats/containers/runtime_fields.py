"""What the formats of container runtimes share: the stream, and the fields that every line of a container has."""

from typing import Final

from logferry.rendering.engine.fields import Field, of_each, text
from logferry.rendering.engine.levels import level_of_word

STREAM: Final = r"(?P<stream>stdout|stderr)"

# The pattern of a line has the level that its message begins with as group `word` (`levels.LEVEL_AHEAD`).
FIELDS: Final[tuple[Field, ...]] = (
    of_each("level", "word", level_of_word),
    text("message"),
    text("timestamp"),
    text("stream"),
)
