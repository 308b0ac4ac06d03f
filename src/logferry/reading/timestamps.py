"""Reads the timestamps of stored lines: text becomes milliseconds of Unix time, and what is known of the zone.

Owns every form that the formats recognise (rendering/engine/timestamps.py). A wrong time is worse than none: what may
mean two days or two zones has no time. The compiled part reads the frequent forms in the same way. Must never raise for
any text, and never guess by the clock: a time without a year gets one from the receipt of its line (event_times.py).
"""

import datetime
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from logferry.model.event_times import LOCAL, YEAR_OF_YEARLESS, YEARLESS, ZONED

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
_EPOCH_ORDINAL: Final = datetime.date(1970, 1, 1).toordinal()

# Zones are at most this far from UTC, in the past too.
_MAX_ZONE_HOURS: Final = 15

# Longer text is not a timestamp.
_MAX_CHARS: Final = 64

_MINUTES_KEPT: Final = 1024


class EventTime(NamedTuple):
    """When an event happened; `kind` is ZONED, LOCAL or YEARLESS (model/event_times.py)."""

    ms: int
    kind: int


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
    return _parse_rare(text) if len(text) <= _MAX_CHARS else None


def parse_number(text: str) -> EventTime | None:
    """Return the time that a JSON number, as it is written, means: seconds to nanoseconds since 1970, from 2001 on."""
    match = _epoch(text) if len(text) <= _MAX_CHARS else None
    if match is None:
        return None
    whole, fraction = match.groups()
    if len(whole) == 10:
        return EventTime(int(whole) * 1000 + _milliseconds(fraction), ZONED)
    return EventTime(int(whole[:13]), ZONED)


def parse_value(value: object) -> EventTime | None:
    """Return the time that the value of a record's `timestamp` means, as `json.loads` returns it."""
    if isinstance(value, str):
        return parse(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return parse_number(repr(value)) if is_number and -1e20 < value < 1e20 else None  # type: ignore[operator]


# --- the frequent forms: most lines are of the minute before ---

_SECONDS: Final[Mapping[str, int]] = {f":{second:02}": second * 1000 for second in range(61)}  # 60: a leap second

_DIGITS: Final = "[0-9]"
_MONTHS: Final[Mapping[str, int]] = {
    name: number
    for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)  # noqa: SIM905
}
_MONTH: Final = f"(?P<name>{'|'.join(_MONTHS)})"

_iso_minute: Final = re.compile(r"([0-9]{4})([-/.])([0-9]{2})\2([0-9]{2})[T ]([01][0-9]|2[0-3]):([0-5][0-9])").fullmatch
_clf_minute_form: Final = re.compile(rf"([0-9]{{2}})/{_MONTH}/([0-9]{{4}}):([01][0-9]|2[0-3]):([0-5][0-9])").fullmatch
_after_minute: Final = re.compile(
    r":([0-5][0-9]|60)(?:[.,]([0-9]+))?(?: ?(Z|UTC|GMT|([+-])(0[0-9]|1[0-5])(?::?([0-5][0-9]))?))?"
).fullmatch
_epoch: Final = re.compile(
    r"(1[0-9]{9}(?=\.[0-9]|\Z)|1[0-9]{12}|1[0-9]{15}|1[0-9]{18})(?:(?<=\A.{10})\.([0-9]+))?"
).fullmatch


def _day_ms(year: int, month: int, day: int) -> int | None:
    """Return the time at which a day begins in UTC; None if there is no such day."""
    try:
        return (datetime.date(year, month, day).toordinal() - _EPOCH_ORDINAL) * _DAY_MS
    except ValueError:
        return None


@lru_cache(_MINUTES_KEPT)
def _minute(text: str) -> int | None:
    """Return the time of `2024-01-15T08:23`."""
    match = _iso_minute(text)
    if match is None:
        return None
    year, _, month, day, hour, minute = match.groups()
    begin = _day_ms(int(year), int(month), int(day))
    return None if begin is None else begin + int(hour) * _HOUR_MS + int(minute) * _MINUTE_MS


@lru_cache(_MINUTES_KEPT)
def _clf_minute(text: str) -> int | None:
    """Return the time of `15/Jan/2024:08:23`."""
    match = _clf_minute_form(text)
    if match is None:
        return None
    day, name, year, hour, minute = match.groups()
    begin = _day_ms(int(year), _MONTHS[name], int(day))
    return None if begin is None else begin + int(hour) * _HOUR_MS + int(minute) * _MINUTE_MS


def _with_rest(minute_ms: int, match: re.Match[str]) -> EventTime:
    second, fraction, zone, sign, hours, minutes = match.groups()
    ms = minute_ms + int(second) * 1000 + _milliseconds(fraction)
    if zone is None:
        return EventTime(ms, LOCAL)
    return EventTime(ms - _offset_ms(sign, hours, minutes) if sign else ms, ZONED)


def _milliseconds(fraction: str | None) -> int:
    return int(f"{fraction}00"[:3]) if fraction else 0


def _offset_ms(sign: str, hours: str, minutes: str | None) -> int:
    offset = int(hours) * _HOUR_MS + int(minutes or 0) * _MINUTE_MS
    return -offset if sign == "-" else offset


# --- all other forms ---

# Minutes from UTC. Names that mean several zones are not here: BST, CST, IST, EST of Australia ...
_ZONES: Final[Mapping[str, int]] = {
    "Z": 0,
    "UTC": 0,
    "GMT": 0,
    "WET": 0,
    "WEST": 60,
    "CET": 60,
    "CEST": 120,
    "EET": 120,
    "EEST": 180,
    "MSK": 180,
    "MSD": 240,
    "TRT": 180,
    "WAT": 60,
    "CAT": 120,
    "EAT": 180,
    "SAST": 120,
    "PKT": 300,
    "NPT": 345,
    "WIB": 420,
    "ICT": 420,
    "HKT": 480,
    "SGT": 480,
    "MYT": 480,
    "PHT": 480,
    "AWST": 480,
    "JST": 540,
    "KST": 540,
    "ACST": 570,
    "ACDT": 630,
    "AEST": 600,
    "AEDT": 660,
    "NZST": 720,
    "NZDT": 780,
    "NDT": -150,
    "EDT": -240,
    "MDT": -360,
    "PDT": -420,
    "AKDT": -480,
    "AKST": -540,
    "HST": -600,
    "BRT": -180,
    "BRST": -120,
    "ART": -180,
    "CLT": -240,
    "CLST": -180,
    "VET": -240,
    "COT": -300,
    "PET": -300,
}

_WEEKDAY: Final = "(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?"
_GAP: Final = "(?:T|,? +|:)"
_CLOCK: Final = (
    "(?P<hour>[0-9]{1,2}):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
    "(?:[.,](?P<fraction>[0-9]+)|:(?P<colon_fraction>[0-9]{3,9}))?(?: ?(?P<half>[AaPp])[Mm])?"
)
_ZONE: Final = (
    "(?: ?(?:(?P<zone>[A-Z]{1,5})?(?P<offset>(?P<sign>[+-])(?P<hours>[0-9]{1,2})(?::?(?P<minutes>[0-5][0-9]))?)"
    "(?: [A-Z]{2,5})?|(?P<zone_alone>[A-Z]{1,5})))?"
)
_rare_forms: Final = tuple(
    re.compile(form + _CLOCK + _ZONE + after).fullmatch
    for form, after in (
        (r"(?P<year>[0-9]{4})(?P<mark>[-/.])(?P<month>[0-9]{2})(?P=mark)(?P<day>[0-9]{2})" + _GAP, ""),
        (rf"{_WEEKDAY}(?P<day>[0-9]{{1,2}})[-/ ]{_MONTH}(?:[-/ ](?P<year>[0-9]{{4}}))?{_GAP}", ""),
        (rf"(?P<year>[0-9]{{4}}) {_MONTH} (?P<day> ?[0-9]{{1,2}}){_GAP}", ""),
        (rf"{_WEEKDAY}{_MONTH} (?P<day> ?[0-9]{{1,2}}),? (?P<year>[0-9]{{4}}){_GAP}", ""),
        (rf"{_WEEKDAY}{_MONTH} (?P<day> ?[0-9]{{1,2}}){_GAP}", "(?: (?P<year>[0-9]{4}))?"),
        (r"(?P<one>[0-9]{1,2})(?P<mark>[-/.])(?P<other>[0-9]{1,2})(?P=mark)(?P<year>[0-9]{4})" + _GAP, ""),
        (r"(?P<years>[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2}) +", ""),
        (r"(?P<year>[0-9]{4})?(?P<month>[0-9]{2})(?P<day>[0-9]{2}) ", ""),
    )
)
_iso_without_seconds: Final = re.compile(r"(.{16})(?:Z|([+-])(0[0-9]|1[0-5]):?([0-5][0-9]))?").fullmatch


@lru_cache(_MINUTES_KEPT)
def _parse_rare(text: str) -> EventTime | None:
    for form in _rare_forms:
        if match := form(text):
            return _time_of(match.groupdict())
    if (match := _iso_without_seconds(text)) and (minute_ms := _minute(match[1])) is not None:
        offset = _offset_ms(match[2], match[3], match[4]) if match[2] else 0
        return EventTime(minute_ms - offset, LOCAL if len(text) == 16 else ZONED)
    return parse_number(text)


def _time_of(parts: Mapping[str, str | None]) -> EventTime | None:
    begin, hour = _day_of(parts), _hour_of(parts)
    if begin is None or hour is None:
        return None
    clock = hour * _HOUR_MS + int(parts["minute"] or 0) * _MINUTE_MS + int(parts["second"] or 0) * 1000
    ms = begin + clock + _milliseconds(parts["fraction"] or parts["colon_fraction"])
    has_year = bool(parts.get("year") or parts.get("years"))
    if not (parts["zone"] or parts["offset"] or parts["zone_alone"]):
        return EventTime(ms, LOCAL if has_year else YEARLESS)
    offset = _zone_of(parts)
    return EventTime(ms - offset, ZONED) if has_year and offset is not None else None


def _day_of(parts: Mapping[str, str | None]) -> int | None:
    years = parts.get("years")
    year = int(f"20{years}") if years else int(parts.get("year") or YEAR_OF_YEARLESS)
    if parts.get("one"):
        return _day_of_numbers(
            year, int(parts["one"] or 0), int(parts["other"] or 0), is_day_first=parts["mark"] == "."
        )
    name = parts.get("name")
    return _day_ms(year, _MONTHS[name] if name else int(parts["month"] or 0), int(parts["day"] or 0))


def _day_of_numbers(year: int, one: int, other: int, *, is_day_first: bool) -> int | None:
    """Return a day whose month may come first or second, if only one of the two makes a day."""
    if is_day_first or one > 12:
        return _day_ms(year, other, one)
    return _day_ms(year, one, other) if other > 12 or one == other else None


def _hour_of(parts: Mapping[str, str | None]) -> int | None:
    hour, half = int(parts["hour"] or 0), (parts["half"] or "").lower()
    if not half:
        return hour if hour < 24 else None
    return hour % 12 + (12 if half == "p" else 0) if 1 <= hour <= 12 else None


def _zone_of(parts: Mapping[str, str | None]) -> int | None:
    """Return how far a zone is from UTC; None if its name means no zone, or several."""
    zone, sign = parts["zone"], parts["sign"]
    if not sign:
        minutes = _ZONES.get(parts["zone_alone"] or "")
        return None if minutes is None else minutes * _MINUTE_MS
    if zone not in (None, "UTC", "GMT") or int(parts["hours"] or 0) > _MAX_ZONE_HOURS:
        return None
    return _offset_ms(sign, parts["hours"] or "", parts["minutes"])
