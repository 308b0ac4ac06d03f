"""What a server holds of one source: the pages of a report (docs/protocol.md, rule E19)."""

from typing import Final, NamedTuple

from logferry.protocol.delivery import answer_line

# Sources in one page of those that had a path.
SOURCES_PAGE: Final = 500

# Extents in one page of a report: at about 150 bytes each, far below the longest answer that a client accepts.
REPORT_PAGE: Final = 200


class Extent(NamedTuple):
    """A piece of a source in one segment according to the ledger, and whether the disk agrees (`state`)."""

    start: int
    end: int
    lines: int
    crc32: int
    state: str  # "ok", "altered", "missing" (the segment is gone) or "expired" (deleted by retention)
    segment: str


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


class ReportPage(NamedTuple):
    """One page of what a server knows about a source; `has_more` if another page follows the last extent.

    Of the `losses`, those at `skipped` are none: nobody asked for these bytes, or they are stored elsewhere.
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


def report_line(page: ReportPage) -> bytes:
    """Return the answer to a Report."""
    return answer_line(
        "report",
        source=page.source,
        known=page.is_known,
        committed=page.committed,
        lines=page.lines,
        crc32=page.crc32,
        extents=[[e.start, e.end, e.lines, e.crc32, e.state, e.segment] for e in page.extents],
        losses=[[loss.start, loss.end, loss.reason] for loss in page.losses],
        more=page.has_more,
        windows=page.windows,
        skipped=page.skipped,
    )
