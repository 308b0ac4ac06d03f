"""Event times: Python reads what it wrote itself, and the compiled part says the same of lines, or nothing."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry import speedups
from logferry.model.event_times import LOCAL, NONE, UNREAD, YEARLESS, ZONED
from logferry.reading.times.calendar_times import EventTime
from logferry.reading.times.event_times import exact
from logferry.reading.times.timestamps import parse, parse_number
from tests.support.event_times import FREQUENT_FORMS, stamped, times_in_python, times_that_differ

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_FORMS = (
    *("%Y-%m-%d %H:%M:%S", "%Y/%m/%dT%H:%M:%S", "%d/%b/%Y:%H:%M:%S", "%a %b %d %H:%M:%S %Y", "%b %d %Y %I:%M:%S %p"),
    *("%Y%m%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d %b %Y %H:%M:%S"),
)
_times = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31))
_zones = st.integers(-15 * 60, 15 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_CHARACTERS = "0123456789" * 3 + "-/.,: TZ+JanFebUTCGMxe"


def ms(time: datetime) -> int:
    """Return a time as milliseconds of Unix time, without the rest of the fraction."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


@given(_times, st.sampled_from(_LOCAL_FORMS))
def test_every_way_to_write_a_time_is_read(time: datetime, form: str) -> None:
    expected = ms(time.replace(microsecond=0, tzinfo=UTC))
    assert parse(time.strftime(form)) == EventTime(expected, LOCAL)


@given(_times, _zones, st.sampled_from("T "), st.sampled_from(["seconds", "milliseconds", "microseconds"]))
def test_isoformat_is_read(time: datetime, zone: timezone, mark: str, unit: str) -> None:
    zoned = time.replace(tzinfo=zone, microsecond=time.microsecond if unit != "seconds" else 0)
    assert parse(zoned.isoformat(mark, unit)) == EventTime(ms(zoned), ZONED)
    local = zoned.replace(tzinfo=None).isoformat(mark, unit)
    assert parse(local) == EventTime(ms(zoned.replace(tzinfo=UTC)), LOCAL)


@given(_times, st.integers(-100 * 24 * 3600, 100 * 24 * 3600))
def test_a_receipt_within_months_gives_the_year_back(time: datetime, delay_s: int) -> None:
    time = time.replace(microsecond=0, tzinfo=UTC)
    text = f"{time:%b} {time.day:2} {time:%H:%M:%S}"
    yearless = parse(text)
    assert yearless
    assert yearless.kind == YEARLESS
    assert exact(yearless, ms(time) + delay_s * 1000, UTC) in (ms(time), None)  # in the year 9999, some are none


@given(st.text(max_size=70) | st.text(_CHARACTERS, max_size=40))
def test_no_text_raises(text: str) -> None:
    parse(text)
    parse_number(text)


_written = st.one_of(
    st.none(),
    st.builds(
        lambda time, zone, mark, unit: time.replace(tzinfo=zone).isoformat(mark, unit),
        *(
            _times,
            st.none() | _zones,
            st.sampled_from("T "),
            st.sampled_from(["seconds", "milliseconds", "microseconds"]),
        ),
    ),
    st.builds(lambda time, form: time.strftime(form), _times, st.sampled_from(_LOCAL_FORMS)),
    st.builds(lambda time, form: time.strftime(form), _times, st.sampled_from(["%b %d %H:%M:%S", "%m%d %H:%M:%S"])),
    st.integers(10**9, 2 * 10**9),
    st.integers(10**12, 2 * 10**12),
    st.floats(1e9, 2e9),
    st.text(_CHARACTERS, max_size=30),
)


@pytest.mark.skipif(speedups.compiled is None, reason="the compiled part is not built")
@given(st.lists(_written, max_size=5), st.booleans())
def test_the_compiled_part_says_the_same_or_that_it_cannot_say(values: list[Any], is_plain: bool) -> None:
    assert times_that_differ(values, is_plain=is_plain) == ""


@pytest.mark.skipif(speedups.compiled is None, reason="the compiled part is not built")
@given(st.lists(st.builds(lambda time: time.strftime("%Y-%m-%d %H:%M:%S"), _times), max_size=5), st.booleans())
def test_the_compiled_part_reads_what_most_lines_have(values: list[object], is_plain: bool) -> None:
    assert speedups.compiled
    data = b"".join(stamped(value, is_plain=is_plain) for value in values)
    run = speedups.compiled.canonical_run if is_plain else speedups.compiled.record_run
    assert run(data, 0, len(data))[2] == times_in_python(values)


@pytest.mark.skipif(speedups.compiled is None, reason="the compiled part is not built")
@pytest.mark.parametrize("text", FREQUENT_FORMS)
def test_frequent_forms_are_read_by_both(text: str) -> None:
    assert speedups.compiled
    line = stamped(text, is_plain=False) * 3
    assert speedups.compiled.record_run(line, 0, len(line)) == (len(line), 3, times_in_python([text]))


@pytest.mark.skipif(speedups.compiled is None, reason="the compiled part is not built")
@pytest.mark.parametrize(
    "record",
    [
        '{"timestamp":"2024-01-15 08:23:45","level":1,"message":1,"timestamp":"2025-01-15 08:23:45"}',
        r'{"timestam\u0070":"2024-01-15 08:23:45","level":1,"message":1}',
        '{"level":1,"message":1,"timestamp":"2024-01-15 08:23:45 CET"}',
        '{"level":1,"message":1,"timestamp":-1705307025}',
        '{"level":1,"message":1,"timestamp":1e9}',
    ],
)
def test_what_the_compiled_part_is_not_sure_of_makes_the_times_unknown(record: str) -> None:
    assert speedups.compiled
    line = record.encode() + b"\n"
    assert speedups.compiled.record_run(line, 0, len(line))[2][0] == UNREAD


@pytest.mark.skipif(speedups.compiled is None, reason="the compiled part is not built")
@pytest.mark.parametrize(
    "record",
    [
        '{"level":1,"message":"\\"timestamp\\": \\"2024-01-15 08:23:45\\""}',
        '{"level":1,"message":1,"x":{"timestamp":"2024-01-15 08:23:45"}}',
        '{"level":1,"message":1,"timestamp":{"timestamp":"2024-01-15 08:23:45"}}',
        '{"level":1,"message":1,"timestamp":null}',
        '{"level":1,"message":1,"timestamp":["2024-01-15 08:23:45"]}',
        '{"level":1,"message":1,"timestamp":true}',
    ],
)
def test_only_the_timestamp_of_the_record_itself_counts(record: str) -> None:
    assert speedups.compiled
    line = record.encode() + b"\n"
    assert speedups.compiled.record_run(line, 0, len(line))[2][0] == NONE
