"""Reads journals piece by piece, however long they are: first what they are about, then what they say.

A later entry replaces an earlier one about the same, also across pieces: take the pieces in order. Only reads.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from logferry.server.storage.disk.journals.journal import MAX, VERSION, Journal, Total, parsed
from logferry.server.storage.log_names import LogName

# A few megabytes in memory.
_PIECE_ENTRIES: Final = 10_000

Lines = Callable[[], Iterable[bytes]]


@dataclass(slots=True)
class Outline:
    """What a journal is about; `lines` is how many of its lines count: those up to its last total."""

    store_id: str = ""
    path: str = ""
    log: LogName | None = None  # None: it does not say
    total: Total | None = None  # None: it does not say
    has_extents: bool = False
    damaged_lines: int = 0
    lines: int = 0


def outline_of(lines: Iterable[bytes], *, limit: int = MAX) -> Outline | None:
    """Return what lines are about, up to where the segment held `limit` bytes; None if this version cannot read them.

    Raises OSError if `lines` does.
    """
    outline, has_extents = Outline(), False
    for number, line in enumerate(lines, start=1):
        entry = parsed(line)
        if entry is None:
            outline.damaged_lines += bool(line.strip())
        elif entry[0] == "t":
            if entry[1] > limit:
                break
            outline.total, outline.has_extents, outline.lines = Total(*entry[1:]), has_extents, number
        elif entry[0] == "j":
            if entry[1] != VERSION:
                return None
            outline.store_id, outline.path = entry[2:]
        elif entry[0] == "g":
            identity, host, path = entry[1:]
            outline.log = LogName(host, path, identity)
        else:
            has_extents = has_extents or entry[0] == "e"
    return outline if outline.store_id else None


class FoundJournal:
    """All that the journals of a segment say, in the order in which it was written."""

    def __init__(self, parts: Sequence[tuple[Outline, Lines]]) -> None:
        """There is at least one part; a part is read again for its pieces."""
        outlines = [outline for outline, _ in parts]
        self._parts = parts
        self.store_id, self.path = outlines[-1].store_id, outlines[-1].path
        self.log = outlines[-1].log or outlines[0].log
        self.total = outlines[-1].total or outlines[0].total
        self.has_extents = any(outline.has_extents for outline in outlines)
        self.damaged_lines = sum(outline.damaged_lines for outline in outlines)

    def pieces(self) -> Iterator[Journal]:
        """Yield what they say. Raises OSError."""
        for outline, lines in self._parts:
            entries = filter(None, map(parsed, itertools.islice(lines(), outline.lines)))
            while some := list(itertools.islice(entries, _PIECE_ENTRIES)):
                yield Journal.of(some)
