"""Which texts are timestamps: each pattern matches its own forms, and rejects near misses."""

import re

import pytest

from logferry.rendering.engine.timestamps import AT_MESSAGE_START, EVENT_START, ISO_8601, RFC_3164, RFC_3339


def matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


@pytest.mark.parametrize("zone", ["", "Z", " Z", "UTC", " UTC", " GMT", "+01", "-0130", "+01:30", " +01:30"])
@pytest.mark.parametrize("fraction", ["", ".1", ",123456"])
@pytest.mark.parametrize("between", [" ", "T"])
def test_iso_8601(between: str, fraction: str, zone: str) -> None:
    assert matches(ISO_8601, f"2024-01-15{between}08:23:45{fraction}{zone}")


@pytest.mark.parametrize(
    "text",
    [
        *("2024-01-15", "2024-01-15t08:23:45", "2024-01-15  08:23:45", "24-01-15 08:23:45", "2024/01/15 08:23:45"),
        *("2024-01-15 8:23:45", "2024-01-15 08:23", "2024-01-15 08:23:45.", "2024-01-15 08:23:45 CET"),
        *("2024-01-15 08:23:45+1", "2024-01-15 08:23:45  Z", "\uff12024-01-15 08:23:45"),
    ],
)
def test_near_misses_are_not_iso_8601(text: str) -> None:
    assert not matches(ISO_8601, text)


@pytest.mark.parametrize(("text", "is_zone"), [("2024-01-15 08:23:45Zulu", False), ("2024-01-15 08:23:45Z ulu", True)])
def test_a_zone_is_not_the_beginning_of_a_word(text: str, is_zone: bool) -> None:
    found = re.match(ISO_8601, text)
    assert found
    assert found[0].endswith("Z") == is_zone


def test_rfc_3339_needs_a_t_and_a_zone() -> None:
    for text in ("2024-01-15T08:23:45Z", "2024-01-15T08:23:45.123456789Z", "2024-01-15T08:23:45-05:00"):
        assert matches(RFC_3339, text)
    for text in ("2024-01-15T08:23:45", "2024-01-15 08:23:45Z", "2024-01-15T08:23:45,1Z", "2024-01-15T08:23:45+0100"):
        assert not matches(RFC_3339, text)


def test_rfc_3164_pads_the_day_to_two_characters() -> None:
    assert matches(RFC_3164, "Jan 15 08:23:45")
    assert matches(RFC_3164, "Jan  5 08:23:45")
    assert not matches(RFC_3164, "Jan 5 08:23:45")
    assert not matches(RFC_3164, "jan 15 08:23:45")


def test_a_message_may_begin_with_slashes_in_its_date() -> None:
    for text in ("2024/01/15 08:23:45", "2024-01-15T08:23:45,123Z", "2024-01-15 08:23:45+0100"):
        assert matches(AT_MESSAGE_START, text)
    assert not matches(AT_MESSAGE_START, "2024.01.15 08:23:45")


@pytest.mark.parametrize(
    "line",
    [
        *("2024-01-15 08:23:45 x", "2024-01-15T08:23:45,1", "2024/01/15 08:23:45", "[2024-01-15 08:23:45] x"),
        *("<165>1 2024-01-15T08:23:45Z", "<38>Jan 15 08:23:45", "Jan  5 08:23:45", "[Mon Jan 15 08:23:45 2024]"),
        *("15-Jan-2024 08:23:45", "15/Jan/2024:08:23:45 +0000", "[15/Jan/2024:08:23:45]"),
    ],
)
def test_an_event_begins_with(line: str) -> None:
    assert re.match(EVENT_START, line)


@pytest.mark.parametrize(
    "line",
    [
        *(" 2024-01-15 08:23:45", "2024-01/15 08:23:45", "2024-01-15 08:23:456", "x 2024-01-15 08:23:45"),
        *("1705307025 x", "<1234>Jan 15 08:23:45", "45-Jan-2024 08:23:45", "15-Jan/2024 08:23:45", "Jan 45 08:23:45"),
    ],
)
def test_an_event_does_not_begin_with(line: str) -> None:
    assert not re.match(EVENT_START, line)
