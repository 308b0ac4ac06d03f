"""What the cri and docker formats have in common, case by case (docs/protocol.md, rules F26 and F27)."""

import json
from typing import Any

import pytest

from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.events import EventJoiner
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.renderer import renderer
from tests.support.container_lines import Line, chunk, cri, docker, expected
from tests.support.formats import check_sample, record, records, render_both_ways, unknown

BOTH = pytest.mark.parametrize(("name", "line"), [("cri", cri), ("docker", docker)], ids=["cri", "docker"])


def joiner_of(name: str, max_bytes: int = 128 * 1024) -> EventJoiner:
    joiner = event_joiner(RenderSpec(format=name, multiline_max_bytes=max_bytes))
    assert joiner is not None
    return joiner


def rendered_with_limit(name: str, data: bytes, max_bytes: int) -> list[dict[str, Any]]:
    payload = renderer(RenderSpec(format=name, multiline_max_bytes=max_bytes)).render(data).payload
    return [json.loads(line) for line in payload.splitlines()]


@pytest.mark.parametrize("name", ["cri", "docker"])
def test_a_sample_becomes_its_expected_records(name: str) -> None:
    """Rules F26 and F27."""
    check_sample(name, name)


@BOTH
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_line_is_split_into_fields(name: str, line: Line, stream: str) -> None:
    """Rule F26."""
    assert record(name, line("listening on :8080", stream)) == expected("listening on :8080", stream)


@BOTH
@pytest.mark.parametrize(
    ("message", "level"),
    [
        ("2024-01-15 08:23:45 INFO ready", "INFO"),
        ("[error] no", "ERROR"),
        ("warning: soon", "WARNING"),
        ("ready", "UNKNOWN"),
        ("error in words", "UNKNOWN"),
    ],
)
def test_a_level_word_at_the_beginning_of_the_message_is_the_level(
    name: str, line: Line, message: str, level: str
) -> None:
    """Rule F26."""
    assert record(name, line(message)) == expected(message) | {"level": level}


@BOTH
@pytest.mark.parametrize(
    "message",
    ["", " ", "  indented", 'say "hi"', "C:\\data\\n", "tab\there", "zażółć 🚢", '{"a": "b"}', "\x7f", "stdout P x"],
)
def test_a_message_is_kept_as_written(name: str, line: Line, message: str) -> None:
    assert record(name, line(message)) == expected(message)


@BOTH
def test_parts_of_a_line_are_joined_in_the_order_of_completion_and_streams_are_kept_apart(
    name: str, line: Line
) -> None:
    """Rule F27."""
    lines = [
        line("a1 ", is_last=False, at=1),
        line("b1 ", "stderr", is_last=False, at=2),
        line("a2 ", is_last=False, at=3),
        "rubbish",
        line("b2", "stderr", at=4),
        line("c", "stderr", at=5),
        "",
        line("a3", at=6),
        line("d", at=7),
    ]
    rendered = render_both_ways(name, chunk(*lines))
    assert (rendered.lines, rendered.joined, rendered.blank) == (5, 3, 1)
    assert records(name, *lines) == [
        unknown("rubbish"),
        expected("b1 b2", "stderr", at=2),
        expected("c", "stderr", at=5),
        expected("a1 a2 a3", at=1),
        expected("d", at=7),
    ]


@BOTH
def test_an_unfinished_line_is_marked(name: str, line: Line) -> None:
    """Rule F27."""
    lines = [line("a1 ", is_last=False, at=1), line("b", "stderr", is_last=False, at=2), line("a2", is_last=False)]
    assert records(name, *lines) == [expected("a1 a2", at=1, partial=True), expected("b", "stderr", at=2, partial=True)]


@BOTH
def test_a_group_ends_where_no_stream_has_an_unfinished_line(name: str, line: Line) -> None:
    """Rule F27."""
    groups = [
        [line("whole")],
        [line("a", is_last=False), line("b", "stderr", is_last=False), line("a"), "rubbish", line("b", "stderr")],
        ["rubbish"],
        [""],
        [line("c", "stderr", is_last=False), line("whole too"), line("c", "stderr")],
        [line("last")],
    ]
    data, ends = b"", [0]
    for group in groups:
        data += chunk(*group)
        ends.append(len(data))
    joiner = joiner_of(name)
    assert [joiner.bytes_of_groups(data, count) for count in range(len(groups) + 2)] == [*ends, len(data)]
    all_ends = [end for end in range(len(data) + 1) if end == 0 or data[end - 1 : end] == b"\n"]
    assert [joiner.complete_bytes(data[:end]) for end in all_ends] == [
        max(e for e in ends if e <= end) for end in all_ends
    ]


@BOTH
def test_no_line_is_known_to_begin_a_group_because_any_may_complete_an_earlier_line(name: str, line: Line) -> None:
    """Rule F27."""
    assert not joiner_of(name).begins_group(chunk(line("whole")))


@BOTH
def test_a_group_is_cut_before_the_line_that_exceeds_the_limit(name: str, line: Line) -> None:
    """Rule F27."""
    parts = [line(f"{number} ", is_last=False, at=number) for number in range(5)]
    data = chunk(*parts, line("", at=5))
    one = len(chunk(parts[0]))
    assert (
        joiner_of(name, 2 * one).bytes_of_groups(data, 1)
        == joiner_of(name, 3 * one - 1).bytes_of_groups(data, 1)
        == 2 * one
    )
    assert joiner_of(name, 2 * one).complete_bytes(data[: 2 * one]) == 0
    assert joiner_of(name, 2 * one).complete_bytes(data[: 3 * one]) == 2 * one
    assert rendered_with_limit(name, data, 2 * one) == [
        expected("0 1 ", at=0, partial=True),
        expected("2 3 ", at=2, partial=True),
        expected("4 ", at=4),
    ]


@BOTH
def test_a_single_part_over_the_limit_is_a_group(name: str, line: Line) -> None:
    data = chunk(line("x" * 500, is_last=False), line("end"))
    assert joiner_of(name, 100).bytes_of_groups(data, 1) == len(chunk(line("x" * 500, is_last=False)))
    assert [found.get("partial") for found in rendered_with_limit(name, data, 100)] == [True, None]


@BOTH
def test_lines_that_are_whole_stay_the_same_bytes(name: str, line: Line) -> None:
    data = chunk(*(line(f"stdout P {number}") for number in range(100)))
    joined = joiner_of(name).join(data)
    assert joined is not None
    assert joined.data is data


@BOTH
def test_a_carriage_return_before_the_end_of_a_line_is_not_in_the_message(name: str, line: Line) -> None:
    assert record(name, line("ready") + "\r") == expected("ready")
    assert records(name, line("a", is_last=False), line("b") + "\r") == [expected("ab")]
