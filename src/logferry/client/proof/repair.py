"""Repair: sends damaged extents of a source once more, from the file that still has their bytes.

The client renders exactly the bytes of an extent, as the checkpoint says that they were rendered, and sends the result
only if it has the lines and the CRC-32 that the server recorded; so the server gets back what it had, or nothing. Must
never send anything else, and holds one extent at a time.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final

from logferry import checksum
from logferry.client.files.archives.archive import open_content
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.listing import FolderListings
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof.verify import NEVER_SHIPPED, UNKNOWN
from logferry.client.readers.rerender import Renderings, chunks_up_to, other_renderings, rendered_chunk
from logferry.client.recognition.locate import open_file_of
from logferry.client.state.checkpoint import Checkpoint
from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import SourceError
from logferry.model.render_spec import PLAIN
from logferry.protocol.messages.repairs import DamagedExtent

# Extents that are listed before they are repaired. A source of a terabyte has 250,000.
_MOST: Final = 10_000

# An extent at the end of a source may grow between two messages, and more than _MOST may be damaged: ask again, until
# all that is listed has failed before.
_ROUNDS: Final = 100


@dataclass(slots=True)
class RepairReport:
    """What became of the damaged extents of one source; `problems` has one sentence for each that is still damaged."""

    path: str
    source: str = ""
    damaged: int = 0
    repaired: int = 0
    lines: int = 0  # in the repaired extents
    problems: list[str] = field(default_factory=list)


def repair_path(path: Path, checkpoints: Checkpoints, reports: ReportClient) -> list[RepairReport]:
    """Have the server check and repair every source that was ever shipped under a name. Raises DeliveryError."""
    known = {checkpoint.id: checkpoint for checkpoint in _checkpoints_of(path, checkpoints)}
    if not known:
        return [RepairReport(str(path), problems=[NEVER_SHIPPED])]
    folders = FolderListings()
    found = (repair_source(checkpoint, reports, folders, is_checked=False) for checkpoint in known.values())
    return [report for report in found if report is not None]


def repair_source(
    checkpoint: Checkpoint, reports: ReportClient, folders: FolderListings, *, is_checked: bool
) -> RepairReport:
    """Repair the damaged extents of a source. Raises DeliveryError.

    With `is_checked`, these are the extents that the server knows to be damaged; otherwise it reads and compares all.
    """
    report = RepairReport(checkpoint.path, checkpoint.id)
    failed: list[DamagedExtent] = []
    for _ in range(_ROUNDS):
        found = reports.damaged(checkpoint.id) if is_checked else _found_damaged(checkpoint.id, reports)
        damaged = list(islice(found, _MOST))
        if damaged == failed:
            break
        report.damaged = max(report.damaged, report.repaired + len(damaged))
        report.problems = []
        failed = _repair(checkpoint, damaged, reports, folders, report)
        if not failed and len(damaged) < _MOST:
            break
    return report


def _checkpoints_of(path: Path, checkpoints: Checkpoints) -> Iterable[Checkpoint]:
    yield from checkpoints.of_path(str(path))
    with contextlib.suppress(OSError, SourceError):
        file = SourceFile(path, max_line_bytes=PLAIN.max_line_bytes, content=open_content(path))
        with contextlib.closing(file):
            yield from checkpoints.of_identity(*file.identity)


def _found_damaged(source_id: str, reports: ReportClient) -> Iterator[DamagedExtent]:
    for page in reports.report(source_id):
        for extent in page.extents:
            if extent.state in ("altered", "missing", "unreadable"):
                yield DamagedExtent(extent.start, extent.end, extent.lines, extent.crc32)


def _repair(
    checkpoint: Checkpoint,
    damaged: Sequence[DamagedExtent],
    reports: ReportClient,
    folders: FolderListings,
    report: RepairReport,
) -> list[DamagedExtent]:
    """Repair what can be repaired; return the extents that are still damaged."""
    if not damaged:
        return []
    file = open_file_of(checkpoint, folders)
    if file is None:
        report.problems.append("no file has its content any more")
        return list(damaged)
    failed = []
    with contextlib.closing(file):
        for extent in damaged:
            problem = _repair_extent(file, checkpoint, extent, reports)
            if problem:
                report.problems.append(f"bytes {extent.start} to {extent.end}: {problem}")
                failed.append(extent)
            else:
                report.repaired += 1
                report.lines += extent.lines
    return failed


def _repair_extent(file: SourceFile, checkpoint: Checkpoint, extent: DamagedExtent, reports: ReportClient) -> str:
    """Send one extent; return why it is still damaged, or ""."""
    known = checkpoint.renderings or UNKNOWN
    for renderings in chain([known], other_renderings(file, known)):
        try:
            payload = _render(file, extent, renderings, most=reports.max_repair_bytes)
        except SourceError as error:
            return error.reason
        if payload is None:
            return "larger than the server accepts (--max-record-bytes)"
        if (payload.count(b"\n"), checksum.crc32(payload)) == (extent.lines, extent.crc32):
            outcome = reports.repair(checkpoint.id, extent, payload)
            return "" if outcome.is_whole else outcome.reason or "the server has not said why"
    return f"{file.path} has other lines there than were shipped"


def _render(file: SourceFile, extent: DamagedExtent, renderings: Renderings, *, most: int) -> bytes | None:
    """Render the bytes of an extent; None if that gives more than `most` bytes. Raises SourceError."""
    file.rewind(extent.start)
    payloads: list[bytes] = []
    for chunk in chunks_up_to(file, extent.end, renderings):
        payloads.append(rendered_chunk(chunk).payload)
        most -= len(payloads[-1])
        if most < 0:
            return None
    return b"".join(payloads)
