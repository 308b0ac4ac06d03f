"""Gives each segment its own journal, with all that the ledger has: after a crash, or after an earlier version.

Runs when a store is opened, before anything is added. It writes journals from the shared one, and removes that. Then it
reads the end of the journal of each segment, and reads all extents once if any journal lacks something. A journal that
is ahead of the ledger, and whose entries were not entered (lost_transactions.py), is kept under another name. A failure
keeps no server from starting.
"""

import itertools
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from logferry.durable import Replacement
from logferry.errors import cause_of
from logferry.printable import printable
from logferry.server.storage.disk.journals.compaction import compacted
from logferry.server.storage.disk.journals.journal import (
    Origin,
    begin_entry,
    extent_entry,
    journal_path,
    journal_total,
    log_entry,
    loss_entry,
    source_entry,
    state_entry,
    total_entry,
    window_entry,
)
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.journals.shared_journal import SHARED_NAME
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import ExtentRow, SegmentRow
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# Losses and unknown windows of a source that each of its journals has.
_MAX_LOSSES: Final = 1000


def complete_journals(root: Path, ledger: Ledger, journals: JournalFiles) -> Collection[str]:
    """Write the journals anew that lack something; return the segments for which that failed. Never raises OSError."""
    behind: set[str] = set()
    try:
        recorded = ledger.segments("open", "closed")
        behind.update(_unsettled(root, {row.path for row in recorded}, journals))
        rows = {row.id: row for row in recorded if _lacks_something(root, row)}
        behind.update(row.path for row in rows.values())
        for path in _written(root, ledger, rows):
            behind.discard(path)
        if not behind and not journals.problem:
            (root / SHARED_NAME).unlink(missing_ok=True)
    except OSError as error:
        message = "cannot complete the journals of segments: %s; the next start tries again"
        logger.warning(message, printable(cause_of(error, with_path=True)))
    return behind


def _unsettled(root: Path, recorded: Collection[str], journals: JournalFiles) -> Iterator[str]:
    """Give segments that are in the shared journal their own ones; yield those for which that failed."""
    log = RepeatLimit(logger)
    for path in journals.shared:
        is_needed = path in recorded or os.path.lexists(root / path)
        if is_needed and not _is_written(root, path, compacted(journals.lines(path)), log):
            yield path
    log.flush()


def _written(root: Path, ledger: Ledger, rows: Mapping[int, SegmentRow]) -> Iterator[str]:
    """Write the journals of these segments; yield the path of each that is written. Raises OSError."""
    if not rows:
        return
    log = RepeatLimit(logger)
    left = dict(rows)
    for segment, extents in itertools.groupby(ledger.extents_by_segment(rows.keys()), lambda pair: pair[1].segment):
        row = left.pop(segment)
        if _is_written(root, row.path, _entries(ledger, row, extents), log):
            yield row.path
    for row in left.values():  # lines of the plain protocol
        if _is_written(root, row.path, _entries(ledger, row, ()), log):
            yield row.path
    log.flush()
    logger.info("wrote the journals of %d segments from the ledger", len(rows))


def _lacks_something(root: Path, row: SegmentRow) -> bool:
    path = root / row.path
    try:
        total = journal_total(path)
        if total and total.bytes > row.bytes:
            _keep_apart(path)
            return True
        if total is None and not row.bytes:
            return row.state == "open" and path.parent.is_dir()
        return path.parent.is_dir() if total is None else total != (row.bytes, row.lines, row.crc32)
    except OSError:  # something else has its name
        return False


def _keep_apart(segment: Path) -> None:
    """Rename a journal that says more than the ledger. Raises OSError."""
    journal = journal_path(segment)
    numbers = itertools.count(1)
    kept = next(path for n in numbers if not os.path.lexists(path := journal.with_name(f"{journal.name}.kept-{n}")))
    os.rename(journal, kept)
    logger.warning("%s has more than the ledger; kept it as %s", printable(os.fspath(journal)), kept.name)


def _entries(ledger: Ledger, row: SegmentRow, extents: Iterable[tuple[str, ExtentRow]]) -> Iterator[bytes]:
    """Yield what the ledger has for the journal of a segment: of all that, only the ids of its sources are held."""
    yield begin_entry(ledger.store_id, row.path)
    if row.log is not None and (log := ledger.log(row.log)):
        yield log_entry(log.name)
    known: set[str] = set()
    for source, extent in extents:
        if source not in known and (found := ledger.source(source)):
            known.add(source)
            yield source_entry(source, Origin(found.owner, found.host, found.path))
            yield state_entry(source, found)
            yield from map(loss_entry, ledger.losses(source, limit=_MAX_LOSSES))
            yield from map(window_entry, ledger.windows(source, limit=_MAX_LOSSES))
        yield extent_entry(source, extent)
    yield total_entry(row.bytes, row.lines, row.crc32)


def _is_written(root: Path, path: str, entries: Iterable[bytes], log: RepeatLimit) -> bool:
    """Write a journal anew; return whether that worked."""
    try:
        with Replacement(journal_path(root / path), mode=0o640, is_synced=False) as journal:
            for entry in entries:
                journal.write(entry)
            journal.commit()
        return True
    except OSError as error:
        message = "cannot write the journal of a segment: %s; without it, a lost ledger cannot be rebuilt as it was"
        log.log(logging.WARNING, cause_of(error), message, printable(cause_of(error, with_path=True)))
        return False
