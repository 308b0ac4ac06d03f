"""Journals as tests compare them: read whole."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from logferry.server.storage.disk.journals.journal import MAX, Origin, State, Total, journal_lines
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.journals.journal_reading import FoundJournal, outline_of
from logferry.server.storage.log_names import LogName
from logferry.server.storage.records import ExtentRow, LossRow, WindowRow


@dataclass(slots=True)
class WholeJournal:
    """All that a journal says."""

    store_id: str = ""
    path: str = ""
    total: Total | None = None
    log: LogName | None = None
    sources: dict[str, Origin] = field(default_factory=dict)
    extents: dict[tuple[str, int], ExtentRow] = field(default_factory=dict)
    states: dict[str, list[State]] = field(default_factory=dict)
    losses: dict[LossRow, None] = field(default_factory=dict)
    windows: dict[WindowRow, None] = field(default_factory=dict)
    damaged_lines: int = 0


def whole(found: FoundJournal) -> WholeJournal:
    """Return all pieces of a journal as one."""
    journal = WholeJournal(found.store_id, found.path, found.total, found.log, damaged_lines=found.damaged_lines)
    for piece in found.pieces():
        journal.sources |= piece.sources
        journal.extents |= piece.extents
        for source, states in piece.states.items():
            journal.states[source] = [*journal.states.get(source, ()), *states][-4:]
        journal.losses |= piece.losses
        journal.windows |= piece.windows
    return journal


def journal_of(lines: Iterable[bytes], *, limit: int = MAX) -> WholeJournal | None:
    """Return what lines say; None if this version cannot read them."""
    kept = list(lines)
    outline = outline_of(kept, limit=limit)
    return whole(FoundJournal([(outline, lambda: kept)])) if outline else None


def read_journal(segment: Path, *, limit: int = MAX) -> WholeJournal | None:
    """Return what the own journal of a segment says."""
    return journal_of(journal_lines(segment), limit=limit)


def whole_of(files: JournalFiles, path: str) -> WholeJournal | None:
    """Return what the journals of a segment say together."""
    found = files.found(path)
    return whole(found) if found else None
