"""Makes sentences of the story of a place, for somebody who is tired and has one question. Pure; never prints.

Owns the wording. Names and reasons that clients have written are escaped and cut.
"""

from collections.abc import Callable, Iterator
from typing import Final

from logferry.printable import printable, quoted
from logferry.reading.stored import Received
from logferry.reading.story.history import Checked, Happening, History, Kind, StoredLine

_TEXT_CHARS: Final = 60
_REASON_CHARS: Final = 200

Clock = Callable[[int], str]
"""Returns the text of a time."""


def sentences_of(history: History, clock: Clock) -> list[str]:
    """Return the story: first whether it is stored and where, then what happened, and what that means."""
    lines = list(_opening(history, clock))
    happenings = sorted(history.happenings, key=_when)
    lines += [f"  {_moment(happening, clock)}  {_happening(happening, clock)}" for happening in happenings]
    if history.left_out:
        lines.append(f"  ... and {history.left_out} more of these")
    lines += _conclusion(history)
    return lines


def _when(happening: Happening) -> tuple[int, int]:
    return (happening.last or happening.first or 0, happening.start)


def _opening(history: History, clock: Clock) -> Iterator[str]:
    line = history.line
    if line is None:
        yield _not_stored(history, clock)
        return
    yield f"Stored: {_quote(line.text)} {_receipt(line.received, clock)}."
    yield f"  in the segment {printable(line.segment)}, at byte {line.position:,}"
    if line.number is None:
        yield "  by the plain protocol, which says nothing about the file that it comes from"
        return
    name, place = printable(history.log.path), _bytes(line.start, line.end)
    yield f"  from {name} of {printable(history.log.host)}, about line {line.number:,}, in its bytes {place}"
    yield f"  as a part of the source {printable(line.source)}, which belongs to the client {printable(line.client)}"


def _not_stored(history: History, clock: Clock) -> str:
    before, after = history.before, history.after
    if before and after:
        return f"Not stored. Around it: {_neighbour(before, clock)}, next {_neighbour(after, clock)}."
    if before:
        return f"Not stored. The last line before it: {_neighbour(before, clock)}; nothing is stored after that."
    if after:
        return f"Not stored. The first line after it: {_neighbour(after, clock)}; nothing is stored before that."
    return (
        f"Not stored, and neither is any other line of {printable(history.log.path)} of {printable(history.log.host)}."
    )


def _neighbour(line: StoredLine, clock: Clock) -> str:
    number = "" if line.number is None else f" (about line {line.number:,} of the file)"
    return f"{_quote(line.text)} {_receipt(line.received, clock)}{number}"


def _receipt(received: Received, clock: Clock) -> str:
    if received.first is None and received.last is None:
        return "received at a time that is not known"
    if received.first is None or received.last is None:
        return f"received about {clock(received.last or received.first or 0)}"
    first, last = clock(received.first), clock(received.last)
    return f"received {last}" if first == last else f"received between {first} and {last}"


def _quote(text: str) -> str:
    return quoted(printable(text, max_chars=_TEXT_CHARS))


def _bytes(start: int, end: int) -> str:
    return f"{start:,} to {end:,}"


def _moment(happening: Happening, clock: Clock) -> str:
    return "(no time)" if happening.last is None else clock(happening.last)


def _happening(happening: Happening, clock: Clock) -> str:
    size, place = f"{happening.end - happening.start:,} bytes", _bytes(happening.start, happening.end)
    reason = printable(happening.reason, max_chars=_REASON_CHARS)
    match happening.kind:
        case Kind.LOST:
            return f"{size} of the file ({place}) were lost: {reason}"
        case Kind.SKIPPED:
            return f"{size} of the file ({place}) were skipped: {reason}"
        case Kind.WINDOW:
            times = " and ".join(clock(time) for time in (happening.first, happening.last) if time is not None)
            return f"anything written after byte {happening.start:,} between {times} was never seen: {reason}"
        case Kind.DELETED:
            lines = f"{happening.lines:,} lines, from bytes {place} of the file"
            return f"retention has deleted {lines}; they were stored until then"
        case Kind.DAMAGED:
            return f"the stored lines of bytes {place} of the file are damaged, and not repaired yet"
        case Kind.REPAIRED:
            where = f"what was on the disk before is kept as {reason} in `damaged`"
            return (
                f"the stored lines of bytes {place} of the file were damaged, and its client stored them anew; {where}"
            )
        case Kind.UNACCOUNTED:
            return f"{size} of the file ({place}) are neither stored nor recorded as lost"
        case Kind.NEW_SOURCE:
            return "the file began anew: it was created, replaced or truncated, and its bytes count from zero again"
        case Kind.STARTED:
            return f"the server started{f'; {reason}' if reason else ''}"


def _conclusion(history: History) -> Iterator[str]:
    checked = history.checked
    for problem in checked.problems:
        yield f"Damaged: {printable(problem, max_chars=_REASON_CHARS)}."
    for unchecked in checked.unchecked:
        yield f"Not checked: {printable(unchecked, max_chars=_REASON_CHARS)}."
    if _is_complete(checked, history):
        pieces = "piece" if checked.extents == 1 else "pieces"
        size = f"{checked.extents:,} stored {pieces}, {checked.bytes:,} bytes"
        yield f"Nothing that was acked is missing. (Checked: {size}.)"


def _is_complete(checked: Checked, history: History) -> bool:
    wrong = (Kind.DAMAGED, Kind.UNACCOUNTED, Kind.DELETED)
    is_hurt = any(happening.kind in wrong for happening in history.happenings) or history.left_out
    return bool(checked.extents) and not checked.problems and not checked.unchecked and not is_hurt
