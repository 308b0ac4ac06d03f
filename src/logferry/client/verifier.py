"""`logferry verify`: is everything that is in a file on the server's disk, once, as it was?

The file is rendered again, piece by piece, and each piece's CRC-32 is compared with that of the server's ledger; the
server has compared its ledger with its disk. So a line that was removed, changed or added on either side is seen.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from logferry.client.checkpoint import Checkpoint, Checkpoints
from logferry.client.enquiry import Enquiry
from logferry.client.formatter import render
from logferry.client.recall import is_same_file
from logferry.client.source_file import SourceFile
from logferry.errors import SourceError
from logferry.protocol.delivery import Extent, Loss, ReportPage


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `[start, end)` of a file, `lines` lines, and what is wrong with them."""

    start: int
    end: int
    lines: int
    reason: str


@dataclass(slots=True)
class Verdict:
    """What became of one file. Ranges are in bytes of the file."""

    path: str
    source: str = ""
    lines: int = 0  # in the file now
    stored: int = 0  # of these, on the server's disk as they should be
    repeated: int = 0
    missing: list[Range] = field(default_factory=list)
    altered: list[Range] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    problem: str = ""  # why nothing could be compared

    @property
    def is_proven(self) -> bool:
        """Whether everything is there once."""
        return not (self.problem or self.missing or self.altered or self.losses or self.repeated)


def verify(path: Path, checkpoints: Checkpoints, enquiry: Enquiry, *, max_line_bytes: int) -> Verdict:
    """Compare one file with what the server has stored of it. Raises DeliveryError."""
    try:
        file = SourceFile(path, max_line_bytes=max_line_bytes)
    except FileNotFoundError:
        return Verdict(str(path), problem="no such file")
    except SourceError as error:
        return Verdict(str(path), problem=error.reason)
    try:
        checkpoint = _find(file, checkpoints)
        if checkpoint is None:
            lines = _render_up_to(file, file.size()).lines
            problem = "never shipped, as far as the state folder knows" if lines else ""
            return Verdict(str(path), lines=lines, problem=problem)
        return _compare(file, checkpoint, list(enquiry.report(checkpoint.id)))
    finally:
        file.close()


def _find(file: SourceFile, checkpoints: Checkpoints) -> Checkpoint | None:
    """Return the latest checkpoint of the file; of the same file with other content if there is none."""
    of_inode = [checkpoint for checkpoint in checkpoints if (checkpoint.device, checkpoint.inode) == file.identity]
    same = [checkpoint for checkpoint in of_inode if is_same_file(file, checkpoint)]
    return max(same or of_inode, key=lambda checkpoint: checkpoint.seen_at, default=None)


def _compare(file: SourceFile, checkpoint: Checkpoint, pages: list[ReportPage]) -> Verdict:
    verdict = Verdict(str(file.path), checkpoint.id)
    if not pages[0].is_known:
        verdict.problem = f"the server has never heard of source {checkpoint.id}"
        return verdict
    verdict.losses = list(pages[0].losses)
    for extent in _extents(pages):
        _compare_extent(file, extent, verdict)
    committed = pages[0].committed
    _expect_nothing(file, committed, verdict, "not on the server although it says so")
    _expect_nothing(file, file.size(), verdict, "not shipped yet")
    return verdict


def _extents(pages: list[ReportPage]) -> Iterator[Extent]:
    for page in pages:
        yield from page.extents


def _compare_extent(file: SourceFile, extent: Extent, verdict: Verdict) -> None:
    if extent.start < file.offset:
        verdict.repeated += extent.lines
        return
    _expect_nothing(file, extent.start, verdict, "not on the server")
    found = _render_up_to(file, extent.end)
    verdict.lines += found.lines
    where = (extent.start, extent.end, extent.lines)
    if extent.state in ("missing", "expired"):
        reason = "the server's segment is gone" if extent.state == "missing" else "deleted by the server's retention"
        verdict.missing.append(Range(*where, f"{reason} ({extent.segment})"))
    elif extent.state == "altered":
        verdict.altered.append(Range(*where, f"changed on the server's disk ({extent.segment})"))
    elif (found.lines, found.crc32) != (extent.lines, extent.crc32):
        verdict.altered.append(Range(*where, "the file has changed since it was shipped"))
    else:
        verdict.stored += extent.lines


def _expect_nothing(file: SourceFile, end: int, verdict: Verdict, reason: str) -> None:
    """Between what is stored there may be blank lines, and what is known to be lost; lines are missing."""
    start = file.offset
    if start >= end:
        return
    found = _render_up_to(file, end)
    verdict.lines += found.lines
    if found.lines and not _are_lost(start, end, verdict.losses):
        verdict.missing.append(Range(start, end, found.lines, reason))


def _are_lost(start: int, end: int, losses: Iterable[Loss]) -> bool:
    """Whether every byte from `start` to `end` is in one of `losses`."""
    for loss in sorted(losses, key=lambda loss: loss.start):
        if loss.start <= start:
            start = max(start, loss.end)
    return start >= end


@dataclass(slots=True)
class _Rendered:
    lines: int = 0
    crc32: int = 0


def _render_up_to(file: SourceFile, end: int) -> _Rendered:
    """Render a file from where it is to `end`, and leave it there."""
    found = _Rendered()
    while file.offset < end:
        chunk = file.read(limit=end, is_final=True)
        if chunk is not None:
            rendered = render(chunk.data, is_start=chunk.start == 0, truncated=chunk.truncated)
            found.lines += rendered.lines
            found.crc32 = zlib.crc32(rendered.payload, found.crc32)
        elif not file.is_scanning:
            break  # the file is shorter
    return found
