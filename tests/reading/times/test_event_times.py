"""When an event happened, where a zone or a year is lacking: the reader's zone and the receipt of the line decide."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from logferry.model.event_times import LOCAL, NONE, UNREAD, YEARLESS, ZONED
from logferry.reading.times.calendar_times import EventTime
from logferry.reading.times.event_times import event_time, exact, exact_range
from logferry.reading.times.timestamps import parse

BERLIN = ZoneInfo("Europe/Berlin")
DAY_MS = 86_400_000


def ms(text: str) -> int:
    """Return an ISO time as milliseconds of Unix time, as if in UTC."""
    time = datetime.fromisoformat(text)
    return round(time.replace(tzinfo=time.tzinfo or UTC).timestamp() * 1000)


def in_berlin(text: str, received: str = "") -> int | None:
    """Return what a timestamp means to a reader in Berlin."""
    time = parse(text)
    assert time
    return exact(time, ms(received) if received else None, BERLIN)


def test_a_time_without_a_zone_is_in_the_zone_of_the_reader() -> None:
    assert in_berlin("2024-01-15 08:23:45") == ms("2024-01-15T08:23:45+01:00")
    assert in_berlin("2024-07-15 08:23:45") == ms("2024-07-15T08:23:45+02:00")
    assert in_berlin("2024-07-15T08:23:45Z") == ms("2024-07-15T08:23:45+00:00")


def test_a_time_that_clocks_skip_is_as_if_they_had_not_and_a_repeated_one_is_the_first() -> None:
    assert in_berlin("2024-03-31 02:30:00") == ms("2024-03-31T02:30:00+01:00")
    assert in_berlin("2024-10-27 02:30:00") == ms("2024-10-27T02:30:00+02:00")


@pytest.mark.parametrize(
    ("text", "received", "meaning"),
    [
        ("Jan 15 08:23:45", "2024-01-15 07:23:46", "2024-01-15T08:23:45+01:00"),
        ("Dec 31 23:59:59", "2025-01-01 00:00:10", "2024-12-31T23:59:59+01:00"),
        ("Jan  1 00:00:01", "2024-12-31 23:00:02", "2025-01-01T00:00:01+01:00"),
        ("Feb 29 12:00:00", "2024-03-01 00:00:00", "2024-02-29T12:00:00+01:00"),
        ("Feb 29 12:00:00", "2025-01-01 00:00:00", "2024-02-29T12:00:00+01:00"),
    ],
)
def test_a_time_without_a_year_is_of_the_year_nearest_to_the_receipt(text: str, received: str, meaning: str) -> None:
    assert in_berlin(text, received) == ms(meaning)


def test_a_time_without_a_year_means_none_if_nothing_says_which() -> None:
    assert in_berlin("Jan 15 08:23:45") is None
    assert in_berlin("Feb 29 08:23:45", "2026-07-01 00:00:00") is None


def test_the_zone_of_the_process_is_that_of_the_reader() -> None:
    local = datetime(2024, 1, 15, 8, 23, 45).timestamp() * 1000
    assert event_time("2024-01-15 08:23:45") == round(local)
    assert event_time("nonsense", 0) is None


@pytest.mark.parametrize("text", ["0001-01-01 00:00:00", "9999-12-31 23:59:59", "9999-12-31T23:59:59-12:00"])
@pytest.mark.parametrize("zone", [None, BERLIN])
def test_absurd_years_raise_nothing(text: str, zone: ZoneInfo | None) -> None:
    time = parse(text)
    assert time
    found = exact(time, 0, zone)
    assert found is not None
    assert abs(found - time.ms) < DAY_MS
    assert exact(EventTime(0, YEARLESS), -(2**63), zone) is None
    assert exact_range(LOCAL, -(2**63), 2**63, None, zone) is not None


def test_ranges_contain_what_the_times_in_them_mean() -> None:
    low, high = ms("2024-03-31 01:00:00"), ms("2024-03-31 04:00:00")
    found = exact_range(LOCAL | NONE, low, high, None, BERLIN)
    assert found
    for local in range(low, high + 1, 60_000):
        time = exact(EventTime(local, LOCAL), None, BERLIN)
        assert time is not None
        assert found[0] <= time <= found[1]
    assert exact_range(ZONED, low, high, None, BERLIN) == (low, high)


def test_nothing_is_certain_of_mixed_and_unread_times() -> None:
    for kinds in (UNREAD, ZONED | LOCAL, LOCAL | UNREAD, NONE):
        assert exact_range(kinds, 0, 1, (0, 1)) is None


def test_a_range_without_a_year_is_certain_near_the_receipt_only() -> None:
    low, high = ms("1972-12-30 00:00:00"), ms("1972-12-31 23:00:00")
    received = ms("2025-01-01 00:00:00"), ms("2025-01-02 00:00:00")
    found = exact_range(YEARLESS, low, high, received, UTC)
    assert found
    assert found[0] <= ms("2024-12-30 00:00:00") < ms("2024-12-31 23:00:00") <= found[1]
    assert exact_range(YEARLESS, low, high, None, UTC) is None
    assert exact_range(YEARLESS, ms("1972-01-01"), high, received, UTC) is None  # over the end of a year
    assert exact_range(YEARLESS, ms("1972-07-01"), ms("1972-07-01"), received, UTC) is None  # which July?
