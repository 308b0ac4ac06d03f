"""A source: the life of one file, from creation or truncation to its end, under whatever name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from logferry.model.holdings import Held, Holdings
from logferry.model.render_spec import RenderSpec


class Acked(NamedTuple):
    """What was acked of a source: the CRC-32 of its NDJSON up to `committed`, and how that was rendered."""

    committed: int
    crc32: int
    renderings: Sequence[tuple[int, RenderSpec]]


@dataclass(slots=True, eq=False)
class Source:
    """The life of one file, from creation or truncation to its end, under whatever name.

    The reader creates the source; the delivery engine moves `committed`, the offset up to which the server stores it.
    """

    path: str
    id: str = field(default_factory=lambda: os.urandom(8).hex())
    device: int = 0
    inode: int = 0
    head: bytes = b""  # the first bytes of the file, at most HEAD_BYTES, as they were read
    committed: int = 0
    lines: int = 0  # stored up to `committed`; `crc32` is the CRC-32 of their NDJSON
    crc32: int = 0
    tail: bytes = b""  # the last bytes before `committed`, as they were read
    store: str = ""  # the id of the store that has it up to `committed`; "" if no store has stated its id
    server: str = ""  # the server ("host:port") that has it up to `committed`, by either protocol
    plain_until: int = 0  # the offset up to which the plain protocol shipped it, to `plain_server` ("host:port")
    plain_server: str = ""
    plain_lines: int = 0  # that server has acked before `plain_until`
    asked_from: int = 0  # the bytes before are not to be shipped: not asked for, or shipped from another file
    given_up: tuple[int, int] = (0, 0)  # the latest range that is lost although the file has it: --max-held-bytes
    place: str = ""  # the real path to which `path` led, through symbolic links, if that is another one
    holdings: Holdings = field(default_factory=Holdings)  # what several servers have of it
    elsewhere: Sequence[tuple[int, int]] = ()  # the ranges that `store` is not to get, because others have them
    is_confirmed: bool = False  # in this run, the server has said how far it is stored, or cannot be asked
    is_ended: bool = False  # its file holds other content now; a copy that appears later may continue it
    is_finished: bool = False  # nothing more will be read: a batch run has ended, or the file is gone
    # Why the server was found to have less than was acked: "" if nothing explains it, None if it was not found so.
    sent_back_because: str | None = None
    set_back: Acked | None = None  # what was acked, until a position before that, of another store, is checked
    is_settled: bool = False  # its file was rotated and is stored to its end: the end of that file is not a loss
    has_window: bool = False  # an unknown window after its last byte is recorded
    epoch: int = 0  # how often the source was sent back; earlier batches do not count
    holes_until: int = 0  # rendered so far, so that holes are counted; a later epoch may read them again
    read_until: int = 0  # the highest offset that was read or is known to be lost
    renderings: list[tuple[int, RenderSpec]] = field(default_factory=list)  # from each offset on, the spec of its lines

    # The format, its rules and the encoding of the latest batch since the source was sent back.
    last_format: tuple[str, int, str] | None = None

    def begins_other_format(self, start: int, rendering: RenderSpec) -> bool:
        """Whether a batch from `start` on may follow lines of another format, rules or encoding; note what it has.

        The reader calls this for each batch. What is stored behind the checkpoint may be of an earlier version, or of
        what the lines before it showed (`--format auto`).
        """
        of_batch = (rendering.format, rendering.rules, rendering.encoding)
        known = self.renderings[-1][1] if self.renderings else None
        before = self.last_format or (known and (known.format, known.rules, known.encoding))
        self.last_format = of_batch
        return start > 0 and before != of_batch

    def has_given_up(self, start: int, end: int) -> bool:
        """Whether this client has given up all of a range."""
        return self.given_up[0] <= start and end <= self.given_up[1]

    @property
    def elsewhere_until(self) -> int:
        """Before this offset, other stores may have ranges that `store` is not to get."""
        return self.elsewhere[-1][1] if self.elsewhere else 0

    @property
    def acked_until(self) -> int:
        """The offset up to which every byte was acked by one store or another."""
        return max(self.committed, self.holdings.end)

    def holdings_beside(self, store: str) -> Holdings:
        """Return what the stores have once `store` is the present one."""
        return self.holdings if store == self.store else self.holdings.taken_over(self.known_of(self.store), store)

    def known_of(self, store: str) -> Held:
        """Return what a store is known to have."""
        if store == self.store:
            return Held(store, self.committed, self.lines, self.crc32)
        return self.holdings.of(store) or Held(store, 0, 0, 0)

    def move_to(self, store: str) -> Acked:
        """Make another store the present one; return what that store is known to have.

        `committed` stays; `lines` and `crc32` are those of the store now.
        """
        known = self.known_of(store)
        self.holdings = self.holdings_beside(store)
        self.store, self.lines, self.crc32 = store, known.lines, known.crc32
        return Acked(known.committed, known.crc32, self.renderings)

    def go_to(self, committed: int, lines: int, crc32: int) -> None:
        """Take over the server's position of the source."""
        self.committed, self.lines, self.crc32 = committed, lines, crc32
        self.tail = b""  # the bytes before that offset were not read for this source
