"""The sources that had a name before the present file: are they stored whole, and what of them is lost?

A rotated or truncated file may be gone, so this module asks the server what it has of each source, and compares that
with what was acked. Owns which sources had a name: by the client's state, and by the server's ledger for this host. The
present file is verify.py's. Must never change a checkpoint.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.listing import FolderListings
from logferry.client.net.conversation.reports import SourceLosses
from logferry.client.proof.proof_source import ProofSource
from logferry.client.recognition.recognise import is_same_file
from logferry.client.state.checkpoint import Checkpoint
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.state.losses_file import KnownLoss
from logferry.errors import SourceError
from logferry.protocol.messages.reports import Extent, NamedSource, RecordedLoss, RecordedWindow, ReportPage


@dataclass(slots=True)
class FormerSource:
    """A source that had the name before. Numbers of lines; `seen_at` is a Unix time, 0 if it is not known."""

    source: str
    stored: int = 0
    missing: int = 0
    altered: int = 0
    expired: int = 0
    seen_at: float = 0.0
    losses: list[RecordedLoss] = field(default_factory=list)
    windows: list[RecordedWindow] = field(default_factory=list)
    problem: str = ""  # what else is wrong

    @property
    def is_whole(self) -> bool:
        """Whether all of it is stored, as far as anybody knows. What retention deleted was stored."""
        return not (self.problem or self.missing or self.altered or self.losses or self.windows)


def names_of(path: Path) -> list[str]:
    """Return the names of a file under which the client and the server may know it."""
    return list(dict.fromkeys((str(path), os.path.abspath(path))))


def former_sources(
    path: Path, present: str, checkpoints: Checkpoints, reports: ProofSource, known_losses: Iterable[KnownLoss]
) -> list[FormerSource]:
    """Return the sources that had the name `path`, oldest first, without the one of the id `present`.

    `known_losses` are those of this name. Raises DeliveryError.
    """
    names = names_of(path)
    known = {checkpoint.id: checkpoint for name in names for checkpoint in checkpoints.of_path(name)}
    named = {source.source: source for name in names for source in reports.sources_of(name)}
    windows = {loss.source: loss for loss in known_losses if loss.is_window}
    found = [
        _judge(source_id, known.get(source_id), named.get(source_id), windows.get(source_id), reports)
        for source_id in dict.fromkeys((*known, *named, *filter(None, windows)))
        if source_id != present
    ]
    return sorted(found, key=lambda former: (former.seen_at, former.source))


def _judge(
    source_id: str,
    checkpoint: Checkpoint | None,
    named: NamedSource | None,
    window: KnownLoss | None,
    reports: ProofSource,
) -> FormerSource:
    former = FormerSource(source_id, seen_at=named.opened_at / 1000 if named else 0.0)
    if checkpoint is not None:
        former.seen_at = checkpoint.seen_at
    pages = list(reports.report(source_id))
    if checkpoint is not None and pages[0].is_known and reports.is_foreign(source_id):
        former.problem = "what the server has of it belongs to another client"
        return former
    recorded = reports.losses(pages[0]) if pages[0].is_known else SourceLosses()
    _count(former, pages)
    former.losses = recorded.lost
    former.windows = list(_windows(recorded.windows, pages[0].committed, window))
    former.problem = recorded.problem
    if checkpoint is not None:
        former.problem = _what_is_not_stored(checkpoint, pages[0], reports.store) or former.problem
    return former


def _count(former: FormerSource, pages: Iterable[ReportPage]) -> None:
    for page in pages:
        for extent in page.extents:
            _count_extent(former, extent)


def _count_extent(former: FormerSource, extent: Extent) -> None:
    if extent.state == "ok":
        former.stored += extent.lines
    elif extent.state == "expired":
        former.expired += extent.lines
    elif extent.state in ("missing", "unreadable"):
        former.missing += extent.lines
    else:
        former.altered += extent.lines


def _windows(recorded: Sequence[RecordedWindow], committed: int, known: KnownLoss | None) -> Iterator[RecordedWindow]:
    """Yield the unknown windows of a source that still stand: nothing of it is stored beyond them."""
    if known is not None and known.is_over:
        return
    yield from (window for window in recorded if window.start >= committed)
    if known is not None and not recorded:
        yield RecordedWindow(known.start, round(known.last_look * 1000), round(known.noticed_at * 1000), known.reason)


def _what_is_not_stored(checkpoint: Checkpoint, page: ReportPage, store: str) -> str:
    """Return what of a source is not on the server, although it was acked or is still in a file; "" if nothing."""
    if page.committed < checkpoint.committed > checkpoint.plain_until:
        why = checkpoint.why_missing(store, found=page.committed)
        missing = f"{checkpoint.committed - page.committed} bytes that were acked are not on the server"
        return f"{missing}: {why}" if why else missing
    if page.is_known and (rest := _unstored_rest(checkpoint, page.committed)):
        return rest
    return ""


def _unstored_rest(checkpoint: Checkpoint, committed: int) -> str:
    """Return how many bytes the file of a source has that are not stored, if it is still beside its former name."""
    folder = Path(checkpoint.place or checkpoint.path).parent
    name = FolderListings().listing(str(folder)).by_inode.get(checkpoint.inode)
    if name is None:
        return ""
    try:
        file = SourceFile(folder / name, max_line_bytes=1)
    except (OSError, SourceError):
        return ""
    with contextlib.closing(file):
        rest = file.size() - committed
        is_behind = rest > 0 and is_same_file(file, checkpoint)
    return f"{rest} bytes of {folder / name} are not stored yet" if is_behind else ""
