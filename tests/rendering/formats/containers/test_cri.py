"""The cri format, case by case (docs/protocol.md, rules F26 and F27)."""

import pytest

from tests.support.container_lines import TIME, cri, expected
from tests.support.formats import record, records, unknown


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-15T08:23:45Z stdin F x",
        "2024-01-15T08:23:45Z stdout X x",
        "2024-01-15T08:23:45Z stdout Fx",
        "2024-01-15 08:23:45Z stdout F x",
        "stdout F x",
        " 2024-01-15T08:23:45Z stdout F x",
    ],
)
def test_a_line_that_is_not_cri_is_shipped_whole(text: str) -> None:
    assert records("cri", cri("a", is_last=False), text, cri("b")) == [unknown(text), expected("ab")]


def test_an_empty_cri_message_may_lack_the_space_before_it() -> None:
    line = cri("").rstrip()
    assert record("cri", line) == expected("")
    assert records("cri", cri("a", is_last=False), line) == [expected("a")]


def test_a_character_that_was_split_between_parts_is_restored() -> None:
    """Rule F27."""
    whole = "zażółć".encode()
    begin = f"{TIME.format(0)} stdout ".encode()
    assert records("cri", begin + b"P " + whole[:3], begin + b"F " + whole[3:]) == [expected("zażółć")]


def test_bytes_of_parts_that_are_not_utf_8_are_kept_beside_the_message() -> None:
    begin = f"{TIME.format(0)} stdout ".encode()
    (found,) = records("cri", begin + b"P caf\xe9", begin + b"F \xff")
    assert found["message"] == "caf\ufffd\ufffd"
    assert found["raw"]
