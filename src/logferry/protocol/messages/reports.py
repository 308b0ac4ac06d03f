"""What a server holds of one source: the pages of a report (docs/protocol.md, rule E19)."""

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from logferry.protocol.messages.writing import answer_line
from logferry.protocol.plain.acks import MAX_REASON_CHARS

# Sources in one page of those that had a path.
SOURCES_PAGE: Final = 500

# Extents in one page of a report, and losses or windows in one page of them.
REPORT_PAGE: Final = 200

# The JSON of the extents in one page has at most this much, and that of the losses and windows half of it: together
# well below MAX_ANSWER_BYTES, however long the reasons and the names of segments are.
PAGE_BYTES: Final = 512 * 1024


class Extent(NamedTuple):
    """A piece of a source in one segment according to the ledger, and whether the disk agrees (`state`).

    On the wire, an `unreadable` extent is `missing`, as in the first version, and why is a key of its own.
    """

    start: int
    end: int
    lines: int
    crc32: int
    state: str  # "ok", "altered", "missing" (the segment is gone), "unreadable" or "expired" (deleted by retention)
    segment: str
    problem: str = ""  # why it is unreadable


class RecordedLoss(NamedTuple):
    """Bytes of a source that are not stored as they were, and why."""

    start: int
    end: int
    reason: str


class RecordedWindow(NamedTuple):
    """Bytes from `start` on may have been written between two times, in milliseconds of Unix time, and are gone."""

    start: int
    last_look: int
    noticed: int
    reason: str


class RecordPlace(NamedTuple):
    """Where a page of losses begins: in a table (0: losses, 1: unknown windows), by start and number."""

    table: int = 0
    start: int = 0
    number: int = 0


class LossPage(NamedTuple):
    """One page of the losses and unknown windows of a source; the following page begins at `next`, if there is one.

    What was `skipped` is not lost: nobody asked for these bytes, or they are stored elsewhere.
    """

    source: str
    lost: tuple[RecordedLoss, ...]
    skipped: tuple[RecordedLoss, ...]
    windows: tuple[RecordedWindow, ...]
    next: RecordPlace | None = None

    @property
    def only_skipped(self) -> tuple[tuple[int, int], ...]:
        """The ranges that were skipped, except those that are lost for another reason."""
        lost = {(loss.start, loss.end) for loss in self.lost}
        return tuple((loss.start, loss.end) for loss in self.skipped if (loss.start, loss.end) not in lost)


class ReportPage(NamedTuple):
    """One page of what a server knows about a source; `has_more` if another page follows the last extent.

    The first page has as many losses and windows as fit into it; a LossPage has them all. Of the `losses`, those at
    `skipped` are none: nobody asked for these bytes, or they are stored elsewhere.
    """

    source: str
    is_known: bool
    committed: int
    lines: int
    crc32: int
    extents: tuple[Extent, ...]
    losses: tuple[RecordedLoss, ...]
    has_more: bool
    windows: tuple[RecordedWindow, ...] = ()
    skipped: tuple[tuple[int, int], ...] = ()

    @property
    def lost(self) -> list[RecordedLoss]:
        """The losses without what nobody asked for or is stored elsewhere."""
        return [loss for loss in self.losses if (loss.start, loss.end) not in self.skipped]


class NamedSource(NamedTuple):
    """A source that had a path: how far it is stored, and when it was first opened, in milliseconds of Unix time."""

    source: str
    committed: int
    lines: int
    opened_at: int


class SourcesPage(NamedTuple):
    """One page of the sources of a host that had a path, by id; `has_more` if another page follows."""

    sources: tuple[NamedSource, ...]
    has_more: bool


def sources_line(page: SourcesPage) -> bytes:
    """Return the answer to a request for the sources that had a path."""
    return answer_line("sources", sources=page.sources, more=page.has_more)


def losses_line(page: LossPage) -> bytes:
    """Return the answer to a request for the losses and unknown windows of a source."""
    return answer_line(
        "losses", source=page.source, losses=page.lost, skipped=page.skipped, windows=page.windows, next=page.next
    )


def json_bytes(row: Iterable[object]) -> int:
    """Return how many bytes a row takes in an answer."""
    return len(json.dumps(tuple(row))) + len(", ")


_STATES: Final = {"unreadable": "missing"}


def report_line(page: ReportPage) -> bytes:
    """Return the answer to a Report."""
    return answer_line(
        "report",
        source=page.source,
        known=page.is_known,
        committed=page.committed,
        lines=page.lines,
        crc32=page.crc32,
        extents=[[e.start, e.end, e.lines, e.crc32, _STATES.get(e.state, e.state), e.segment] for e in page.extents],
        losses=[[loss.start, loss.end, loss.reason] for loss in page.losses],
        more=page.has_more,
        windows=page.windows,
        skipped=page.skipped,
        unreadable=[[e.start, e.problem[:MAX_REASON_CHARS]] for e in page.extents if e.state == "unreadable"],
    )
