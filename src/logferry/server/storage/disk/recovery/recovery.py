"""Recovery: makes segments and ledger agree when a store is opened, whatever the last crash left.

1. Bytes that the ledger keeps because their segment was not synced yet are rewritten there (deferred_sync.py).
2. What the ledger has lost is entered again from the journals of the segments (lost_transactions.py).
3. Every open segment gets its length in the ledger; what it holds beyond that is moved aside (surplus.py). One that is
   too short is damaged: it is closed and left as it is. One segment of each log stays open. Those without a log, which
   an earlier version has made, are closed, except for those of the plain protocol, which go on in the same folder.
4. Files of expired segments that were not deleted yet are found: retention goes on with them.
5. Journals that lack something are completed from the ledger (journal_completion.py).
6. Segments with another file than the ledger says, plain or compressed, are found: the compressor settles them.

Recovery never deletes bytes because the ledger lacks them, and leaves files alone that neither ledger nor journals
have. It counts what it did. After a crash during recovery, the next start finishes the work.
"""

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.files.segment_files import SegmentFiles, files_of_segments, log_folders
from logferry.server.storage.disk.files.segment_forms import own_forms_of
from logferry.server.storage.disk.files.surplus import surplus_name
from logferry.server.storage.disk.journals.journal_completion import complete_journals
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.lost_transactions import enter_lost_transactions
from logferry.server.storage.disk.segments.deferred_sync import recover_deferred
from logferry.server.storage.disk.segments.open_segments import new_damage_log, restore_length
from logferry.server.storage.log_names import PLAIN
from logferry.server.storage.records import SegmentRow
from logferry.server.storage.store import RecoveryReport

logger = logging.getLogger(__name__)


class Recovered(NamedTuple):
    """What recovery did, the segments whose journals could not be completed, and those that retention must delete.

    `unsettled` are the numbers of segments that have another file than the ledger says, or one more.
    """

    report: RecoveryReport
    incomplete: Collection[str]
    undeleted: Sequence[SegmentRow] = ()
    unsettled: Sequence[int] = ()


def recover(root: Path, ledger: Ledger, files: FileSystem, *, is_certain: bool) -> Recovered:
    """Make the segments under `root` agree with the ledger; return what was done. Raises OSError.

    `is_certain` says that no power cut can have cost the ledger what was acked.
    """
    report = RecoveryReport(segments_rewritten=recover_deferred(root, ledger, files))
    journals = JournalFiles(root)
    lost = enter_lost_transactions(root, ledger, journals)
    report = replace(report, segments_adopted=lost.entered)
    rows = ledger.segments()
    is_certain = is_certain and not lost.is_any
    opened = [row for row in rows if row.state == "open"]
    report = _restore_lengths(root, ledger, files, journals, opened, report, is_certain=is_certain)
    incomplete = complete_journals(root, ledger, journals)
    _report_surplus(root)
    found = {files.path: files for files in files_of_segments(root)}
    undeleted = [row for row in rows if row.state == "expired" and own_forms_of(root / row.path, row.compression)]
    report = replace(
        report,
        segments=sum(row.state != "expired" for row in rows),
        segments_deleted=len(undeleted),
        segments_unknown=_warn_of_unknown(found.keys() - {row.path for row in rows}),
    )
    return Recovered(report, incomplete, undeleted, list(_unsettled(rows, found)))


def _unsettled(rows: Iterable[SegmentRow], found: Mapping[str, SegmentFiles]) -> Iterator[int]:
    for row in rows:
        files = found.get(row.path)
        if files and row.state != "expired" and (files.is_unfinished or files.forms != {row.compression}):
            yield row.id


def _restore_lengths(
    root: Path,
    ledger: Ledger,
    files: FileSystem,
    journals: JournalFiles,
    rows: Sequence[SegmentRow],
    report: RecoveryReport,
    *,
    is_certain: bool,
) -> RecoveryReport:
    last_of_folder = {os.path.dirname(row.path): row.id for row in rows if _may_go_on(row)}  # rows come oldest first
    log = new_damage_log()
    restored = {row.id: restore_length(root, row, files, journals, log=log, is_certain=is_certain) for row in rows}
    log.flush()
    to_close = [
        row._replace(state="closed")
        for row in rows
        if not restored[row.id].can_grow or last_of_folder.get(os.path.dirname(row.path)) != row.id
    ]
    if to_close:
        with ledger.transaction():
            ledger.set_segments(to_close)
    moved = [outcome.surplus for outcome in restored.values() if outcome.surplus]
    return replace(
        report,
        bytes_moved=report.bytes_moved + sum(moved),
        segments_moved=report.segments_moved + len(moved),
        segments_too_short=sum(outcome.is_too_short for outcome in restored.values()),
    )


def _may_go_on(row: SegmentRow) -> bool:
    return row.log is not None or os.path.basename(os.path.dirname(row.path)) == PLAIN


def _report_surplus(root: Path) -> None:
    """Log how much surplus lies beside segments: `--retention-bytes` does not count it."""
    paths = (root / folder / name for folder, names in log_folders(root) for name in names if surplus_name(name))
    sizes = [path.lstat().st_size for path in paths]
    if sizes:
        message = "%d files of surplus with %d bytes lie beside segments, see `logferry fsck`; --retention-bytes does "
        logger.warning(f"{message}not count them, and they are deleted with their segments", len(sizes), sum(sizes))


def _warn_of_unknown(unknown: Collection[str]) -> int:
    if unknown:
        logger.warning("%d segments are not in the ledger and left alone: %s ...", len(unknown), min(unknown))
    return len(unknown)
