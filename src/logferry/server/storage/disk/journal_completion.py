"""Writes journals anew that lack something the ledger has: those of an earlier version, or what a crash has cost.

Runs when a store is opened, before anything is added. It asks a file's size or end for each segment, and reads all
extents once if any journal lacks something. A journal that is ahead of the ledger, and whose entries were not entered
(lost_transactions.py), is kept beside the surplus of its segment. A failure keeps no server from starting.
"""

import itertools
import logging
import os
from collections.abc import Iterable
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
from logferry.server.storage.disk.regular import size_of
from logferry.server.storage.disk.surplus import surpluses_of
from logferry.server.storage.records import ExtentRow, SegmentRow
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# Losses and unknown windows of a source that each of its journals has.
_MAX_LOSSES: Final = 1000


def complete_journals(root: Path, ledger: Ledger) -> int:
    """Write the journals anew that lack something; return how many. Never raises OSError."""
    try:
        return _complete(root, ledger)
    except OSError as error:
        message = "cannot complete the journals of segments: %s; the next start tries again"
        logger.warning(message, printable(cause_of(error, with_path=True)))
        return 0


def _complete(root: Path, ledger: Ledger) -> int:
    rows = {row.id: row for row in ledger.segments("open", "closed") if row.bytes and _lacks_something(root, row)}
    if not rows:
        return 0
    log = RepeatLimit(logger)
    done: set[int] = set()
    for segment, extents in itertools.groupby(ledger.extents_by_segment(rows.keys()), lambda pair: pair[1].segment):
        done.add(segment)
        _try_to_write(root, rows[segment], _journal(ledger, rows[segment], extents), log)
    for segment in rows.keys() - done:  # lines of the plain protocol
        _try_to_write(root, rows[segment], _journal(ledger, rows[segment], ()), log)
    log.flush()
    logger.info("wrote the journals of %d segments from the ledger", len(rows))
    return len(rows)


def _lacks_something(root: Path, row: SegmentRow) -> bool:
    path = root / row.path
    try:
        if row.state == "closed":
            return size_of(journal_path(path)) == 0
        total = journal_total(path)
        if total and total.bytes > row.bytes:
            _keep_apart(path)
            return True
        return total is None or total.bytes < row.bytes
    except FileNotFoundError:
        return path.parent.is_dir()
    except OSError:  # something else has its name
        return False


def _keep_apart(segment: Path) -> None:
    """Rename a journal that says more than the ledger."""
    kept = sorted(surpluses_of(segment))
    if kept:
        os.rename(journal_path(segment), kept[-1].with_name(f"{kept[-1].name}.journal"))


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


def _try_to_write(root: Path, row: SegmentRow, journal: Journal, log: RepeatLimit) -> None:
    try:
        replace_file(journal_path(root / row.path), b"".join(entries_of(journal)), mode=0o640, is_synced=False)
    except OSError as error:
        message = "cannot write the journal of a segment: %s; without it, a lost ledger cannot be rebuilt as it was"
        log.log(logging.WARNING, cause_of(error), message, printable(cause_of(error, with_path=True)))
