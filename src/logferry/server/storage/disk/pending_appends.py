"""What was appended to segments and is not recorded in the ledger yet: what to sync, what to record, what to undo.

Owned by `Segments`, in the writer thread. Knows neither files nor the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logferry.server.storage.records import SegmentRow

# Several segments with fewer bytes for each on the average are not synced with a group: to write that into the ledger
# takes less time than a sync.
_LITTLE_BYTES: Final = 64 * 1024

Piece = tuple[int, int, bytes]
"""Bytes of a segment: its number, their position, and the bytes."""


@dataclass(slots=True)
class PendingAppends:
    """Appends since the last group was recorded. `keeps_pieces`: whether a sync of them may be deferred."""

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
        """Hand over to `deferred` what is to be synced, if it is little for each of several files; return whether."""
        count = len(self.unsynced)
        if count <= 1 or self._size >= count * _LITTLE_BYTES:
            return False
        self.deferred = [(segment, position, b"".join(pieces)) for segment, position, pieces in self._pieces]
        self.unsynced.clear()
        return True

    def clear(self) -> None:
        """Forget all but what is still to be synced: everything was recorded, or undone."""
        self.rows.clear()
        self.lengths_before.clear()
        self.deferred = []
        self._pieces.clear()
        self._size = 0
