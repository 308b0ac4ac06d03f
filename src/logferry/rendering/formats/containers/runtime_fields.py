"""Defines what the formats of container runtimes share: what a line of a container consists of, and its fields."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from logferry.rendering.engine.fields import Field, of_each, text
from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.levels import level_of_word
from logferry.rendering.engine.records import Texts
from logferry.rendering.partial_lines import PartSyntax

STREAM: Final = r"(?P<stream>stdout|stderr)"

# Group `word` of a line's pattern is the level that its message begins with (`levels.LEVEL_AHEAD`).
FIELDS: Final[tuple[Field, ...]] = (
    of_each("level", "word", level_of_word),
    text("message"),
    text("timestamp"),
    text("stream"),
)

# The time of a runtime that both runtimes write as JSON does, and a stream, as groups of a pattern of bytes.
TIME_CHARACTERS: Final = "[0-9TZ:.+-]++"


@dataclass(frozen=True, slots=True)
class ContainerLine:
    """What a container wrote, and what its runtime adds. `others` are fields, such as `partial`."""

    content: str
    timestamp: str
    stream: str
    others: Mapping[str, object]


# Writes the records of lines of containers: their contents, one per line, as the container wrote them, the byte that
# stands for newlines inside of them, and the runtime's times and streams. A record has no newline.
WriteRecords = Callable[[bytes, bytes, Texts, Texts], list[bytes]]


# What the compiled part takes out of lines: contents, one per line; a mark for each line (native/containers.h); all
# lines that it leaves to Python; the number of blank lines.
Taken = tuple[bytes, bytes, bytes, int]


class Runtime(Protocol):
    """A format of a container runtime, whose lines hold lines of another format."""

    name: str

    def part_syntax(self) -> PartSyntax:
        """Return how the runtime writes lines and their parts."""

    def line_of(self, text: str) -> ContainerLine | None:
        """Take the text of one event apart: the reference. None if the event does not have this format."""

    def take_contents(self, compiled: Any, data: bytes, inner_newline: bytes) -> tuple[Taken, bytes]:
        """Have the compiled part take contents out of lines; return also the byte for newlines inside."""

    def render_contents(
        self, data: bytes, inner_newline: bytes, write: WriteRecords, otherwise: Callable[[bytes], Rendered]
    ) -> Rendered:
        """Render events with `write`, except for unusual ones, and those that are blank inside.

        Only these go to `otherwise`: events as they are in `data`, except for carriage returns that end lines.
        """
