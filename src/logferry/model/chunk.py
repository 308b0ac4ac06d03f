"""A chunk: whole raw lines of a source, as a reader hands them over to be rendered."""

from dataclasses import dataclass

from logferry.model.render_spec import PLAIN, RenderSpec
from logferry.model.source import Source


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole raw lines `[start, end)` of a source; a `truncated` one is the kept beginning of one long line.

    `tail` are the file's last bytes before `end`, as they were read. `epoch` counts how often the source was sent back.
    `rendering` says how the lines are to be rendered; `is_split` that the first of them may continue what was rendered
    before: the event that it belongs to was cut by time, or by an end of reading.
    """

    source: Source
    start: int
    end: int
    data: bytes
    truncated: bool = False
    tail: bytes = b""
    epoch: int = 0
    rendering: RenderSpec = PLAIN
    is_split: bool = False
