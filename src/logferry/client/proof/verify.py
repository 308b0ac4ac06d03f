"""`logferry verify`: is everything in a file on the server's disk, once and unchanged?

The client renders the file again, extent by extent, as the checkpoint says that it was rendered, and compares each
CRC-32 with the server's ledger; the server compares its ledger with its disk. So a line that was removed, changed or
added on either side is detected.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logferry.client.files.archive import open_content
from logferry.client.files.line_reader import SourceFile
from logferry.client.finding.listing import FolderListings
from logferry.client.finding.patterns import is_pattern, matching
from logferry.client.finding.rotation_names import is_archive_name, original_names, without_archive_suffix
from logferry.client.net.reports import ReportClient
from logferry.client.proof.copies import copies_of
from logferry.client.proof.former import FormerSource, former_sources
from logferry.client.proof.known import ClientKnowledge, add_unrecorded
from logferry.client.proof.lines import MAX_PROBLEMS, LineProblem, Run, line_problems
from logferry.client.readers.rerender import Renderings, Rerendered, rerender
from logferry.client.recognition.recognise import has_content
from logferry.client.recognition.rotated import rotated_paths
from logferry.client.state.checkpoint import Checkpoint
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import FileSettings
from logferry.errors import QuestionRefused, SourceError
from logferry.model.render_spec import PLAIN
from logferry.names import text_of_name
from logferry.printable import moment
from logferry.protocol.delivery_reports import Extent, RecordedLoss, ReportPage

NEVER_SHIPPED: Final = "never shipped, as far as the state folder knows"
_KNOWS_NOTHING: Final = ClientKnowledge()
_CHANGED: Final = "the file has changed since it was shipped"
UNKNOWN: Final[Renderings] = ((0, PLAIN),)  # nothing was sent, or a version that knew no other rendering sent it


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `[start, end)` of a file with `lines` records, and what is wrong with them.

    These are the lines `first_line` to `last_line` of the file.
    """

    start: int
    end: int
    lines: int
    reason: str
    first_line: int = 0
    last_line: int = 0


@dataclass(slots=True)
class Verdict:
    """The result for one file. Ranges are in bytes of the file; `path` is the text of its name."""

    path: str
    source: str = ""
    lines: int = 0  # in the file now
    stored: int = 0  # of these, on the server's disk unchanged
    repeated: int = 0  # stored by this source, or by another one of the same name, although they were stored before
    times_stored: int = 1  # all of the file, by sources of the same name
    filtered: int = 0  # left out by the user's patterns when the file was shipped; not counted in `lines`
    nuls: int = 0  # bytes at the beginnings of lines that are not shipped: holes
    missing: list[Range] = field(default_factory=list)
    altered: list[Range] = field(default_factory=list)
    expired: list[Range] = field(default_factory=list)  # were stored, and deleted by the server's retention since
    losses: list[RecordedLoss] = field(default_factory=list)
    skipped: list[RecordedLoss] = field(default_factory=list)  # not asked for, or stored elsewhere, as the client knows
    wrong_lines: list[LineProblem] = field(default_factory=list)  # of `altered`, to the line, if the server can show it
    problem: str = ""  # why the file could not be compared, or only in part
    former: list[FormerSource] = field(default_factory=list)  # that had the name before and are not whole
    former_whole: int = 0  # how many others had it
    forgotten: list[str] = field(default_factory=list)  # losses of files that nobody knows any more: perhaps this one

    def __post_init__(self) -> None:
        self.path = text_of_name(self.path)

    @property
    def is_whole(self) -> bool:
        """Whether everything is stored, once or several times."""
        return not (self._is_wrong or self.forgotten)

    @property
    def is_doubtful(self) -> bool:
        """Whether everything is stored, but the client forgot losses that may be of this file."""
        return bool(self.forgotten) and not self._is_wrong

    @property
    def _is_wrong(self) -> bool:
        return bool(self.problem or self.missing or self.altered or self.losses or self.former)

    @property
    def is_proven(self) -> bool:
        """Whether everything is stored once, except what is in `expired` or `skipped`."""
        return self.is_whole and not self.repeated


def verify_all(
    inputs: Iterable[FileSettings],
    checkpoints: Checkpoints,
    reports: ReportClient,
    *,
    known: ClientKnowledge = _KNOWS_NOTHING,
    with_text: bool = False,
) -> list[Verdict]:
    """Compare each file of these inputs, once, with what the server has stored, and the files that had its name before.

    `known` is what the client knows to be lost; patterns match the names of such files, too. `with_text` adds to each
    wrong line what it should be, and what it is. Raises DeliveryError.
    """
    verdicts, inputs = [], list(inputs)
    lost = [name for wanted in inputs for name in known.names_for(wanted)]
    for path in map(Path, dict.fromkeys((*files_of(inputs), *lost))):
        verdict = verify(path, checkpoints, reports, with_text=with_text)
        copies = copies_of(path, verdict.source, checkpoints, reports) if verdict.source else {}
        verdict.repeated += sum(copies.values())
        verdict.times_stored += sum(lines >= verdict.stored for lines in copies.values() if lines)
        known_losses = known.of_name(path, verdict.source)
        named = former_sources(path, verdict.source, checkpoints, reports, known_losses)
        former = [source for source in named if source.source not in copies]
        add_unrecorded(known_losses, verdict.source, verdict.losses, former)
        verdict.former = [source for source in former if not source.is_whole]
        verdict.former_whole = len(former) - len(verdict.former)
        verdict.forgotten = known.problems()
        verdicts.append(verdict)
    return verdicts


def files_of(inputs: Iterable[FileSettings]) -> list[str]:
    """Return the files of these inputs, each once."""
    return list(dict.fromkeys(path for own in inputs for path in _files_of(own)))


def _files_of(wanted: FileSettings) -> Iterator[str]:
    """Yield the files of an input; a pattern that matches none is yielded itself, and reported as a missing file."""
    for name in wanted.log_file:
        if is_pattern(name):
            yield from list(filter(os.path.isfile, matching([name], wanted.exclude))) or [name]
        else:
            yield name


def verify(path: Path, checkpoints: Checkpoints, reports: ReportClient, *, with_text: bool = False) -> Verdict:
    """Compare one file with what the server has stored of it. Raises DeliveryError."""
    try:
        file = SourceFile(path, max_line_bytes=PLAIN.max_line_bytes, content=open_content(path))
    except FileNotFoundError:
        return Verdict(str(path), problem="no such file")
    except SourceError as error:
        return Verdict(str(path), problem=error.reason)
    try:
        shipped = find_checkpoints(file, checkpoints) or _before_edit(file, checkpoints)
        if not shipped:
            lines = rerender(file, file.readable_end, UNKNOWN).lines
            problem = NEVER_SHIPPED if lines else ""
            return Verdict(str(path), lines=lines, problem=problem)
        checkpoint, pages = _latest_known(shipped, reports)
        is_edited = not has_content(file, checkpoint)
        verdict, runs = _compare(file, checkpoint, pages, reports)
        not_shown = _find_wrong_lines(file, checkpoint, runs, reports, verdict, with_text=with_text)
        is_edited |= any(piece.reason == _CHANGED for piece in verdict.altered)
        if is_edited and not (verdict.problem or verdict.is_proven):
            verdict.problem = f"changed since it was shipped at {moment(checkpoint.seen_at)}"
        verdict.problem = verdict.problem or not_shown
        return verdict
    finally:
        file.close()


def _find_wrong_lines(
    file: SourceFile,
    checkpoint: Checkpoint,
    runs: Sequence[Run],
    reports: ReportClient,
    verdict: Verdict,
    *,
    with_text: bool,
) -> str:
    """Add the lines of `runs` that differ to a verdict; return why that is not possible, or ""."""
    try:
        for run in runs if reports.can_heal else ():
            stored = (data for extent in run.extents for data in reports.content(checkpoint.id, extent.start))
            found = line_problems(file, run, checkpoint.renderings or UNKNOWN, stored, with_text=with_text)
            verdict.wrong_lines += found[: MAX_PROBLEMS - len(verdict.wrong_lines)]
    except QuestionRefused as error:
        return f"which lines differ is not known: {error}"
    return ""


def _latest_known(shipped: Sequence[Checkpoint], reports: ReportClient) -> tuple[Checkpoint, list[ReportPage]]:
    """Return the first checkpoint that the server knows, or else the first, with the server's report.

    A file that was shipped again, as another source, may have been shipped to another server.
    """
    pages = [list(reports.report(shipped[0].id))]
    for checkpoint in shipped[1:]:
        if pages[-1][0].is_known:
            break
        pages.append(list(reports.report(checkpoint.id)))
    found = len(pages) - 1 if pages[-1][0].is_known else 0
    return shipped[found], pages[found]


def find_checkpoints(file: SourceFile, checkpoints: Checkpoints) -> list[Checkpoint]:
    """Return the checkpoints of the file, the latest first, or else the latest of the same inode with other content.

    An archive is a different file from the one that was shipped: the archive's name gives the original names, and its
    content decides whether it is that file.
    """
    of_inode = checkpoints.of_identity(*file.identity)
    same = [checkpoint for checkpoint in of_inode if has_content(file, checkpoint)]
    if not same and is_archive_name(file.path.name):
        plain = without_archive_suffix(file.path.name)
        names = [file.path.with_name(name) for name in (plain, *original_names(plain))]
        shipped = [checkpoint for name in names for checkpoint in checkpoints.of_path(str(name))]
        same = [checkpoint for checkpoint in shipped if checkpoint.committed and has_content(file, checkpoint)]
    found = sorted(same or of_inode, key=lambda checkpoint: checkpoint.seen_at, reverse=True)
    return found if same else found[:1]


def _before_edit(file: SourceFile, checkpoints: Checkpoints) -> list[Checkpoint]:
    """Return the latest checkpoint of the path of a file, in a list, if an editor replaced the file that was shipped.

    If the file that was shipped is still there under another name, it was rotated, and this file is a new one.
    """
    shipped = [known for known in checkpoints.of_path(str(file.path)) if known.committed]
    latest = max(shipped, key=lambda checkpoint: checkpoint.seen_at, default=None)
    if latest is None or latest.has_window or latest.is_settled:
        return []
    folders = FolderListings()
    other = folders.listing(str(file.path.parent)).by_inode.get(latest.inode)
    try:
        places = [*rotated_paths(file.path, folders), *([file.path.with_name(other)] if other else [])]
    except OSError:  # files are renamed all the time: this one is new
        return []
    return [] if any(_holds(place, latest) for place in places) else [latest]


def _holds(path: Path, checkpoint: Checkpoint) -> bool:
    try:
        with contextlib.closing(SourceFile(path, max_line_bytes=1, content=open_content(path))) as file:
            return has_content(file, checkpoint)
    except (OSError, SourceError):
        return False


def _compare(
    file: SourceFile, checkpoint: Checkpoint, pages: list[ReportPage], reports: ReportClient
) -> tuple[Verdict, list[Run]]:
    """Return the verdict on a file, and the extents that are there but do not agree."""
    verdict, committed = Verdict(str(file.path), checkpoint.id), pages[0].committed
    why = checkpoint.why_missing(reports.store, found=committed)
    if not pages[0].is_known:
        verdict.problem = f"the server has never heard of source {checkpoint.id}{why and f': {why}'}"
        return verdict, []
    recorded = reports.losses(pages[0])
    # A server may call any range skipped; the client knows what it has skipped.
    verdict.skipped = sorted(loss for loss in recorded.skipped if loss.end <= checkpoint.asked_from)
    others = (loss for loss in recorded.skipped if loss.end > checkpoint.asked_from)
    verdict.losses = sorted((*recorded.lost, *others))
    comparison = _Comparison(file, checkpoint.renderings or UNKNOWN, verdict)
    for extent in _extents(pages):
        comparison.compare(extent)
    comparison.expect_nothing(committed, "not on the server, although the server reports it as stored")
    if why:
        comparison.expect_nothing(min(checkpoint.acked_until, file.readable_end), why)
    comparison.expect_nothing(file.readable_end, "not shipped yet")
    verdict.problem = "; ".join([*file.problems, *filter(None, [recorded.problem])])
    return verdict, comparison.runs


def _extents(pages: list[ReportPage]) -> Iterator[Extent]:
    for page in pages:
        yield from page.extents


@dataclass(slots=True)
class _Comparison:
    """Reads through a file, and records what it finds in a verdict. `line` is the last line that was read."""

    file: SourceFile
    renderings: Renderings
    verdict: Verdict
    line: int = 0
    runs: list[Run] = field(default_factory=list)

    def compare(self, extent: Extent) -> None:
        """Compare the next extent with the file."""
        file, verdict = self.file, self.verdict
        if extent.start < file.offset:
            verdict.repeated += extent.lines
            return
        self.expect_nothing(extent.start, "not on the server")
        before = self.line
        found = self._rerender(extent.end)
        where, lines = (extent.start, extent.end, extent.lines), (before + 1, self.line)
        if extent.state == "missing":
            verdict.missing.append(Range(*where, f"the server's segment is gone ({extent.segment})", *lines))
        elif extent.state == "unreadable":
            verdict.missing.append(Range(*where, f"on the server {extent.segment} {extent.problem}", *lines))
        elif extent.state == "expired":
            verdict.expired.append(Range(*where, f"deleted by the server's retention ({extent.segment})", *lines))
        elif extent.state == "altered":
            verdict.altered.append(Range(*where, f"changed on the server's disk ({extent.segment})", *lines))
            self._add_to_run(extent, before + 1)
        elif (found.lines, found.crc32) != (extent.lines, extent.crc32):
            verdict.altered.append(Range(*where, _CHANGED, *lines))
            self._add_to_run(extent, before + 1)
        else:
            verdict.stored += extent.lines

    def expect_nothing(self, end: int, reason: str) -> None:
        """Read on to `end`, where only blank lines and known losses are expected; record other lines as missing."""
        start, before = self.file.offset, self.line
        if start >= end:
            return
        found = self._rerender(end)
        if found.lines and not _are_in(start, end, (*self.verdict.losses, *self.verdict.skipped)):
            self.verdict.missing.append(Range(start, end, found.lines, reason, before + 1, self.line))

    def _rerender(self, end: int) -> Rerendered:
        found = rerender(self.file, end, self.renderings)
        self.verdict.lines += found.lines
        self.verdict.filtered += found.filtered
        self.verdict.nuls += found.nuls
        self.line += found.file_lines
        return found

    def _add_to_run(self, extent: Extent, first_line: int) -> None:
        """Note an extent that does not agree; neighbours are compared together, since lines may have moved."""
        if not self.runs or self.runs[-1].extents[-1].end != extent.start:
            self.runs.append(Run(first_line))
        self.runs[-1].extents.append(extent)


def _are_in(start: int, end: int, losses: Iterable[RecordedLoss]) -> bool:
    """Whether every byte from `start` to `end` is in one of `losses`."""
    for loss in sorted(losses, key=lambda loss: loss.start):
        if loss.start <= start:
            start = max(start, loss.end)
    return start >= end
