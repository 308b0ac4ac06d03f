"""What retention counts: the bytes of all segments that are kept, with their journals, and which are the oldest.

Reads the ledger once, and then follows: a new segment costs the same however many there are. Groups add what they have
stored; a compressed segment counts as its file. Of segments that may have changed in another way, a few are looked at
each time. So a journal counts as it was when it was last looked at. Never deletes, and never writes to the ledger. Does
not count the journal that new segments share: deleting segments would not make it smaller. Used by the writer thread.
"""

import heapq
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from logferry.server.storage.disk.files.regular import size_of
from logferry.server.storage.disk.files.segment_names import segment_name
from logferry.server.storage.disk.journals.journal import journal_path
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import SegmentRow

# Looked at with each new segment: those that are open, or whose journal was not there. About 20 us each.
LOOKS: Final = 16


class KeptSegments:
    """The segments that are not expired, as of when the ledger was read, and what has become of them."""

    def __init__(self, root: Path, ledger: Ledger, *, by_age: bool, by_day: bool) -> None:
        """Read the ledger. `by_age` and `by_day` say what `expire` will be asked. Raises OSError."""
        self._root = root
        self._ledger = ledger
        self._by_age: list[int] | None = [] if by_age else None  # heaps of closed segments
        self._by_day: list[tuple[str, int]] | None = [] if by_day else None
        self._closed: set[int] = set()  # what else the heaps have is expired
        self._journals: dict[int, int] = {}  # how much of `bytes` is journals
        self._compressed: dict[int, int] = {}  # how much of `bytes` is the file of a compressed segment
        self._watched: deque[int] = deque()
        self.bytes = 0
        for row in ledger.segments("open", "closed"):
            self.bytes += row.bytes
            self._count_form(row)
            self._count_journal(row)
            if row.state == "closed":
                self._add_closed(row)
            self._watch(row)

    def begun(self, segments: Iterable[int]) -> None:
        """Take in new segments."""
        self._watched.extend(segments)

    def closed(self, segments: Iterable[int]) -> None:
        """Take in that segments have been closed. Raises OSError."""
        for segment in segments:
            row = self._ledger.segment(segment)
            if row and row.state == "closed" and segment not in self._closed:
                self._count_journal(row)
                self._add_closed(row)

    def changed(self, segments: Iterable[int]) -> None:
        """Take in that segments have been compressed, or made plain. Raises OSError."""
        for segment in segments:
            row = self._ledger.segment(segment)
            if row and row.state != "expired":
                self._count_form(row)

    def look(self) -> None:
        """Look at a few of those that may have changed. Raises OSError."""
        for _ in range(min(LOOKS, len(self._watched))):
            segment = self._watched.popleft()
            if segment in self._closed and self._journals[segment]:
                continue
            row = self._ledger.segment(segment)
            if row is None or row.state == "expired":
                continue
            self._count_journal(row)
            if row.state == "closed" and row.id not in self._closed:
                self._add_closed(row)
            self._watch(row)

    def expire(self, *, max_bytes: int, first_day: str) -> list[SegmentRow]:
        """Take out, and return, the closed segments from before a day, and the oldest beyond `max_bytes`.

        "" and 0 are no limit. Raises OSError.
        """
        expired: list[SegmentRow] = []
        while self._by_day and self._by_day[0][0] < first_day:
            self._take_out(heapq.heappop(self._by_day)[1], expired)
        while self._by_age and max_bytes and self.bytes > max_bytes:
            self._take_out(heapq.heappop(self._by_age), expired)
        return sorted(expired, key=lambda row: row.id)

    def _take_out(self, segment: int, expired: list[SegmentRow]) -> None:
        if segment not in self._closed:
            return
        self._closed.remove(segment)
        self.bytes -= self._journals.pop(segment, 0)
        row = self._ledger.segment(segment)
        if row and row.state == "closed":
            self.bytes -= self._compressed.pop(segment, row.bytes)
            expired.append(row)

    def _add_closed(self, row: SegmentRow) -> None:
        self._closed.add(row.id)
        if self._by_age is not None:
            heapq.heappush(self._by_age, row.id)
        if self._by_day is not None:
            heapq.heappush(self._by_day, (day_of(row), row.id))

    def _watch(self, row: SegmentRow) -> None:
        """Have a segment looked at again, if it or its journal may still change."""
        if row.state == "open" or not self._journals[row.id]:
            self._watched.append(row.id)

    def _count_form(self, row: SegmentRow) -> None:
        counted = self._compressed.pop(row.id, row.bytes)
        if row.compression:
            self._compressed[row.id] = row.stored_bytes
        self.bytes += self._compressed.get(row.id, row.bytes) - counted

    def _count_journal(self, row: SegmentRow) -> None:
        size = journal_bytes(self._root / row.path)
        self.bytes += size - self._journals.get(row.id, 0)
        self._journals[row.id] = size


def journal_bytes(segment: Path) -> int:
    """Return how many bytes the journal of a segment has; 0 if it cannot be seen."""
    try:
        return size_of(journal_path(segment))
    except OSError:
        return 0


def day_of(row: SegmentRow) -> str:
    """Return the day on which a segment was begun; "" if its name does not say."""
    name = segment_name(os.path.basename(row.path))
    return name.day if name else ""
