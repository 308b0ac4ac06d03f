"""Follows logs: the lines that are committed from a moment on, as they come, in the order of time of each look.

Never shows a line twice and leaves out none, whatever a server does meanwhile: it starts behind what was shown before.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from typing import Final

from logferry.errors import LogferryError
from logferry.reading.query.context import lines_before
from logferry.reading.query.found import ChunkLines, FoundLine
from logferry.reading.query.matching import Matcher
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Bookmark, Changes, Chunk, Log, Place, StoredLogs

# How often to look. A look at a store in which nothing has changed takes some microseconds.
POLL_S: Final = 0.2

# Pause in proportion to how long a look took: with ten thousand busy logs, not all the time.
_PAUSE_PER_COST: Final = 4

# What has come at once is merged by time up to this many bytes.
_MERGED_BYTES: Final = 4 * 1024 * 1024


class Follower:
    """Follows what comes after that which `stored` shows. Used by one thread."""

    def __init__(
        self,
        stored: StoredLogs,
        selection: Selection,
        *,
        before_lines: int = 0,
        after_lines: int = 0,
        after: Bookmark | None = None,
    ) -> None:
        """With a bookmark, follow what comes after it. Raises UnknownPlace, OSError and LogferryError."""
        self.problem = ""  # why the store cannot be read at the moment
        self._stored = stored
        self._changes: Changes = stored.changes(after)
        self._bookmark: Bookmark | None = None  # unless lines have come since it was made
        self._selection = selection
        self._matcher = Matcher(selection)
        self._before = before_lines
        self._after = after_lines
        self._to_come: dict[str, int] = {}  # lines of context that follow the last found one, by log
        self._passed: dict[str, deque[FoundLine]] = {}  # the last lines that were not shown, by log

    @property
    def bookmark(self) -> Bookmark:
        """One behind all that was yielded, between two looks."""
        if self._bookmark is None:
            self._bookmark = self._changes.bookmark(self._selection.has_log)
        return self._bookmark

    def look_with_bookmarks(self) -> Iterator[tuple[FoundLine, Bookmark]]:
        """Look; yield each line with a bookmark behind it, which is good until the next line."""
        before = self.bookmark
        rest = dict(before.rest)
        behind = before._replace(rest=rest)
        for line in self.look():
            rest[self._changes.number_of(line.place.segment)] = line.end.position
            yield line, behind

    def look(self) -> Iterator[FoundLine]:
        """Yield the lines that have come since the last look; a store that cannot be read now has none."""
        waiting: list[Chunk] = []
        try:
            for chunk in self._changes.new_chunks():
                if self._selection.has_log(chunk.log):
                    waiting.append(chunk)
                    self._bookmark = None
                if sum(len(each.data) for each in waiting) >= _MERGED_BYTES:
                    yield from self._merged(waiting)
                    waiting = []
            self.problem = ""
        except (OSError, LogferryError) as error:
            self.problem = str(error)
        yield from self._merged(waiting)

    def _merged(self, chunks: Sequence[Chunk]) -> Iterator[FoundLine]:
        by_log = groupby(sorted(chunks, key=lambda chunk: chunk.log.key), key=lambda chunk: chunk.log)
        streams = [self._lines(log, list(found)) for log, found in by_log]
        return merge(*streams, key=lambda line: line.time)

    def _lines(self, log: Log, chunks: Sequence[Chunk]) -> Iterator[FoundLine]:
        has_context = self._before or self._after
        for chunk in chunks:
            lines = ChunkLines(chunk)
            if has_context:
                yield from self._with_context(log, lines)
                continue
            for match in self._matcher.matches(chunk.data):
                line = lines.line(match.start, match.end, match.record)
                if self._selection.span.has(line.time):
                    yield line

    def _with_context(self, log: Log, lines: ChunkLines) -> Iterator[FoundLine]:
        passed = self._passed.get(log.key)
        if passed is None:
            passed = self._passed[log.key] = deque(self._lines_before(lines.chunk), maxlen=self._before)
        data, start = lines.chunk.data, 0
        while (end := data.find(b"\n", start)) >= 0:
            line = lines.line(start, end)
            start = end + 1
            if self._matcher.is_match(line.record) and self._selection.span.has(line.time):
                yield from passed
                passed.clear()
                self._to_come[log.key] = self._after
                yield line
                continue
            line.is_context = True
            if self._to_come.get(log.key, 0):
                self._to_come[log.key] -= 1
                yield line
            else:
                passed.append(line)

    def _lines_before(self, chunk: Chunk) -> Sequence[FoundLine]:
        """Return the last lines that were there before the first ones that have come."""
        if not self._before or chunk.log not in self._stored.logs():
            return ()
        found = lines_before(self._stored, chunk.log, Place(chunk.segment, chunk.position), self._before)
        for line in found:
            line.is_context = True
        return found


def follow(
    follower: Follower, *, wait: Callable[[float], object], clock: Callable[[], float]
) -> Iterator[FoundLine | None]:
    """Yield lines as they come, for ever; None after each look that found nothing more. `wait` may raise to end it."""
    while True:
        began = clock()
        yield from follower.look()
        yield None
        wait(max(POLL_S, _PAUSE_PER_COST * (clock() - began)))
