"""`logferry verify`: is everything in a file on the server's disk, once and unchanged?

The client renders the file again, extent by extent, as the checkpoint says that it was rendered, and compares each
CRC-32 with the server's ledger; the server compares its ledger with its disk. So a line that was removed, changed or
added on either side is detected.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from logferry.client.files.archives.archive import open_content
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.listing import FolderListings
from logferry.client.finding.patterns import is_pattern, matching
from logferry.client.finding.rotation_names import is_archive_name, original_names, without_archive_suffix
from logferry.client.proof.comparison import CHANGED, Comparison
from logferry.client.proof.copies import copies_of
from logferry.client.proof.former import former_sources
from logferry.client.proof.known import ClientKnowledge, add_unrecorded
from logferry.client.proof.lines import MAX_PROBLEMS, Run, line_problems
from logferry.client.proof.proof_source import ProofSource
from logferry.client.proof.verdict import Verdict
from logferry.client.readers.rerender import Renderings, rerender
from logferry.client.recognition.recognise import has_content
from logferry.client.recognition.rotated import rotated_paths
from logferry.client.state.checkpoint import Checkpoint
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import FileSettings
from logferry.errors import QuestionRefused, SourceError
from logferry.model.render_spec import PLAIN
from logferry.printable import moment
from logferry.progress import Tally
from logferry.protocol.messages.elsewhere import store_of
from logferry.protocol.messages.reports import Extent, ReportPage

NEVER_SHIPPED: Final = "never shipped, as far as the state folder knows"
_KNOWS_NOTHING: Final = ClientKnowledge()
# Nothing was sent, or was acked before the client was killed, or a version that knew no other rendering sent it.
UNKNOWN: Final[Renderings] = ((0, PLAIN),)


def verify_all(
    inputs: Iterable[FileSettings],
    checkpoints: Checkpoints,
    reports: ProofSource,
    *,
    known: ClientKnowledge = _KNOWS_NOTHING,
    with_text: bool = False,
    tally: Tally | None = None,
) -> list[Verdict]:
    """Compare each file of these inputs, once, with what the server has stored, and the files that had its name before.

    `known` is what the client knows to be lost; patterns match the names of such files, too. `with_text` adds to each
    wrong line what it should be, and what it is; `tally` counts what is done. Raises DeliveryError.
    """
    verdicts, inputs = [], list(inputs)
    lost = [name for wanted in inputs for name in known.names_for(wanted)]
    paths = [Path(name) for name in dict.fromkeys((*files_of(inputs), *lost))]
    tally = tally or Tally()
    sizes = [_size_of(path) for path in paths]
    tally.total_bytes, tally.total_files = sum(sizes), len(paths)
    for path, size in zip(paths, sizes, strict=True):
        verdict = verify(path, checkpoints, reports, with_text=with_text, on_open=tally.begin)
        tally.end(size)
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


def _size_of(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def verify(
    path: Path,
    checkpoints: Checkpoints,
    reports: ProofSource,
    *,
    with_text: bool = False,
    on_open: Callable[[Callable[[], int]], object] = lambda _: None,
) -> Verdict:
    """Compare one file with what the server has stored of it. Raises DeliveryError.

    `on_open` gets a function that returns how many bytes of the file are read.
    """
    try:
        file = SourceFile(path, max_line_bytes=PLAIN.max_line_bytes, content=open_content(path))
    except FileNotFoundError:
        return Verdict(str(path), problem="no such file")
    except SourceError as error:
        return Verdict(str(path), problem=error.reason)
    on_open(lambda: file.offset)
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
        is_edited |= any(piece.reason == CHANGED for piece in verdict.altered)
        if is_edited and not (verdict.problem or verdict.is_proven):
            verdict.problem = f"changed since it was shipped at {moment(checkpoint.seen_at)}"
        verdict.problem = "; ".join(filter(None, [verdict.problem, not_shown]))
        return verdict
    finally:
        file.close()


def _find_wrong_lines(
    file: SourceFile,
    checkpoint: Checkpoint,
    runs: Sequence[Run],
    reports: ProofSource,
    verdict: Verdict,
    *,
    with_text: bool,
) -> str:
    """Add the lines of `runs` that differ to a verdict; return why that is not possible, or ""."""
    try:
        for run in runs if reports.can_heal else ():
            stored = (data for extent in run.extents for data in reports.content_of(checkpoint.id, extent))
            found = line_problems(file, run, checkpoint.renderings or UNKNOWN, stored, with_text=with_text)
            verdict.wrong_lines += found[: MAX_PROBLEMS - len(verdict.wrong_lines)]
    except QuestionRefused as error:
        return f"which lines differ is not known: {error}"
    return ""


def _latest_known(shipped: Sequence[Checkpoint], reports: ProofSource) -> tuple[Checkpoint, list[ReportPage]]:
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
    file: SourceFile, checkpoint: Checkpoint, pages: list[ReportPage], reports: ProofSource
) -> tuple[Verdict, list[Run]]:
    """Return the verdict on a file, and the extents that are there but do not agree."""
    verdict, committed = Verdict(str(file.path), checkpoint.id), pages[0].committed
    why = checkpoint.why_missing(reports.store, found=committed)
    if not pages[0].is_known:
        verdict.problem = f"the server has never heard of source {checkpoint.id}{why and f': {why}'}"
        return verdict, []
    is_foreign = reports.is_foreign(checkpoint.id)
    foreign = f"what the server has of source {checkpoint.id} belongs to another client" if is_foreign else ""
    recorded = reports.losses(pages[0])
    # A server may call any range skipped; the client knows what it has skipped. What lies elsewhere must be there.
    all_recorded = (*recorded.lost, *recorded.skipped)
    elsewhere = {loss for loss in all_recorded if store_of(loss.reason)}
    verdict.skipped = sorted(loss for loss in recorded.skipped if loss.end <= checkpoint.asked_from)
    others = (loss for loss in recorded.skipped if loss.end > checkpoint.asked_from)
    verdict.losses = sorted(loss for loss in (*recorded.lost, *others) if loss not in elsewhere)
    renderings = checkpoint.renderings or UNKNOWN
    comparison = Comparison(file, renderings, verdict, reports.server_of, reports.explained(sorted(elsewhere)))
    for extent in _extents(pages):
        comparison.compare(extent)
    comparison.expect_nothing(committed, "not on the server, although the server reports it as stored")
    if why:
        comparison.expect_nothing(min(checkpoint.acked_until, file.readable_end), why)
    comparison.expect_nothing(file.readable_end, "not shipped yet")
    verdict.problem = "; ".join([*file.problems, *filter(None, [recorded.problem, foreign])])
    return verdict, comparison.runs


def _extents(pages: list[ReportPage]) -> Iterator[Extent]:
    for page in pages:
        yield from page.extents
