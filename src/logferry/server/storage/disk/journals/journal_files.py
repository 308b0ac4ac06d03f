"""Reads the journals of a data folder: the own journal of a segment and the shared one, as if they were one journal.

Reads the shared journal once, when it is asked for the first time, so an object of this class must not be kept while a
server writes. Never writes.
"""

from collections.abc import Collection, Iterator
from functools import cached_property, partial
from pathlib import Path

from logferry.errors import cause_of
from logferry.server.storage.disk.journals.journal import (
    MAX,
    Total,
    journal_lines,
    journal_total,
    last_total,
)
from logferry.server.storage.disk.journals.journal_reading import FoundJournal, Lines, outline_of
from logferry.server.storage.disk.journals.shared_journal import Pieces, shared_pieces
from logferry.server.storage.records import SegmentRow


class JournalFiles:
    """The journals below one folder. Paths of segments are below this folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.problem = ""  # why the shared journal cannot be read, once anything was read

    @property
    def shared(self) -> Collection[str]:
        """The paths of segments about which the shared journal has something."""
        return self._pieces.keys()

    def total(self, path: str) -> Total | None:
        """Return what a segment holds according to its journal; None if it does not say. Raises OSError."""
        own = journal_total(self._root / path)
        shared = last_total(self._pieces.get(path, ()))
        return max(filter(None, (own, shared)), key=lambda total: total.bytes, default=None)

    def found(self, path: str, *, limit: int = MAX, segment: Path | None = None) -> FoundJournal | None:
        """Return what the journals have about a segment, up to where it held `limit` bytes. Raises OSError.

        `segment` is another path that leads to it.
        """
        shared = self._pieces.get(path, [])
        own = partial(journal_lines, segment or self._root / path)
        both: tuple[Lines, Lines] = (lambda: shared, own)
        parts = [(outline, lines) for lines in both if (outline := outline_of(lines(), limit=limit))]
        parts.sort(key=lambda part: part[0].total.bytes if part[0].total else -1)
        return FoundJournal(parts) if parts else None

    def lines(self, path: str) -> Iterator[bytes]:
        """Yield the lines of the journals of a segment, those last that were written last. Raises OSError."""
        own, shared = journal_total(self._root / path), last_total(self._pieces.get(path, ()))
        if own and (shared is None or shared.bytes < own.bytes):
            yield from self._pieces.get(path, ())
            yield from journal_lines(self._root / path)
        else:
            yield from journal_lines(self._root / path)
            yield from self._pieces.get(path, ())

    def agrees(self, row: SegmentRow) -> bool:
        """Whether the journal of a segment has neither more nor less than the ledger."""
        try:
            return self.total(row.path) == (row.bytes, row.lines, row.crc32)
        except OSError:
            return False

    @cached_property
    def _pieces(self) -> Pieces:
        try:
            return shared_pieces(self._root)
        except OSError as error:
            self.problem = cause_of(error)
            return {}
