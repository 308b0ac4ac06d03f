"""When the events of lines happened, as far as that is known from their timestamps: values that are joined.

Event times are a tuple, made for every batch: the kinds of times (flags), the smallest and the largest time, both in
milliseconds of Unix time. Times without a zone are as if in UTC, and those without a year as if in 1972, too. Owns how
times are joined; `reading/times/timestamps.py` and the compiled part read them.
"""

from typing import Final

EventTimes = tuple[int, int, int]
"""Kinds, smallest time, largest time; the times of no line are larger and smaller than any time."""

NONE: Final = 1  # lines without a timestamp
ZONED: Final = 2  # times that are exact
LOCAL: Final = 4  # times without a zone
YEARLESS: Final = 8  # times with neither zone nor year
UNREAD: Final = 16  # times that are not known here, though somebody may be able to read them

# Of the kinds with a time, lines may have one: times of several kinds cannot be compared with each other.
TIMED: Final = ZONED | LOCAL | YEARLESS

_LATEST: Final = 2**63 - 1
_EARLIEST: Final = -(2**63)

NO_TIMES: Final[EventTimes] = (0, _LATEST, _EARLIEST)
UNREAD_TIMES: Final[EventTimes] = (UNREAD, _LATEST, _EARLIEST)

# The leap year that stands for a year that is not known.
YEAR_OF_YEARLESS: Final = 1972


def joined(first: EventTimes, second: EventTimes) -> EventTimes:
    """Return the times of two groups of lines."""
    kinds, low, high = second
    return first[0] | kinds, min(first[1], low), max(first[2], high)
