"""A chunk: whole raw lines of a source, which a reader hands over for rendering."""

from dataclasses import dataclass

from logferry.model.render_spec import PLAIN, RenderSpec
from logferry.model.source import Source


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole raw lines `[start, end)` of a source; a `truncated` chunk is the kept beginning of one line.

    `is_incomplete` says that the line is truncated because its source has no more of it, not because it is too long.
    `nuls` counts the bytes of that range that are not in `data` because they are NULs at the beginning of a line.
    `tail` is the file's last bytes before `end`, as they were read. `epoch` counts how often the source was sent back.
    `rendering` says how to render the lines. `is_split` says that the first line may continue an event whose beginning
    has been rendered already: a timeout or the end of reading split the event.
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
    nuls: int = 0
    is_incomplete: bool = False
