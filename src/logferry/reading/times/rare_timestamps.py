"""Reads the rare forms of timestamps: those with names, with the day or the month first, with AM or PM.

Owns the zones by name, and what may mean several times: a day that may be a month, a name of several zones. These mean
no time. Slow to import, because its patterns are large: timestamps.py reads the frequent forms, and asks this last.
"""

import re
from collections.abc import Mapping
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

# Zones are at most this far from UTC, in the past too.
_MAX_ZONE_HOURS: Final = 15

_MAX_MONTH: Final = 12

# Minutes from UTC. Names that mean several zones are not here: BST, CST, IST, EST of Australia ...
_ZONES: Final[Mapping[str, int]] = {
    name: minutes
    for minutes, names in {
        -600: "HST",
        -540: "AKST",
        -480: "AKDT",
        -420: "PDT",
        -360: "MDT",
        -300: "COT PET",
        -240: "EDT CLT VET",
        -180: "BRT ART CLST",
        -150: "NDT",
        -120: "BRST",
        0: "Z UTC GMT WET",
        60: "WEST CET WAT",
        120: "CEST EET CAT SAST",
        180: "EEST MSK TRT EAT",
        240: "MSD",
        300: "PKT",
        345: "NPT",
        420: "WIB ICT",
        480: "HKT SGT MYT PHT AWST",
        540: "JST KST",
        570: "ACST",
        600: "AEST",
        630: "ACDT",
        660: "AEDT",
        720: "NZST",
        780: "NZDT",
    }.items()
    for name in names.split()
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
        (rf"{_WEEKDAY}(?P<day>[0-9]{{1,2}})[-/ ]{MONTH}(?:[-/ ](?P<year>[0-9]{{4}}))?{_GAP}", ""),
        (rf"(?P<year>[0-9]{{4}}) {MONTH} (?P<day> ?[0-9]{{1,2}}){_GAP}", ""),
        (rf"{_WEEKDAY}{MONTH} (?P<day> ?[0-9]{{1,2}}),? (?P<year>[0-9]{{4}}){_GAP}", ""),
        (rf"{_WEEKDAY}{MONTH} (?P<day> ?[0-9]{{1,2}}){_GAP}", "(?: (?P<year>[0-9]{4}))?"),
        (r"(?P<one>[0-9]{1,2})(?P<mark>[-/.])(?P<other>[0-9]{1,2})(?P=mark)(?P<year>[0-9]{4})" + _GAP, ""),
        (r"(?P<years>[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2}) +", ""),
        (r"(?P<year>[0-9]{4})?(?P<month>[0-9]{2})(?P<day>[0-9]{2}) ", ""),
    )
)


def parse_rare(text: str) -> EventTime | None:
    """Return the time that a timestamp of a rare form means; None if it means none, or may mean several."""
    for form in _rare_forms:
        if match := form(text):
            return _time_of(match.groupdict())
    return None


def _time_of(parts: Mapping[str, str | None]) -> EventTime | None:
    begin, hour = _day_of(parts), _hour_of(parts)
    if begin is None or hour is None:
        return None
    clock = hour * HOUR_MS + int(parts["minute"] or 0) * MINUTE_MS + int(parts["second"] or 0) * 1000
    ms = begin + clock + milliseconds(parts["fraction"] or parts["colon_fraction"])
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
    return day_ms(year, MONTHS[name] if name else int(parts["month"] or 0), int(parts["day"] or 0))


def _day_of_numbers(year: int, one: int, other: int, *, is_day_first: bool) -> int | None:
    """Return a day whose month may come first or second, if only one of the two makes a day."""
    if is_day_first or one > _MAX_MONTH:
        return day_ms(year, other, one)
    return day_ms(year, one, other) if other > _MAX_MONTH or one == other else None


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
        return None if minutes is None else minutes * MINUTE_MS
    if zone not in (None, "UTC", "GMT") or int(parts["hours"] or 0) > _MAX_ZONE_HOURS:
        return None
    return offset_ms(sign, parts["hours"] or "", parts["minutes"])
