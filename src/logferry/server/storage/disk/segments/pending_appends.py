"""Appends that the ledger has not recorded yet: what to sync, what to record, and what to undo.

Owned by `Segments`, in the writer thread. Never touches a file or the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logferry.server.storage.records import SegmentRow

# If a group writes less than this to each of several segments on average, their sync is deferred: writing the bytes
# into the ledger takes less time than the syncs.
_LITTLE_BYTES: Final = 64 * 1024

Piece = tuple[int, int, bytes]
"""Bytes of a segment: its number, their position, and the bytes."""


@dataclass(slots=True)
class PendingAppends:
    """Appends since the last group was recorded. `keeps_pieces` says whether their sync may be deferred."""

    keeps_pieces: bool
    rows: dict[int, SegmentRow] = field(default_factory=dict)  # what the ledger must record of the segments
    lengths_before: dict[Path, int] = field(default_factory=dict)  # of each file that was appended to
    unsynced: dict[Path, int] = field(default_factory=dict)  # files to their descriptors
    deferred: list[Piece] = field(default_factory=list)  # what the ledger must keep, because it is not synced
    _pieces: list[tuple[int, int, Sequence[bytes]]] = field(default_factory=list)
    _size: int = 0

    def add(self, before: SegmentRow, after: SegmentRow, pieces: Sequence[bytes]) -> None:
        """Note pieces that were appended to a segment."""
        if self.keeps_pieces:
            self._pieces.append((before.id, before.bytes, pieces))
            self._size += after.bytes - before.bytes
        self.rows[after.id] = after

    def defer_if_small(self) -> bool:
        """Move what needs a sync to `deferred`, if that is little for each of several files; return whether it was."""
        count = len(self.unsynced)
        if count <= 1 or self._size >= count * _LITTLE_BYTES:
            return False
        self.deferred = [(segment, position, b"".join(pieces)) for segment, position, pieces in self._pieces]
        self.unsynced.clear()
        return True

    def clear(self) -> None:
        """Forget the appends, which were recorded or undone, but not which files need a sync."""
        self.rows.clear()
        self.lengths_before.clear()
        self.deferred = []
        self._pieces.clear()
        self._size = 0
