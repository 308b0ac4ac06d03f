"""The answer to `verify`: what the ledger records about one source, and whether the segments still agree.

Only reads: the ledger through its own connection, the segments in blocks. So any thread or process may make a report,
beside a server that is storing. `fsck.py` checks whole segments instead.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from logferry.protocol.messages.answers import Position
from logferry.protocol.messages.reports import (
    PAGE_BYTES,
    REPORT_PAGE,
    SOURCES_PAGE,
    Extent,
    LossPage,
    NamedSource,
    RecordPlace,
    ReportPage,
    SourcesPage,
    json_bytes,
)
from logferry.protocol.messages.requests import Losses, SourcesOf
from logferry.server.storage.disk.content.stored_segments import StoredSegments
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME
from logferry.server.storage.disk.integrity.damage import Judged
from logferry.server.storage.disk.integrity.judgement import Judgement, OnBlock, judge_extent
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.loss_pages import LOSSES, ROWS, WINDOWS, Recorded, first_losses, loss_page
from logferry.server.storage.owners import Owner
from logferry.server.storage.records import DamageRow, ExtentRow, SegmentRow

# One page reads at most this much plus one extent: then other clients have their turn.
_READ_BYTES: Final = 64 * 1024 * 1024

OnJudged = Callable[[Judged], object]


def positions(data_dir: Path, sources: Sequence[str]) -> list[Position]:
    """Return how far those of the sources are stored that the ledger has. Raises StoreError or OSError."""
    with _reading(data_dir) as ledger:
        return [Position(*row, is_answer_to_open=False) for row in ledger.positions(sources)]


def owners_of(data_dir: Path, sources: Sequence[str]) -> dict[str, str]:
    """Return who owns sources; see Store. Raises StoreError or OSError."""
    with _reading(data_dir) as ledger:
        return ledger.owners_of(sources)


def sources_of(data_dir: Path, question: SourcesOf, owner: Owner | None = None) -> SourcesPage:
    """Return a page of the sources that had a path; see Store.

    Raises StoreError or OSError when the ledger cannot be read.
    """
    wanted = (question.host, question.path)
    with _reading(data_dir) as ledger:
        rows = ledger.sources_of(*wanted, after=question.after, limit=SOURCES_PAGE + 1, owner=owner)
    page = [NamedSource(row.id, row.committed, row.lines, round(at * 1000)) for row, at in rows[:SOURCES_PAGE]]
    return SourcesPage(tuple(page), has_more=len(rows) > SOURCES_PAGE)


def losses_of(data_dir: Path, question: Losses) -> LossPage:
    """Return a page of the losses and windows of a source. Raises StoreError or OSError."""
    with _reading(data_dir) as ledger:
        return loss_page(question.source, _recorded(ledger, question))


def report(data_dir: Path, source_id: str, *, after: int, on_judged: OnJudged | None = None) -> ReportPage:
    """Compare what the ledger records about a source with the segments, from offset `after` on; return one page.

    `on_judged` is called with what was found out about the extents of the page, if there are any.

    Raises StoreError or OSError when the ledger cannot be read.
    """
    with _reading(data_dir) as ledger:
        source = ledger.source(source_id)
        if source is None:
            return ReportPage(source_id, False, 0, 0, 0, (), (), False)
        rows = ledger.extents(source_id, after=after, limit=REPORT_PAGE + 1)
        known = _first_losses(ledger, source_id) if not after else first_losses((), ())
        page = list(_checked(data_dir, ledger, rows[:REPORT_PAGE]))
    if page and on_judged:
        damaged = [DamageRow(source_id, row.start, row.segment) for row, _, is_damage in page if is_damage]
        on_judged(Judged((source_id, after - 1), (source_id, page[-1][0].start), damaged))
    return ReportPage(
        source=source_id,
        is_known=True,
        committed=source.committed,
        lines=source.lines,
        crc32=source.crc32,
        extents=tuple(extent for _, extent, _ in page),
        losses=tuple(sorted((*known.lost, *known.skipped))),
        has_more=len(rows) > len(page),
        windows=known.windows,
        skipped=known.only_skipped,
    )


@contextmanager
def _reading(data_dir: Path) -> Iterator[Ledger]:
    ledger = Ledger(data_dir, durable=False, read_only=True)
    try:
        yield ledger
    finally:
        ledger.close()


def _first_losses(ledger: Ledger, source_id: str) -> LossPage:
    windows = ledger.windows(source_id, limit=ROWS)
    return first_losses(ledger.losses_before_skips(source_id, limit=ROWS), windows)


def _recorded(ledger: Ledger, question: Losses) -> Iterator[Recorded]:
    """Yield what is recorded of a source from a place on, as much as a page can hold: losses, then windows."""
    table, *first = question.first
    if table == LOSSES:
        for loss in ledger.losses(question.source, first=first, limit=ROWS):
            yield RecordPlace(LOSSES, loss.start, loss.number), loss
        first = [0, 0]
    for window in ledger.windows(question.source, first=first, limit=ROWS):
        yield RecordPlace(WINDOWS, window.start, window.noticed), window


def _checked(data_dir: Path, ledger: Ledger, rows: Sequence[ExtentRow]) -> Iterator[tuple[ExtentRow, Extent, bool]]:
    """Yield extents as they are on the disk, and whether damaged, until a page has read enough, or is full."""
    read, room = 0, PAGE_BYTES

    def add(size: int) -> None:
        nonlocal read
        read += size

    with StoredSegments(data_dir / FOLDER_NAME, ledger) as stored:
        for place, row in enumerate(rows):
            if read > _READ_BYTES:
                break
            extent, is_damage = _check_extent(stored, ledger, row, add)
            room -= json_bytes(extent)
            if place and room < 0:
                break
            yield row, extent, is_damage


def _check_extent(stored: StoredSegments, ledger: Ledger, row: ExtentRow, on_block: OnBlock) -> tuple[Extent, bool]:
    segment = ledger.segment(row.segment)
    judged = _judge(stored, segment, row, on_block)
    if judged is not None and judged.problem:  # perhaps retention has just deleted it: read the state again
        judged = _judge(stored, ledger.segment(row.segment), row, on_block)
    state, problem = ("expired", "") if judged is None else (judged.state, judged.problem)
    shown = Extent(row.start, row.end, row.lines, row.crc32, state, segment.path if segment else "?", problem)
    return shown, judged is not None and judged.is_damage


def _judge(stored: StoredSegments, segment: SegmentRow | None, row: ExtentRow, on_block: OnBlock) -> Judgement | None:
    """Compare an extent with the disk; None if retention has deleted it."""
    if segment is None:
        return Judgement("missing", "is not in the ledger")
    return None if segment.state == "expired" else judge_extent(stored, segment, row, on_block=on_block)
