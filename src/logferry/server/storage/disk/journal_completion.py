"""Writes journals anew that lack something the ledger has: those of an earlier version, or what a crash has cost.

Runs when a store is opened, before anything is added. It reads the end of the journal of each segment, and reads all
extents once if any journal lacks something. A journal that is ahead of the ledger, and whose entries were not entered
(lost_transactions.py), is kept under another name. A failure keeps no server from starting.
"""

import itertools
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from logferry.durable import replace_file
from logferry.errors import cause_of
from logferry.printable import printable
from logferry.server.storage.disk.journal import (
    Journal,
    Origin,
    State,
    Total,
    entries_of,
    journal_path,
    journal_total,
)
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import ExtentRow, SegmentRow
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# Losses and unknown windows of a source that each of its journals has.
_MAX_LOSSES: Final = 1000


def complete_journals(root: Path, ledger: Ledger) -> Collection[str]:
    """Write the journals anew that lack something; return the segments for which that failed. Never raises OSError."""
    behind: set[str] = set()
    try:
        rows = {row.id: row for row in ledger.segments("open", "closed") if _lacks_something(root, row)}
        behind = {row.path for row in rows.values()}
        for path in _written(root, ledger, rows):
            behind.discard(path)
    except OSError as error:
        message = "cannot complete the journals of segments: %s; the next start tries again"
        logger.warning(message, printable(cause_of(error, with_path=True)))
    return behind


def _written(root: Path, ledger: Ledger, rows: Mapping[int, SegmentRow]) -> Iterator[str]:
    """Write the journals of these segments; yield the path of each that is written. Raises OSError."""
    if not rows:
        return
    log = RepeatLimit(logger)
    left = dict(rows)
    for segment, extents in itertools.groupby(ledger.extents_by_segment(rows.keys()), lambda pair: pair[1].segment):
        row = left.pop(segment)
        if _is_written(root, row, _journal(ledger, row, extents), log):
            yield row.path
    for row in left.values():  # lines of the plain protocol
        if _is_written(root, row, _journal(ledger, row, ()), log):
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


def _journal(ledger: Ledger, row: SegmentRow, extents: Iterable[tuple[str, ExtentRow]]) -> Journal:
    journal = Journal(ledger.store_id, row.path, Total(row.bytes, row.lines, row.crc32))
    for source, extent in extents:
        journal.extents[source, extent.start] = extent
        if source not in journal.sources and (found := ledger.source(source)):
            journal.sources[source] = Origin(found.owner, found.host, found.path)
            journal.states[source] = [State(found.committed, found.lines, found.crc32)]
            journal.losses.update(dict.fromkeys(ledger.losses(source, limit=_MAX_LOSSES)))
            journal.windows.update(dict.fromkeys(ledger.windows(source, limit=_MAX_LOSSES)))
    return journal


def _is_written(root: Path, row: SegmentRow, journal: Journal, log: RepeatLimit) -> bool:
    try:
        replace_file(journal_path(root / row.path), b"".join(entries_of(journal)), mode=0o640, is_synced=False)
        return True
    except OSError as error:
        message = "cannot write the journal of a segment: %s; without it, a lost ledger cannot be rebuilt as it was"
        log.log(logging.WARNING, cause_of(error), message, printable(cause_of(error, with_path=True)))
        return False
