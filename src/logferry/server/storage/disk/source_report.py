"""The answer to `verify`: what the ledger records about one source, and whether the segments still agree.

Only reads: the ledger through its own connection, the segments in blocks. So any thread or process may make a report,
beside a server that is storing. `fsck.py` checks whole segments instead.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from logferry.protocol.delivery_answers import Position
from logferry.protocol.delivery_reports import (
    REPORT_PAGE,
    SOURCES_PAGE,
    Extent,
    NamedSource,
    RecordedLoss,
    RecordedWindow,
    ReportPage,
    SourcesPage,
)
from logferry.protocol.delivery_requests import SourcesOf
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.measure import measure
from logferry.server.storage.disk.segment_names import FOLDER_NAME
from logferry.server.storage.records import DamageRow, ExtentRow, SegmentRow

# One page reads at most this much plus one extent: a second of work for a disk, then other clients have their turn.
_PAGE_BYTES: Final = 256 * 1024 * 1024

# A report lists at most this many losses of a source. A client with more losses knows how many bytes it lost.
_MAX_LOSSES: Final = 200


OnDamaged = Callable[[Sequence[DamageRow]], object]


def positions(data_dir: Path, sources: Sequence[str]) -> list[Position]:
    """Return how far those of the sources are stored that the ledger has. Raises StoreError or OSError."""
    ledger = Ledger(data_dir, durable=False, read_only=True)
    try:
        return [Position(*row, is_answer_to_open=False) for row in ledger.positions(sources)]
    finally:
        ledger.close()


def sources_of(data_dir: Path, question: SourcesOf) -> SourcesPage:
    """Return a page of the sources that had a path. Raises StoreError or OSError when the ledger cannot be read."""
    ledger = Ledger(data_dir, durable=False, read_only=True)
    try:
        rows = ledger.sources_of(question.host, question.path, after=question.after, limit=SOURCES_PAGE + 1)
    finally:
        ledger.close()
    page = [NamedSource(row.id, row.committed, row.lines, round(at * 1000)) for row, at in rows[:SOURCES_PAGE]]
    return SourcesPage(tuple(page), has_more=len(rows) > SOURCES_PAGE)


def report(data_dir: Path, source_id: str, *, after: int, on_damage: OnDamaged | None = None) -> ReportPage:
    """Compare what the ledger records about a source with the segments, from offset `after` on; return one page.

    `on_damage` is called with the extents of the page that are damaged, if there are any.

    Raises StoreError or OSError when the ledger cannot be read.
    """
    ledger = Ledger(data_dir, durable=False, read_only=True)
    try:
        source = ledger.source(source_id)
        if source is None:
            return ReportPage(source_id, False, 0, 0, 0, (), (), False)
        rows = ledger.extents(source_id, after=after, limit=REPORT_PAGE + 1)
        losses = ledger.losses(source_id, limit=_MAX_LOSSES)
        windows = ledger.windows(source_id, limit=_MAX_LOSSES)
        page = _first_page(rows)
        extents = tuple(_check_extent(data_dir, ledger, row) for row in page)
    finally:
        ledger.close()
    damaged = [
        DamageRow(source_id, row.start, row.segment)
        for row, extent in zip(page, extents, strict=True)
        if extent.state in ("altered", "missing")
    ]
    if damaged and on_damage:
        on_damage(damaged)
    return ReportPage(
        source=source_id,
        is_known=True,
        committed=source.committed,
        lines=source.lines,
        crc32=source.crc32,
        extents=extents,
        losses=tuple(RecordedLoss(loss.start, loss.end, loss.reason) for loss in losses),
        has_more=len(rows) > len(page),
        windows=tuple(RecordedWindow(row.start, row.last_look, row.noticed, row.reason) for row in windows),
        skipped=tuple((loss.start, loss.end) for loss in losses if not loss.is_lost),
    )


def _first_page(rows: Sequence[ExtentRow]) -> Sequence[ExtentRow]:
    total = 0
    for number, row in enumerate(rows[:REPORT_PAGE]):
        if total > _PAGE_BYTES:
            return rows[:number]
        total += row.bytes
    return rows[:REPORT_PAGE]


def _check_extent(data_dir: Path, ledger: Ledger, row: ExtentRow) -> Extent:
    segment = ledger.segment(row.segment)
    state = _extent_state(data_dir, segment, row)
    if state == "missing":  # perhaps retention has just deleted it: read the state again
        state = _extent_state(data_dir, ledger.segment(row.segment), row)
    return Extent(row.start, row.end, row.lines, row.crc32, state, segment.path if segment else "?")


def _extent_state(data_dir: Path, segment: SegmentRow | None, row: ExtentRow) -> str:
    if segment is None:
        return "missing"
    if segment.state == "expired":
        return "expired"
    try:
        found = measure(data_dir / FOLDER_NAME / segment.path, row.position, row.bytes)
    except OSError:
        return "missing"
    return "ok" if (found.bytes, found.lines, found.crc32) == (row.bytes, row.lines, row.crc32) else "altered"
