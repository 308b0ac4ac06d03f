"""The rails format, case by case (docs/protocol.md, rule F54)."""

import pytest

from tests.support.formats import check_sample, record

LINE = "{letter}, [2024-01-15T08:23:45.123456 #12] {level} -- : {rest}"


def test_a_sample_becomes_its_expected_records() -> None:
    """Rule F54."""
    check_sample("rails", "rails")


@pytest.mark.parametrize(
    ("level", "stored"), [(" INFO", "INFO"), ("ERROR", "ERROR"), ("FATAL", "FATAL"), ("  ANY", "UNKNOWN")]
)
def test_the_tags_of_a_request_are_a_field(level: str, stored: str) -> None:
    """Rule F54."""
    line = LINE.format(letter=level.strip()[0], level=level, rest="[3f2a] [a b] Started [x] y")
    assert record("rails", line) == {
        "level": stored,
        "message": "Started [x] y",
        "timestamp": "2024-01-15T08:23:45.123456",
        "pid": "12",
        "tags": "[3f2a] [a b]",
    }


@pytest.mark.parametrize("rest", ["", "  indented", "[x", "[x]", "[x]y", '["a"] b', "[] x"])
def test_the_message_is_what_was_written(rest: str) -> None:
    """Rule F54: what is not a tag is the message."""
    found = record("rails", LINE.format(letter="I", level=" INFO", rest=rest))
    tags = f"{found['tags']} " if "tags" in found else ""
    assert f"{tags}{found['message']}" == rest


@pytest.mark.parametrize("line", ["I, [2024-01-15T08:23:45]  LOUD -- : x", "I, [08:23:45]  INFO -- : x", "I, x"])
def test_another_line_is_read_as_plain(line: str) -> None:
    """Rule F54."""
    assert record("rails", line) == record("plain", line)
