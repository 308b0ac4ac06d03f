"""Judges stored bytes: does a segment, or one extent in it, still hold what the ledger records?

The only place that decides what damage is; fsck, scrub, reports and repairs all ask here. Only reads. An error of the
system is damage only if it means that the bytes are gone. Any other error says nothing about them: they may be whole.
"""

import errno
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from logferry.errors import cause_of
from logferry.server.storage.disk.content.measure import Measure, measure
from logferry.server.storage.disk.content.stored_segments import StoredSegments
from logferry.server.storage.disk.files.regular import GONE
from logferry.server.storage.records import ExtentRow, SegmentRow

State = Literal["ok", "altered", "missing", "unreadable"]

# There is a file, and the disk or the file system has lost its bytes, or something that is not a file has its name.
_LOST: Final = (errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA)

OnBlock = Callable[[int], None]


class Judgement(NamedTuple):
    """What is wrong with stored bytes; `problem` follows a name in a sentence, and is "" if nothing is wrong.

    `is_damage` if the bytes are not there or are others, for certain: then the lines may be stored anew.
    """

    state: State
    problem: str = ""
    is_damage: bool = True


SOUND: Final = Judgement("ok", is_damage=False)


def is_damage(error: OSError) -> bool:
    """Whether an error means that stored bytes are gone, and not only that nobody can read them now."""
    return error.errno in (*GONE, *_LOST)


def judge_extent(
    stored: StoredSegments, segment: SegmentRow, row: ExtentRow, *, on_block: OnBlock | None = None
) -> Judgement:
    """Compare one extent with the ledger. `on_block` is called as `measure` does, and may raise."""
    return _judge(stored, segment, row, row.position, on_block=on_block)


def judge_segment(stored: StoredSegments, row: SegmentRow, *, on_block: OnBlock | None = None) -> Judgement:
    """Compare a whole segment with the ledger. A closed one must not be longer, either."""
    judged = _judge(stored, row, row, 0, on_block=on_block)
    if judged.state == "ok" and row.state == "closed" and (surplus := surplus_of(stored, row)) > 0:
        return Judgement("altered", f"has {surplus} bytes more than were stored")
    return judged


def surplus_of(stored: StoredSegments, row: SegmentRow) -> int:
    """Return how many bytes the file of a segment has beyond what was stored; 0 if that cannot be said."""
    try:
        with stored.opened(row) as content:
            return content.surplus(row.bytes)
    except OSError:
        return 0


def _judge(
    stored: StoredSegments, segment: SegmentRow, row: SegmentRow | ExtentRow, position: int, *, on_block: OnBlock | None
) -> Judgement:
    if not row.bytes:
        return SOUND  # recorded, but nothing was ever stored in it
    try:
        with stored.opened(segment) as content:
            found = measure(content, position, row.bytes, on_block=on_block)
    except OSError as error:
        return _unreadable(error)
    return _compare(found, row)


def _compare(found: Measure, row: SegmentRow | ExtentRow) -> Judgement:
    if found.bytes < row.bytes:
        return Judgement("altered", f"lacks {row.bytes - found.bytes} of its {row.bytes} bytes")
    if found.lines != row.lines:
        return Judgement("altered", f"has {found.lines} lines, not {row.lines}")
    if found.crc32 != row.crc32:
        return Judgement("altered", "has other content than was stored (checksum)")
    return SOUND


def _unreadable(error: OSError) -> Judgement:
    if error.errno in GONE:
        return Judgement("missing", "is missing")
    return Judgement("unreadable", f"cannot be read: {cause_of(error)}", is_damage=is_damage(error))
