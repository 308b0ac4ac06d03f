"""Enters again what a ledger has lost: journals of segments (journal.py) that are ahead of the ledger.

Entries reach a journal only after the ledger has recorded them. So a journal that is ahead shows that the ledger has
lost transactions: its log was removed or damaged, or an older copy of it was put in place. The lines were acked.
They are entered if the segment holds exactly what its journal says, in length, lines and CRC-32, of each source up to
the first gap. Otherwise recovery moves them aside. Never touches a segment.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from logferry.errors import cause_of
from logferry.printable import printable
from logferry.server.storage.disk.content.measure import Measure, measure
from logferry.server.storage.disk.content.segment_bytes import any_form
from logferry.server.storage.disk.files.segment_files import segment_files
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.journals.journal_reading import FoundJournal
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.entering import Entering
from logferry.server.storage.disk.recovery.found_logs import log_of_journal
from logferry.server.storage.records import SegmentRow
from logferry.telemetry.log_limits import RateLimit

logger = logging.getLogger(__name__)


class Lost(NamedTuple):
    """Whether any journal is ahead of the ledger, and of how many segments that was entered again."""

    is_any: bool = False
    entered: int = 0


def enter_lost_transactions(root: Path, ledger: Ledger, journals: JournalFiles) -> Lost:
    """Enter what journals have and the ledger has not, of each source up to the first gap. Raises OSError."""
    ahead = list(_ahead(root, ledger, journals))
    found = [(row, journal) for row, journal in ahead if journal]
    if not found:
        return Lost(bool(ahead))
    with ledger.transaction():
        entering = Entering(ledger)
        lines = sum(_enter(ledger, entering, row, journal) for row, journal in found)
        gaps = list(entering.finish())
    log = RateLimit(logger, per_second=10, what="gaps in what the journals have")
    for gap in gaps:
        message = "%s: what follows byte %d is stored again by its client, because ledger and journals lack something"
        log.log(logging.WARNING, message, printable(gap.path), gap.start)
    log.flush()
    message = "the ledger had lost %d lines in %d segments that were acknowledged; entered them again from the journals"
    logger.warning(message, lines, len(found))
    return Lost(True, len(found))


def _enter(ledger: Ledger, entering: Entering, row: SegmentRow, journal: FoundJournal) -> int:
    assert journal.total
    size, lines, crc32 = journal.total
    now = row._replace(bytes=size, lines=lines, crc32=crc32)
    if row.id:
        ledger.set_segment(now)
    else:
        log = log_of_journal(ledger, os.path.dirname(row.path), journal)
        now = ledger.add_known_segment(now._replace(log=log))
    for piece in journal.pieces():
        entering.add(now, piece)
    return now.lines - row.lines


def _ahead(root: Path, ledger: Ledger, journals: JournalFiles) -> Iterator[tuple[SegmentRow, FoundJournal | None]]:
    """Yield segments whose journals are ahead of the ledger, as they were begun; None for one that does not fit."""
    store_id = ledger.store_id
    rows = {row.path: row for row in ledger.segments()}
    unknown = (f"{folder}/{name}" for folder, name in segment_files(root))
    new = [SegmentRow(0, path) for path in unknown if path not in rows]
    for row in [*(row for row in rows.values() if row.state == "open"), *new]:
        try:
            total = journals.total(row.path)
            if total and total.bytes > row.bytes:
                yield row, _journal_ahead(root, row, journals, store_id)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                cause = printable(cause_of(error, with_path=True))
                logger.warning("cannot compare a segment with its journal: %s", cause)


def _journal_ahead(root: Path, row: SegmentRow, journals: JournalFiles, store_id: str) -> FoundJournal | None:
    path = root / row.path
    with any_form(path) as content:
        if content.size <= row.bytes:
            return None
        journal = journals.found(row.path, limit=content.size)
        if journal is None or journal.store_id != store_id or not journal.total or journal.total.bytes <= row.bytes:
            return None
        if measure(content, 0, journal.total.bytes) != Measure(*journal.total):
            logger.error("%s does not hold what its journal says, see `logferry fsck`", printable(os.fspath(path)))
            return None
        return journal
