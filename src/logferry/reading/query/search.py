"""Searches stored logs: the lines that a selection asks for, in the order of time, with the lines around them.

Memory is bounded whatever is found: of the last `limit` lines, a small number is kept, and for a large one only where
each log begins, and the logs are read once more from there.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from logferry.reading.query.context import lines_at, with_context
from logferry.reading.query.found import FoundLine
from logferry.reading.query.matching import Matcher
from logferry.reading.query.merging import Stop, merged
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Log, Place, Span, StoredLogs

# The last lines are kept up to these limits.
_MOST_KEPT_LINES: Final = 10_000
_MOST_KEPT_BYTES: Final = 8 * 1024 * 1024


def search(
    stored: StoredLogs,
    selection: Selection,
    *,
    limit: int | None = None,
    reverse: bool = False,
    after: Place | None = None,
    before_lines: int = 0,
    after_lines: int = 0,
    stop: Stop = lambda: None,
) -> Iterator[FoundLine]:
    """Yield lines by time: with a `limit` the last ones; oldest first, or in `reverse` newest first.

    With `after`, only lines behind that place, in the direction of the search: then a limit counts from there. Lines
    of context are yielded with `is_context` and count for no limit. `stop` raises an exception to end the search.
    Raises UnknownPlace, OSError and LogferryError.
    """
    logs = [log for log in stored.logs() if selection.has_log(log)]
    stored.looked.logs = len(logs)
    if after is not None:
        found = _continued(stored, logs, selection, after, reverse=reverse, stop=stop)
        found = found if limit is None else _first(found, limit)
    elif reverse or limit is None:
        found = merged(stored, logs, selection, reverse=reverse, stop=stop)
        found = found if limit is None else _first(found, limit)
    else:
        found = _last(stored, logs, selection, limit, stop)
    if before_lines or after_lines:
        matcher = Matcher(selection)
        return with_context(stored, found, matcher, before=before_lines, after=after_lines, reverse=reverse)
    return found


def _first(found: Iterator[FoundLine], limit: int) -> Iterator[FoundLine]:
    if limit <= 0:
        return
    for count, line in enumerate(found, start=1):
        yield line
        if count >= limit:
            return


def _last(stored: StoredLogs, logs: Sequence[Log], selection: Selection, limit: int, stop: Stop) -> Iterator[FoundLine]:
    """Yield the last lines, oldest first."""
    kept: deque[FoundLine] | None = deque()
    kept_bytes = 0
    starts: dict[str, Place] = {}
    for line in _first(merged(stored, logs, selection, reverse=True, stop=stop), limit):
        starts[line.log.key] = line.place
        if kept is not None:
            kept.appendleft(line)
            kept_bytes += len(line.data)
            if len(kept) > _MOST_KEPT_LINES or kept_bytes > _MOST_KEPT_BYTES:
                kept = None
    if kept is not None:
        yield from kept
    else:
        begun = [log for log in logs if log.key in starts]
        yield from merged(stored, begun, selection, starts=starts, stop=stop)


def _continued(
    stored: StoredLogs, logs: Sequence[Log], selection: Selection, after: Place, *, reverse: bool, stop: Stop
) -> Iterator[FoundLine]:
    """Yield the lines behind a place: of its log by the place, of the others by its time, and by the order of logs."""
    own = stored.log_at(after)
    (line,) = lines_at(stored, own, after, 1)
    numbers = {log.key: number for number, log in enumerate(logs)}
    own_number = numbers.get(own.key, -1)
    span = selection.span
    narrowed = Span(span.since, line.time + 1) if reverse else Span(line.time, span.until)
    spans = {log.key: narrowed for log in logs if log.key != own.key}
    starts = {own.key: after if reverse else line.end}
    for found in merged(stored, logs, selection, reverse=reverse, starts=starts, spans=spans, stop=stop):
        number = numbers[found.log.key]
        is_before = number > own_number if reverse else number < own_number
        if not (is_before and found.time == line.time):
            yield found
