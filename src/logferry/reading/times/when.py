"""What people type for a moment: `1h`, `2 hours ago`, `today`, `09:00`, `2026-01-15T08:00`, `@1768464000`.

Owns these forms. A moment without a zone is in the local zone (TZ). The present is an argument. Never reads a clock.
"""

import re
from datetime import datetime, timedelta
from typing import Final

ALLOWED: Final = (
    "a time such as 1h, 1h30m or 2d (ago), now, today, yesterday, 09:00, `yesterday 09:00`, 2026-01-15, "
    "2026-01-15T08:00, 2026-01-15T08:00:00Z or @1768464000"
)

_UNITS: Final = {
    word: milliseconds
    for words, milliseconds in (
        ("ms", 1),
        ("s sec secs second seconds", 1000),
        ("m min mins minute minutes", 60_000),
        ("h hr hrs hour hours", 3_600_000),
        ("d day days", 86_400_000),
        ("w week weeks", 604_800_000),
    )
    for word in words.split()
}
_UNIT: Final = "|".join(sorted(_UNITS, key=len, reverse=True))
_DURATION: Final = re.compile(
    rf"-?((?:[0-9]{{1,9}}(?:\.[0-9]{{1,9}})? ?(?:{_UNIT})(?![a-z]) ?)+)(?:ago)?", re.ASCII
).fullmatch
_PART: Final = re.compile(rf"([0-9.]+) ?({_UNIT})", re.ASCII)
_EPOCH: Final = re.compile(r"@(-?[0-9]{1,12})(\.[0-9]{1,9})?", re.ASCII).fullmatch
_CLOCK: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?", re.ASCII).fullmatch
_DAYS: Final = {"today": 0, "yesterday": -1, "tomorrow": 1}
_MAX_CHARS: Final = 100


def moment_of(text: str, *, now: int, after: int | None = None) -> int:
    """Return the moment that a text means, in milliseconds of Unix time. Raises ValueError if it means none.

    A time of day is today's, or yesterday's if today's is still to come; with `after`, the beginning of a range that
    ends at the moment, only if yesterday's is later than that.
    """
    text = text.strip()
    if not text or len(text) > _MAX_CHARS:
        raise ValueError(ALLOWED)
    try:
        moment = _moment(text, now, after)
    except (ValueError, OverflowError, OSError):
        raise ValueError(ALLOWED) from None
    if abs(moment) > 253_402_300_799_000:  # the year 9999
        raise ValueError(ALLOWED)
    return moment


def _moment(text: str, now: int, after: int | None) -> int:
    if text == "now":
        return now
    if match := _DURATION(text):
        return now - round(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(match[1])))
    if match := _EPOCH(text):
        return int(match[1]) * 1000 + int(float(match[2] or 0) * 1000) * (-1 if match[1].startswith("-") else 1)
    today = datetime.fromtimestamp(now / 1000).replace(hour=0, minute=0, second=0, microsecond=0)
    if match := _CLOCK(text):
        return _last_time_of_day(_at(today, match), now, after)
    word, _, rest = text.partition(" ")
    if word in _DAYS:
        clock = _CLOCK(rest.strip() or "00:00")
        if clock is None:
            raise ValueError
        return _milliseconds(_at(today + timedelta(days=_DAYS[word]), clock))
    return _milliseconds(_iso(text))


def _last_time_of_day(moment: datetime, now: int, after: int | None) -> int:
    today = _milliseconds(moment)
    yesterday = _milliseconds(moment - timedelta(days=1))
    return yesterday if today > now and (after is None or yesterday > after) else today


def _at(day: datetime, match: "re.Match[str]") -> datetime:
    hours, minutes, seconds, fraction = match.groups()
    micros = int((fraction or "0").ljust(6, "0")[:6])
    return day.replace(hour=int(hours), minute=int(minutes), second=int(seconds or 0), microsecond=micros)


def _iso(text: str) -> datetime:
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])", text, re.ASCII):  # not all that Python reads: `20260115`
        raise ValueError
    date, _, rest = text.replace(" ", "T", 1).partition("T")
    rest = rest.replace(" ", "").replace(",", ".").replace("UTC", "Z")
    return datetime.fromisoformat(f"{date}T{rest}" if len(text) > len(date) else date)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
