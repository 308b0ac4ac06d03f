"""Reads the timestamps of stored lines: text becomes milliseconds of Unix time, and what is known of the zone.

Owns every form that the formats recognise (rendering/engine/timestamps.py). A wrong time is worse than none: what may
mean two days or two zones has no time. The compiled part reads the frequent forms in the same way. Must never raise for
any text, and never guess by the clock: a time without a year gets one from the receipt of its line (event_times.py).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from logferry.model.event_times import LOCAL, YEAR_OF_YEARLESS, YEARLESS, ZONED
from logferry.reading.times.calendar_times import (
    HOUR_MS,
    MINUTE_MS,
    MONTH,
    MONTHS,
    EventTime,
    day_ms,
    milliseconds,
    offset_ms,
)

# Longer text is not a timestamp.
_MAX_CHARS: Final = 64

_MINUTES_KEPT: Final = 1024


def parse(text: str) -> EventTime | None:
    """Return the time that a timestamp means; None if it means none, or may mean several."""
    minute_ms = _minute(text[:16])
    if minute_ms is not None:
        if len(text) == 19 and (second_ms := _SECONDS.get(text[16:])) is not None:
            return EventTime(minute_ms + second_ms, LOCAL)
        if match := _after_minute(text, 16):
            return _with_rest(minute_ms, match)
    elif (minute_ms := _clf_minute(text[:17])) is not None and (match := _after_minute(text, 17)):
        return _with_rest(minute_ms, match)
    elif (minute_ms := _yearless_minute(text[:12])) is not None and len(text) == 15 and text[12:] in _SECONDS:
        return EventTime(minute_ms + _SECONDS[text[12:]], YEARLESS)
    return _parse_other(text) if len(text) <= _MAX_CHARS else None


def parse_number(text: str) -> EventTime | None:
    """Return the time that a JSON number, as it is written, means: seconds to nanoseconds since 1970, from 2001 on."""
    match = _epoch(text) if len(text) <= _MAX_CHARS else None
    if match is None:
        return None
    whole, fraction = match.groups()
    if len(whole) == 10:
        return EventTime(int(whole) * 1000 + milliseconds(fraction), ZONED)
    return EventTime(int(whole[:13]), ZONED)


def parse_value(value: object) -> EventTime | None:
    """Return the time that the value of a record's `timestamp` means, as `json.loads` returns it."""
    if isinstance(value, str):
        return parse(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return parse_number(repr(value)) if is_number and -1e20 < value < 1e20 else None  # type: ignore[operator]


_SECONDS: Final[Mapping[str, int]] = {f":{second:02}": second * 1000 for second in range(61)}  # 60: a leap second


_iso_minute: Final = re.compile(r"([0-9]{4})([-/.])([0-9]{2})\2([0-9]{2})[T ]([01][0-9]|2[0-3]):([0-5][0-9])").fullmatch
_clf_minute_form: Final = re.compile(rf"([0-9]{{2}})/{MONTH}/([0-9]{{4}}):([01][0-9]|2[0-3]):([0-5][0-9])").fullmatch
_yearless_minute_form: Final = re.compile(rf"{MONTH} ( [1-9]|[0-9]{{2}}) ([01][0-9]|2[0-3]):([0-5][0-9])").fullmatch
_after_minute: Final = re.compile(
    r":([0-5][0-9]|60)(?:[.,]([0-9]+))?(?: ?(Z|UTC|GMT|([+-])(0[0-9]|1[0-5])(?::?([0-5][0-9]))?))?"
).fullmatch
_epoch: Final = re.compile(
    r"(1[0-9]{9}(?=\.[0-9]|\Z)|1[0-9]{12}|1[0-9]{15}|1[0-9]{18})(?:(?<=\A.{10})\.([0-9]+))?"
).fullmatch


@lru_cache(_MINUTES_KEPT)
def _minute(text: str) -> int | None:
    """Return the time of `2024-01-15T08:23`."""
    match = _iso_minute(text)
    if match is None:
        return None
    year, _, month, day, hour, minute = match.groups()
    begin = day_ms(int(year), int(month), int(day))
    return None if begin is None else begin + int(hour) * HOUR_MS + int(minute) * MINUTE_MS


@lru_cache(_MINUTES_KEPT)
def _clf_minute(text: str) -> int | None:
    """Return the time of `15/Jan/2024:08:23`."""
    match = _clf_minute_form(text)
    if match is None:
        return None
    day, name, year, hour, minute = match.groups()
    begin = day_ms(int(year), MONTHS[name], int(day))
    return None if begin is None else begin + int(hour) * HOUR_MS + int(minute) * MINUTE_MS


@lru_cache(_MINUTES_KEPT)
def _yearless_minute(text: str) -> int | None:
    """Return the time of `Jan 15 08:23`."""
    match = _yearless_minute_form(text)
    if match is None:
        return None
    name, day, hour, minute = match.groups()
    begin = day_ms(YEAR_OF_YEARLESS, MONTHS[name], int(day))
    return None if begin is None else begin + int(hour) * HOUR_MS + int(minute) * MINUTE_MS


def _with_rest(minute_ms: int, match: re.Match[str]) -> EventTime:
    second, fraction, zone, sign, hours, minutes = match.groups()
    ms = minute_ms + int(second) * 1000 + milliseconds(fraction)
    if zone is None:
        return EventTime(ms, LOCAL)
    return EventTime(ms - offset_ms(sign, hours, minutes) if sign else ms, ZONED)


_iso_without_seconds: Final = re.compile(r"(.{16})(?:Z|([+-])(0[0-9]|1[0-5]):?([0-5][0-9]))?").fullmatch


@lru_cache(_MINUTES_KEPT)
def _parse_other(text: str) -> EventTime | None:
    if time := parse_number(text):
        return time
    if (match := _iso_without_seconds(text)) and (minute_ms := _minute(match[1])) is not None:
        offset = offset_ms(match[2], match[3], match[4]) if match[2] else 0
        return EventTime(minute_ms - offset, LOCAL if len(text) == 16 else ZONED)
    from logferry.reading.times.rare_timestamps import parse_rare  # slow to import, and rarely needed

    return parse_rare(text)
