"""A batch: rendered lines of a source, the unit of delivery."""

from dataclasses import dataclass

from logferry import checksum
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source


@dataclass(slots=True, eq=False)
class Batch:
    """The lines `[start, end)` of a source, rendered: the unit of delivery.

    Without lines it only moves the source on: blank lines, or bytes that will never come, for the reason in `lost`.
    `cut` says that its one line was too long. `rendering` is how its bytes became lines; a `split` batch does not begin
    where an event begins.
    """

    source: Source
    start: int
    end: int
    payload: bytes = b""
    lines: int = 0
    tail: bytes = b""
    epoch: int = 0
    lost: str = ""
    cut: str = ""
    rendering: RenderSpec | None = None
    split: bool = False
    acked: int = 0  # how many of its first lines the server has answered
    is_done: bool = False
    times_sent: int = 0
    sent_at: float = 0.0
    known_crc32: int | None = None  # once it was asked for

    @property
    def crc32(self) -> int:
        """The CRC-32 of the payload."""
        if self.known_crc32 is None:
            self.known_crc32 = checksum.crc32(self.payload)
        return self.known_crc32
