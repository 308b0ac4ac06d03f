"""The remarks behind the lines on a terminal: how much was looked at, and what is known to be lacking in them."""

from collections.abc import Iterator, Sequence

from logferry.cli.output import size_text
from logferry.reading.query.found import FoundLine
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Lacking, Span, StoredLogs

_QUIET_S = 0.5


def notes_after(
    stored: StoredLogs, selection: Selection, shown: Sequence[FoundLine], *, seconds: float
) -> Iterator[str]:
    """Yield sentences about what was shown, from its first line to its last one."""
    looked = stored.looked
    if not shown or seconds >= _QUIET_S:
        what = "" if shown else "nothing found; "
        files = f"{looked.logs} files" if looked.logs != 1 else "1 file"
        yield f"{what}looked at {looked.lines:,} lines ({size_text(looked.bytes)}) of {files} in {seconds:.1f} s"
    if looked.unreadable:
        yield f"{looked.unreadable} segments could not be read, such as {looked.problem}; see `logferry fsck`"
    if shown:
        yield lacking_in(stored, selection, shown)


def lacking_in(stored: StoredLogs, selection: Selection, shown: Sequence[FoundLine]) -> str:
    """Return one sentence: what is known to be lacking between the first line and the last one."""
    first, last = sorted((shown[0].time, shown[-1].time))
    logs = [log for log in stored.logs() if selection.has_log(log)]
    lacking = stored.lacking(logs, Span(first, last + 1))
    if not lacking:
        return "nothing is known to be lacking in what is shown"
    lost = [each for each in lacking if each.is_lost]
    unseen = len(lacking) - len(lost)
    parts = []
    if lost:
        size = sum(each.bytes for each in lost)
        parts.append(f"{size:,} bytes of {_files(lost)} are lost ({lost[0].reason})")
    if unseen:
        windows = [each for each in lacking if not each.is_lost]
        parts.append(f"{_files(windows)} may have had lines that nobody saw, {unseen} times ({windows[0].reason})")
    return "known to be lacking: " + "; ".join(parts)


def _files(lacking: Sequence[Lacking]) -> str:
    names = sorted({f"{each.log.host}:{each.log.path}" for each in lacking})
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} other files"
