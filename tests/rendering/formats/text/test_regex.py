"""The regex format, case by case (docs/protocol.md, rule F19)."""

import json

import pytest

from logferry.model.render_spec import RenderSpec
from logferry.rendering.renderer import renderer
from tests.support.formats import record, records, unknown

PATTERN = r"regex:(?P<time>\d+) (?P<thread>\w+)? ?\[(?P<lvl>\w+)\] (?P<msg>.*)"


def test_named_groups_become_fields_and_common_names_are_renamed() -> None:
    """Rules F15 and F19."""
    found = record(PATTERN, "12 main [warn] disk full")
    assert found == {"level": "WARN", "message": "disk full", "timestamp": "12", "thread": "main"}
    assert list(found) == ["level", "message", "timestamp", "thread"]


def test_a_group_that_did_not_match_is_null() -> None:
    """Rule F19."""
    assert [found["thread"] for found in records(PATTERN, "12 [a] x", "12 main [a] x", "12 [b] y")] == [
        *(None, "main", None),
    ]


def test_level_and_message_are_never_null() -> None:
    """Rules F16 and F19."""
    pattern = r"regex:(?P<level>[A-Z]+)?(?P<timestamp>\d+)?(?: (?P<message>\w+))?(?P<x>!)?"
    assert records(pattern, "INFO", "12", " m", "!", "INFO12 m!") == [
        {"level": "INFO", "message": "INFO", "timestamp": None, "x": None},
        {"level": "UNKNOWN", "message": "12", "timestamp": "12", "x": None},
        {"level": "UNKNOWN", "message": "m", "timestamp": None, "x": None},
        {"level": "UNKNOWN", "message": "!", "timestamp": None, "x": "!"},
        {"level": "INFO", "message": "m", "timestamp": "12", "x": "!"},
    ]


def test_without_groups_for_the_common_keys_the_message_is_the_event() -> None:
    """Rules F16 and F19."""
    assert record(r"regex:(?P<key>\w+)=(?P<value>.*)", 'a="b\tc"') == {
        "level": "UNKNOWN",
        "message": 'a="b\tc"',
        "timestamp": None,
        "key": "a",
        "value": '"b\tc"',
    }


@pytest.mark.parametrize("line", ["12 main warn disk full", "x 12 main [warn] disk full", "é", "12 [a]\\ x"])
def test_an_event_that_the_pattern_does_not_match_as_a_whole_is_shipped_whole(line: str) -> None:
    """Rules F11 and F19."""
    assert record(PATTERN, line) == unknown(line)
    assert records(PATTERN, "12 [a] x", line, "12 [a] x")[1] == unknown(line)


def test_letters_and_digits_are_those_of_all_scripts() -> None:
    """Rule F19."""
    assert record(PATTERN, "٢ żółw [błąd] 日本") == {
        "level": "BŁĄD",
        "message": "日本",
        "timestamp": "٢",
        "thread": "żółw",
    }


def test_a_dot_matches_the_newlines_of_joined_lines() -> None:
    """Rule F19."""
    rendered = renderer(RenderSpec(format=PATTERN, multiline=r"\d")).render(b"12 [a] x\n  at y\n13 [b] z\n?\n")
    found = [json.loads(line) for line in rendered.payload.splitlines()]
    assert [event["message"] for event in found] == ["x\n  at y", "z\n?"]


@pytest.mark.parametrize("pattern", ["(", "(?P<a>", "*", "(?P<a>x){99999999999}", "\\"])
def test_an_invalid_pattern_is_refused_with_a_reason(pattern: str) -> None:
    """Rule F19."""
    with pytest.raises(ValueError, match=r"cannot use .* as a pattern \(format regex\): \w+"):
        renderer(RenderSpec(format=f"regex:{pattern}"))


@pytest.mark.parametrize("pattern", ["", "abc", "(a)(b)"])
def test_a_pattern_without_named_groups_is_refused(pattern: str) -> None:
    """Rule F19."""
    with pytest.raises(ValueError, match="it has no named groups, such as"):
        renderer(RenderSpec(format=f"regex:{pattern}"))
