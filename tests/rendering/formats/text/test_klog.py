"""The klog format, case by case (docs/protocol.md, rule F38)."""

import pytest

from tests.support.formats import check_sample, record, unknown


def test_a_sample_becomes_its_expected_records() -> None:
    """Rule F38."""
    check_sample("klog", "klog")


@pytest.mark.parametrize(("letter", "level"), [("I", "INFO"), ("W", "WARNING"), ("E", "ERROR"), ("F", "FATAL")])
@pytest.mark.parametrize(
    "time", ["0304 11:12:13.456789", "20260304 11:12:13.456789", "1204 11:12:13.456789", "0304 11:12:13"]
)
def test_the_letter_is_the_level_and_the_timestamp_is_kept(letter: str, level: str, time: str) -> None:
    """Rule F38."""
    assert record("klog", f"{letter}{time}       1 pump.go:123] a] b") == {
        "level": level,
        "message": "a] b",
        "timestamp": time,
        "tid": "1",
        "source": "pump.go:123",
    }


@pytest.mark.parametrize(
    "line",
    [
        "D0304 11:12:13.456789       1 pump.go:123] debug",
        "I0304 11:12:13.456789       1 pump.go:123]x",
        "I0304 11:12:13.456789       1 pump.go] x",
        "I1304 11:12:13.456789       1 pump.go:1] there are twelve months",
        "I0300 11:12:13.456789       1 pump.go:1] days begin with 1",
        "I0304 24:12:13.456789       1 pump.go:1] x",
        "I0304T11:12:13.456789 1 pump.go:1] x",
        " I0304 11:12:13.456789       1 pump.go:1] x",
        'I0304 11:12:13.456789       1 "p.go:1] x',
    ],
)
def test_a_line_of_another_shape_is_shipped_whole(line: str) -> None:
    """Rules F5 and F38."""
    assert record("klog", line) == unknown(line)
