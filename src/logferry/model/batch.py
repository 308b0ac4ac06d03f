"""A batch: rendered lines of a source, the unit of delivery."""

from dataclasses import dataclass

from logferry import checksum
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source
from logferry.model.unknown_window import UnknownWindow


@dataclass(slots=True, eq=False)
class Batch:
    """The lines `[start, end)` of a source, rendered: the unit of delivery.

    A batch without lines only advances the source: past blank lines, or past bytes that will never arrive, for the
    reason in `lost`. Or it only reports the unknown window `unknown`, at the end of a source. `cut` says that the
    batch's only line was too long, and why. `rendering` is how the bytes became lines; a `split` batch does not begin
    at the beginning of an event, or the lines before it may have been rendered by other rules.
    """

    source: Source
    start: int
    end: int
    payload: bytes = b""
    lines: int = 0
    tail: bytes = b""
    epoch: int = 0
    lost: str = ""
    is_given_up: bool = False  # the file has the bytes in `lost`: so that nobody else can claim that they are lost
    is_skipped: bool = False  # nobody asked for the bytes in `lost`, or they are stored elsewhere
    cut: str = ""
    unknown: UnknownWindow | None = None
    rendering: RenderSpec | None = None
    split: bool = False
    rejected: int = 0  # how many lines the server will never store
    acked: int = 0  # how many of the first lines the server has answered
    is_done: bool = False
    times_sent: int = 0
    sent_at: float = 0.0
    known_crc32: int | None = None  # once computed

    @property
    def crc32(self) -> int:
        """The CRC-32 of the payload."""
        if self.known_crc32 is None:
            self.known_crc32 = checksum.crc32(self.payload)
        return self.known_crc32
