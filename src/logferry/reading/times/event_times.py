"""When the event of a stored line happened: the time that its timestamp means, where and when somebody reads it.

A timestamp with a zone is exact. One without is in the zone of the reader, and one without a year is of the year that
brings it nearest to the receipt of its line. Owns these two rules, for single times and for ranges of them; the text is
read in timestamps.py. Must never raise for any time, however absurd.
"""

import contextlib
import datetime
from functools import lru_cache
from typing import Final

from logferry.model.event_times import LOCAL, NONE, YEARLESS, ZONED
from logferry.reading.times.calendar_times import EventTime
from logferry.reading.times.timestamps import parse

_EPOCH: Final = datetime.datetime(1970, 1, 1)
_DAY_MS: Final = 86_400_000
_MINUTE_MS: Final = 60_000

# Times without a year that are farther than this from the receipt may be of another year than the one that is taken.
_CERTAIN_YEAR_MS: Final = 150 * _DAY_MS


def event_time(text: str, received: int | None = None) -> int | None:
    """Return the time that a timestamp means, in the zone of this process; None if it means none.

    `received` is when its line was received. Without that, a time without a year means none.
    """
    time = parse(text)
    return None if time is None else exact(time, received)


def exact(time: EventTime, received: int | None = None, zone: datetime.tzinfo | None = None) -> int | None:
    """Return a time exactly; see above. `zone` is that of the reader, None for the one of this process.

    A time that the clocks skip, when summer time begins, is as if they had not; one that they repeat is the first one.
    """
    if time.kind == ZONED:
        return time.ms
    if time.kind == LOCAL:
        return time.ms - _offset_ms(time.ms // _MINUTE_MS, zone)
    if received is None:
        return None
    times = [local - _offset_ms(local // _MINUTE_MS, zone) for local in _in_years_around(time.ms, received)]
    return min(times, key=lambda ms: abs(ms - received), default=None)


def exact_range(
    kinds: int, low: int, high: int, received: tuple[int, int] | None, zone: datetime.tzinfo | None = None
) -> tuple[int, int] | None:
    """Return the range in which all times between `low` and `high` are exactly, perhaps a larger one.

    `received` is the range in which their lines were received. Returns None if nothing certain can be said.
    """
    kind = kinds & ~NONE
    if kind == ZONED:
        return low, high
    if kind == LOCAL:
        return low - _most_offset_ms(low, zone), high - _least_offset_ms(high, zone)
    if kind == YEARLESS and received is not None:
        return _range_of_year(low, high, received, zone)
    return None


def _range_of_year(
    low: int, high: int, received: tuple[int, int], zone: datetime.tzinfo | None
) -> tuple[int, int] | None:
    """Return the range of times without a year, if all of them are certainly of the same year."""
    first = exact(EventTime(low, YEARLESS), received[0], zone)
    last = exact(EventTime(high, YEARLESS), received[1], zone)
    if first is None or last is None or max(high - low, abs(last - first)) > _CERTAIN_YEAR_MS:
        return None
    if first < received[1] - _CERTAIN_YEAR_MS or last > received[0] + _CERTAIN_YEAR_MS:
        return None
    # The changes of summer time move either end by an hour or two; a day is on the safe side.
    return first - _DAY_MS, last + _DAY_MS


def _in_years_around(ms: int, received: int) -> list[int]:
    """Return a time of 1972 in the year of `received` and those beside it, as far as they have its day."""
    found: list[int] = []
    try:
        time, now = (_EPOCH + datetime.timedelta(milliseconds=each) for each in (ms, received))
    except OverflowError:
        return found
    for each in (-1, 0, 1):
        with contextlib.suppress(ValueError):  # 29 February, or a year that is none
            found.append((time.replace(year=now.year + each) - _EPOCH) // datetime.timedelta(milliseconds=1))
    return found


@lru_cache(4096)
def _offset_ms(minute: int, zone: datetime.tzinfo | None, fold: int = 0) -> int:
    """Return how far the zone is ahead of UTC at a local minute; 0 at a time that no clock can show."""
    try:
        time = (_EPOCH + datetime.timedelta(minutes=minute)).replace(fold=fold)
        offset = (time.replace(tzinfo=zone) if zone else time.astimezone()).utcoffset()
    except (OverflowError, ValueError, OSError):
        return 0
    return offset // datetime.timedelta(milliseconds=1) if offset else 0


def _most_offset_ms(ms: int, zone: datetime.tzinfo | None) -> int:
    return max(_offsets_around(ms // _DAY_MS, zone))


def _least_offset_ms(ms: int, zone: datetime.tzinfo | None) -> int:
    return min(_offsets_around(ms // _DAY_MS, zone))


@lru_cache(1024)
def _offsets_around(day: int, zone: datetime.tzinfo | None) -> tuple[int, ...]:
    """Return the offsets of a day, of the one before it and of the one after: clocks may change in between."""
    begins = (each * _DAY_MS // _MINUTE_MS for each in range(day - 1, day + 3))
    return tuple(_offset_ms(minute, zone, fold) for minute in begins for fold in (0, 1))
