"""Durations and sizes: plain numbers, or numbers with a unit."""

from typing import Any

import pytest

from logferry.config.kinds.kinds import Kind
from logferry.config.kinds.units import GIB, KIB, MIB, TIB, days, duration, size


def refused(kind: Kind, value: Any) -> bool:
    """Whether a kind refuses what a TOML file, or the command line, gives."""
    try:
        kind.from_toml(value)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("5", 5.0), ("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("0", 0.0)),
        *(("10s", 10.0), ("500ms", 0.5), ("1.5m", 90.0), ("2h", 7200.0), ("7d", 604_800.0), ("0d", 0.0)),
    ],
)
def test_a_duration_may_have_a_fraction_and_a_unit(text: str, value: float) -> None:
    assert duration(0).parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("-1", "1e3", "nan", "inf", "1,5", ".", "", " 1", "\u0665", "1" * 12, "s", ".s"),
        *("1 s", "1S", "1M", "1h30m", "1w", "1s\n"),
    ],
)
def test_a_duration_is_a_plain_number_with_at_most_one_unit(text: str) -> None:
    assert refused(duration(0), text)


@pytest.mark.parametrize("text", ["", ".", "s", ".ms"])
def test_a_duration_without_digits_is_refused_without_words_of_python(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        duration(0).parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("64", 64), ("64K", 64 * KIB), ("64k", 64 * KIB), ("1M", MIB), ("2G", 2 * GIB), ("3T", 3 * TIB), ("0", 0)],
)
def test_a_size_may_have_a_unit(text: str, value: int) -> None:
    assert size(0, 1024 * TIB).parse(text) == value


@pytest.mark.parametrize("text", ["", "K", "1.5M", "64KB", "64KiB", "64 K", "-1K", "1e6", "\u0661K", "9" * 19, "1K\n"])
def test_a_size_is_a_whole_number_with_at_most_one_unit(text: str) -> None:
    assert refused(size(0, 1024 * TIB), text)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("7", 7), ("7d", 7), ("100000", 100_000)])
def test_days_are_a_number_with_or_without_the_unit(text: str, value: int) -> None:
    assert days(100_000).parse(text) == value


@pytest.mark.parametrize("text", ["1.5", "2h", "100001", "d", "-1", "7D", ""])
def test_days_have_no_fraction_and_no_other_unit(text: str) -> None:
    assert refused(days(100_000), text)


def test_limits_are_inclusive_whatever_the_unit() -> None:
    assert [refused(duration(0.05, 3600), text) for text in ("49ms", "50ms", "60m", "3601", "1.1h")] == [
        *(True, False, False, True, True)
    ]
    assert [refused(size(64, MIB), text) for text in ("63", "64", "1M", "1024K", "1025K")] == [
        *(True, False, False, False, True)
    ]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (duration(0), "a duration from 0s to 1000000s (500ms, 10s, 1.5m, 2h, 7d; a bare number is seconds)"),
        (duration(0.05, 3600), "a duration from 50ms to 1h (500ms, 10s, 1.5m, 2h, 7d; a bare number is seconds)"),
        (duration(1, 86400), "a duration from 1s to 1d (500ms, 10s, 1.5m, 2h, 7d; a bare number is seconds)"),
        (size(0, TIB), "a size from 0 to 1T (64K, 1M, 2G; a bare number is bytes)"),
        (size(KIB, 16 * MIB - 1), "a size from 1K to 16777215 (64K, 1M, 2G; a bare number is bytes)"),
        (days(7), "a whole number of days from 0 to 7 (7 or 7d)"),
    ],
)
def test_messages_name_the_limits_and_the_forms(kind: Kind, sentence: str) -> None:
    assert kind.allowed == sentence


def test_a_toml_file_may_have_numbers() -> None:
    assert (duration(0).from_toml(2), duration(0).from_toml(0.25), duration(0).from_toml("2m")) == (2.0, 0.25, 120.0)
    assert (size(0, TIB).from_toml(64), size(0, TIB).from_toml("64K")) == (64, 64 * KIB)
    assert (days(9).from_toml("7d"), refused(days(9), 7)) == (7, False)
    assert refused(duration(0), True)
    assert refused(size(0, TIB), 1.5)
