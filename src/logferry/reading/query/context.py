"""Adds the lines before and after those that were found, of the same log, each line once."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from logferry.reading.query.found import ChunkLines, FoundLine
from logferry.reading.query.matching import Matcher
from logferry.reading.stored import EVER, Log, Place, StoredLogs

_BLOCK_BYTES: Final = 16 * 1024


def _block() -> int:
    return _BLOCK_BYTES


def lines_at(stored: StoredLogs, log: Log, place: Place, count: int) -> list[FoundLine]:
    """Return at most `count` lines of a log from a place on."""
    return list(islice(_onward(stored, log, place), count))


def lines_before(stored: StoredLogs, log: Log, place: Place, count: int) -> list[FoundLine]:
    """Return the last lines of a log before a place, at most `count`, in their order."""
    found: list[FoundLine] = []
    for chunk in stored.chunks(log, EVER, backward=True, chunk_bytes=_block, at=place) if count else ():
        lines, end = ChunkLines(chunk), len(chunk.data) - 1
        while end >= 0 and len(found) < count:
            start = chunk.data.rfind(b"\n", 0, end) + 1
            found.append(lines.line(start, end))
            end = start - 1
        if len(found) >= count:
            break
    return found[::-1]


def _onward(stored: StoredLogs, log: Log, place: Place) -> Iterator[FoundLine]:
    for chunk in stored.chunks(log, EVER, chunk_bytes=_block, at=place):
        lines, start = ChunkLines(chunk), 0
        while (end := chunk.data.find(b"\n", start)) >= 0:
            yield lines.line(start, end)
            start = end + 1


def with_context(
    stored: StoredLogs,
    found: Iterator[FoundLine],
    matcher: Matcher,
    *,
    before: int,
    after: int,
    reverse: bool = False,
) -> Iterator[FoundLine]:
    """Yield the lines that were found, each with the lines around it; those have `is_context`.

    A line that was yielded once, as a found one or near one, is not yielded again. In reverse, everything is reversed.
    """
    shown: dict[str, _Shown] = {}
    for line in found:
        seen = shown.setdefault(line.log.key, _Shown())
        for each in _around(stored, line, before, after, reverse=reverse):
            if not seen.has(each.place):
                each.is_context = each.place != line.place and not matcher.is_match(each.record)
                yield each
        seen.end_of_group()


class _Shown:
    """Which lines of a log were shown lately: those of the groups around the last two lines that were found."""

    def __init__(self) -> None:
        self._last: set[Place] = set()
        self._now: set[Place] = set()

    def has(self, place: Place) -> bool:
        """Whether a line was shown; it counts as shown from now on."""
        is_there = place in self._last or place in self._now
        self._now.add(place)
        return is_there

    def end_of_group(self) -> None:
        """Forget the group before the last one."""
        self._last, self._now = self._now, set()


def _around(stored: StoredLogs, line: FoundLine, before: int, after: int, *, reverse: bool) -> Sequence[FoundLine]:
    lines = [
        *lines_before(stored, line.log, line.place, before),
        line,
        *lines_at(stored, line.log, line.place, after + 1)[1:],
    ]
    return lines[::-1] if reverse else lines
