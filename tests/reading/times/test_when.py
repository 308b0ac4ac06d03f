"""What people type for a moment."""

import time
from collections.abc import Iterator

import pytest

from logferry.reading.times.when import moment_of

# Thursday, 2026-01-15T10:30:00 in Berlin.
NOW = 1_768_469_400_000
DAY = 86_400_000


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("1h", NOW - 3_600_000),
        ("-1h", NOW - 3_600_000),
        ("1h30m ago", NOW - 5_400_000),
        ("1.5h", NOW - 5_400_000),
        ("500ms", NOW - 500),
        ("1 hour ago", NOW - 3_600_000),
        ("10 min ago", NOW - 600_000),
        ("1 day 2 hours", NOW - 26 * 3_600_000),
        ("90 seconds", NOW - 90_000),
        ("2w", NOW - 14 * DAY),
        ("09:00", NOW - 5_400_000),
        ("9:00:30.250", NOW - 5_400_000 + 30_250),
        ("10:30", NOW),
        ("10:31", NOW + 60_000 - DAY),  # of today it is still to come
        ("today", NOW - 37_800_000),
        ("yesterday", NOW - 37_800_000 - DAY),
        ("yesterday 09:00", NOW - 5_400_000 - DAY),
        ("2026-01-15", NOW - 37_800_000),
        ("2026-01-15T10:30", NOW),
        ("2026-01-15 10:30:00,5", NOW + 500),
        ("2026-01-15T09:30:00Z", NOW),
        ("2026-01-15 09:30 UTC", NOW),
        ("2026-01-15T10:30:00+01:00", NOW),
        ("@1768469400", NOW),
        ("@1768469400.25", NOW + 250),
        ("2026-07-15T10:30", 1_784_104_200_000),  # in summer time
    ],
)
def test_a_moment_is_what_people_mean(text: str, moment: int) -> None:
    assert moment_of(text, now=NOW) == moment


def test_the_end_of_a_range_is_yesterday_only_if_its_beginning_is() -> None:
    assert moment_of("23:55", now=NOW, after=moment_of("23:50", now=NOW)) == moment_of("yesterday 23:55", now=NOW)
    assert moment_of("11:00", now=NOW, after=moment_of("09:00", now=NOW)) == NOW + 1_800_000


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "soon",
            "25:00",
            "09:60",
            "2026-13-01",
            "2026-01-15T",
            "1h2",
            "20260115",
            "@",
            "@99999999999999",
            "x" * 1000,
        ),
        *("yesterday noon", "1e5s", "-", "\uff11h", "2026-01-15T10:30:00+99:00", "999999999w"),
    ],
)
def test_what_is_not_a_moment_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"1h.*yesterday.*@1768464000"):
        moment_of(text, now=NOW)
