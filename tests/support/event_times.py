"""Records with timestamps, and their event times as Python reads them: the reference of the compiled part."""

import json
from collections.abc import Iterable
from typing import Final

from logferry import speedups
from logferry.model.event_times import NO_TIMES, NONE, UNREAD, EventTimes, joined
from logferry.reading.times.timestamps import parse_value

# Those that the compiled part reads.
FREQUENT_FORMS: Final = (
    *("2024-01-15 08:23:45", "2024-01-15T08:23:45.123456Z", "2024-01-15 08:23:45,123 +01:00", "2024/01/15 08:23:45"),
    *("15/Jan/2024:08:23:45 +0000", "15/Jan/2024:08:23:45.123", "Jan 15 08:23:45", "Jan  5 08:23:45"),
    *("Mon Jan 15 08:23:45.123456 2024", "0304 11:12:13.456789", "20240115 08:23:45", "1705307025.123"),
    *("1705307025", "1705307025123", "1705307025123456", "1705307025123456789", "2024-01-15 08:23:45 UTC"),
)


def stamped(value: object, *, is_plain: bool) -> bytes:
    """Return a record as the plain format writes it, or as another agent might."""
    if is_plain:
        return json.dumps({"level": "INFO", "message": "m", "timestamp": value}).encode() + b"\n"
    record = {"a": {"timestamp": "2020-01-01 00:00:00"}, "timestamp": value, "level": 1, "message": '"timestamp": "x"'}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def times_in_python(values: Iterable[object]) -> EventTimes:
    """Return the event times of records with these timestamps."""
    times = NO_TIMES
    for value in values:
        if found := parse_value(value):
            times = joined(times, (found.kind, found.ms, found.ms))
        else:
            may_be_one = isinstance(value, str | int | float) and not isinstance(value, bool)
            times = joined(times, (UNREAD if may_be_one else NONE, *NO_TIMES[1:]))
    return times


def times_that_differ(values: list[object], *, is_plain: bool) -> str:
    """Return how the compiled part reads records with these timestamps otherwise than Python; "" if it does not."""
    assert speedups.compiled
    data = b"".join(stamped(value, is_plain=is_plain) for value in values)
    _, count, times = speedups.compiled.record_run(data, 0, len(data))
    _, canonical, canonical_times = speedups.compiled.canonical_run(data, 0, len(data))
    if count != len(values):
        return f"of {values!r}, only {count} are taken"
    if canonical == count and canonical_times != times:
        return f"the times of {values!r}: {times}, in the form of the plain format {canonical_times}"
    expected = times_in_python(values)
    return "" if times[0] & UNREAD or times == expected else f"the times of {values!r}: {times}, in Python {expected}"
