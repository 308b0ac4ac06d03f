"""Writes a journal shorter, without holding it: what a later entry replaces is left out, as far as the two lie near.

Takes lines and yields lines, in an order that means the same. Holds at most two megabytes of them, however long the
journal is: an entry that is replaced by one much further on stays, which costs room and changes nothing. Most are
replaced by the next group. A row that stands for several losses is about its own group, and replaces what it covers.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from logferry.server.storage.disk.journals.journal import parsed, refuse_later_version
from logferry.server.storage.loss_limits import REASON, WINDOW_REASON

# The entries of ten thousand groups of a source, which all become a few. In memory they take five times as much.
_HELD_BYTES: Final = 2 * 1024 * 1024

# The order of entries that end together.
_RANKS: Final = {kind: rank for rank, kind in enumerate("jgseplwt")}

_Entries = dict[tuple[Any, ...], bytes]
"""Lines by what they say something about: a later line replaces an earlier one."""


def compacted(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a journal, each entry once within two megabytes of them; damaged lines are left out.

    Raises OSError if a later version wrote the journal.
    """
    ended: _Entries = {}  # by a total
    added: _Entries = {}  # since that total
    held = 0
    for line in lines:
        entry = parsed(line)
        if entry is None:
            continue
        refuse_later_version(entry)
        held += _put(added, _subject_of(entry), line)
        if entry[0] == "t":
            held += sum(_put(ended, subject, added[subject]) - len(added[subject]) for subject in added)
            added.clear()
        if held > _HELD_BYTES:
            yield from _in_order(ended)
            yield from added.values()
            ended, added, held = {}, {}, 0
    yield from _in_order(ended)
    yield from added.values()


def _put(entries: _Entries, subject: tuple[Any, ...], line: bytes) -> int:
    """Add a line; return how many bytes more the entries have."""
    replaced = entries.get(subject, b"")
    if replaced and subject[0] in "lw" and not _covers(line, replaced):
        entries[*subject, replaced] = replaced
        replaced = b""
    entries[subject] = line
    return len(line) - len(replaced)


def _covers(later: bytes, earlier: bytes) -> bool:
    """Whether what a line says is lost, or unknown, is all that an earlier one says."""
    one, other = parsed(later), parsed(earlier)
    if later == earlier or not one or not other:
        return later == earlier
    starts, end = (2, 3) if one[0] == "l" else (3, 4)
    begins_before = all(mine <= its for mine, its in zip(one[2 : starts + 1], other[2 : starts + 1], strict=True))
    return begins_before and one[end] >= other[end]


def _subject_of(entry: list[Any]) -> tuple[Any, ...]:
    kind, *values = entry
    match kind:
        case "j" | "g" | "t":
            return (kind,)
        case "s" | "p":
            return kind, values[0]
        case "e":
            return kind, *values[:2]
        case "l" if values[3] == REASON:
            return kind, values[0], REASON, values[4]
        case "w" if values[4] == WINDOW_REASON:
            return kind, values[0], WINDOW_REASON
    return tuple(entry)


def _in_order(entries: _Entries) -> list[bytes]:
    return [line for _, line in sorted(entries.items(), key=lambda item: _RANKS.get(item[0][0], 0))]
