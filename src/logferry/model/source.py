"""A source: one file's life, from creation or truncation to its end, under whatever name."""

import os
from dataclasses import dataclass, field

from logferry.model.render_spec import RenderSpec


@dataclass(slots=True, eq=False)
class Source:
    """One file's life, from creation or truncation to its end, under whatever name.

    The reader makes it; the delivery engine moves `committed`, the offset up to which the server has stored it.
    """

    path: str
    id: str = field(default_factory=lambda: os.urandom(8).hex())
    device: int = 0
    inode: int = 0
    head: bytes = b""  # its first bytes, up to HEAD_BYTES, as they were when they were read
    committed: int = 0
    lines: int = 0  # stored up to there, and the CRC-32 of their NDJSON
    crc32: int = 0
    tail: bytes = b""  # the last bytes before `committed`, as they were when they were read
    plain_until: int = 0  # up to where it was shipped by the plain protocol
    is_finished: bool = False  # no more of it will be read: a batch run has ended, or its file is gone
    epoch: int = 0  # how often it was sent back: what was read in an earlier epoch does not count
    read_until: int = 0  # the furthest that was read of it, or is known to be lost
    renderings: list[tuple[int, RenderSpec]] = field(default_factory=list)  # from which offset on, what was sent how

    def go_to(self, committed: int, lines: int, crc32: int) -> None:
        """Take over what the server says of the source. What is before that offset was not read for it."""
        self.committed, self.lines, self.crc32 = committed, lines, crc32
        self.tail = b""
