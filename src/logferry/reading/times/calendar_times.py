"""Times as the readers of timestamps share them: event times, days, and parts of times. Pure; knows no form of text."""

import datetime
from collections.abc import Mapping
from typing import Final, NamedTuple

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000

MONTHS: Final[Mapping[str, int]] = {
    "Jan": 1,
    "Feb": 2,
    "Mar": 3,
    "Apr": 4,
    "May": 5,
    "Jun": 6,
    "Jul": 7,
    "Aug": 8,
    "Sep": 9,
    "Oct": 10,
    "Nov": 11,
    "Dec": 12,
}
MONTH: Final = f"(?P<name>{'|'.join(MONTHS)})"

_EPOCH_ORDINAL: Final = datetime.date(1970, 1, 1).toordinal()


class EventTime(NamedTuple):
    """When an event happened; `kind` is ZONED, LOCAL or YEARLESS (model/event_times.py)."""

    ms: int
    kind: int


def day_ms(year: int, month: int, day: int) -> int | None:
    """Return the time at which a day begins in UTC; None if there is no such day."""
    try:
        return (datetime.date(year, month, day).toordinal() - _EPOCH_ORDINAL) * DAY_MS
    except ValueError:
        return None


def milliseconds(fraction: str | None) -> int:
    """Return a fraction of a second, without the rest of a millisecond."""
    return int(f"{fraction}00"[:3]) if fraction else 0


def offset_ms(sign: str, hours: str, minutes: str | None) -> int:
    """Return how far a zone is ahead of UTC."""
    offset = int(hours) * HOUR_MS + int(minutes or 0) * MINUTE_MS
    return -offset if sign == "-" else offset
