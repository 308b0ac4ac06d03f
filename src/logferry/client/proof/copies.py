"""Counts how often the content of a file is stored: by its own source, and by other sources of the same name.

Batch runs with --again, and runs that lost their checkpoints, store a file once more as another source. This module
finds such sources among the checkpoints and in the server's ledger. Must never change what verify.py found out.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from logferry.client.files.archives.archive import open_content
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.proof.proof_source import ProofSource
from logferry.client.readers.rerender import Renderings, rerender
from logferry.client.recognition.recognise import has_content
from logferry.client.state.checkpoint import Checkpoint
from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import SourceError
from logferry.model.render_spec import PLAIN
from logferry.protocol.messages.reports import ReportPage


def copies_of(path: Path, source: str, checkpoints: Checkpoints, reports: ProofSource) -> dict[str, int]:
    """Return the ids of the other sources with the content of a file, and how many lines the server has of each.

    `source` is the file's own. Raises DeliveryError.
    """
    try:
        file = SourceFile(path, max_line_bytes=PLAIN.max_line_bytes, content=open_content(path))
    except (OSError, SourceError):
        return {}
    with contextlib.closing(file):
        remembered = {other.id for other in _same_name(file, checkpoints)}
        own = _first_page(source, reports)
        named = {other.source for other in reports.sources_of(str(path.absolute())) if other.committed == own.committed}
        named |= {other.source for other in reports.sources_of(str(path)) if other.committed == own.committed}
        pages = [_first_page(other, reports) for other in sorted((remembered | named) - {source})]
        known = checkpoints.of_source(source)
        renderings: Renderings = (known.renderings if known else ()) or ((0, PLAIN),)

        def is_copy(page: ReportPage) -> bool:
            is_alike = page.source in remembered or _is_alike(page, own)
            return is_alike or (len(reports.clients) > 1 and _is_in(file, page, renderings))

        return {page.source: page.lines for page in pages if is_copy(page)}


def _same_name(file: SourceFile, checkpoints: Checkpoints) -> Iterator[Checkpoint]:
    """Yield the checkpoints of a file, and of its path, whose content the file has."""
    of_path = checkpoints.of_path(str(file.path))
    known = {checkpoint.id: checkpoint for checkpoint in (*checkpoints.of_identity(*file.identity), *of_path)}
    for checkpoint in known.values():
        if checkpoint.committed and checkpoint.head_bytes and has_content(file, checkpoint):
            yield checkpoint


def _is_alike(page: ReportPage, own: ReportPage) -> bool:
    return page.lines > 0 and (page.lines, page.crc32) == (own.lines, own.crc32)


def _is_in(file: SourceFile, page: ReportPage, renderings: Renderings) -> bool:
    """Whether all extents of a source are those of a file: several servers have no CRC-32 of the whole in common."""
    for extent in page.extents:
        file.rewind(extent.start)
        if rerender(file, extent.end, renderings).crc32 != extent.crc32:
            return False
    return bool(page.extents)


def _first_page(source: str, reports: ProofSource) -> ReportPage:
    return next(iter(reports.report(source)))
