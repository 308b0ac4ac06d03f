"""Events of several lines inside the lines of containers (docs/protocol.md, rule F48)."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.renderer import renderer
from tests.support.container_lines import TIME, Line, chunk, cri, docker

BOTH = pytest.mark.parametrize(("name", "line"), [("cri", cri), ("docker", docker)], ids=["cri", "docker"])


def spec_of(name: str, max_bytes: int = 4096, max_lines: int = 500) -> RenderSpec:
    return RenderSpec(
        name, multiline="[A-Z]", multiline_max_bytes=max_bytes, multiline_max_lines=max_lines, rules=CURRENT_RULES
    )


def records(spec: RenderSpec, *lines: str) -> list[dict[str, Any]]:
    rendered = renderer(spec).render(chunk(*lines))
    assert rendered.lines + rendered.joined + rendered.blank == len(lines)
    return [json.loads(record) for record in rendered.payload.splitlines()]


def messages(spec: RenderSpec, *lines: str) -> list[str]:
    return [record["message"] for record in records(spec, *lines)]


@BOTH
def test_the_lines_of_a_trace_are_one_event_with_the_time_of_its_first_line(name: str, line: Line) -> None:
    """Rule F48."""
    found = records(spec_of(name), line("ERROR a", at=1), line("\tat b", at=2), line("", at=3), line("INFO c", at=4))
    assert [(record["message"], record["timestamp"], record["level"]) for record in found] == [
        ("ERROR a\n\tat b", TIME.format(1), "ERROR"),
        ("INFO c", TIME.format(4), "INFO"),
    ]


@BOTH
def test_a_line_of_the_other_stream_does_not_end_an_event(name: str, line: Line) -> None:
    """Rule F48."""
    lines = [line("A1"), line("B1", "stderr"), line("a2"), "rubbish", line("b2", "stderr"), line("a3")]
    assert messages(spec_of(name), *lines) == ["A1\na2\na3", "B1\nb2", "rubbish"]


@BOTH
def test_an_event_is_over_when_the_other_stream_has_begun_two(name: str, line: Line) -> None:
    """Rule F48."""
    lines = [line("A1"), line("B1", "stderr"), line("B2", "stderr"), line("a2"), line("a3"), line("b2", "stderr")]
    assert messages(spec_of(name), *lines) == ["A1", "B1", "B2\nb2", "a2\na3"]


@BOTH
def test_the_parts_of_lines_are_joined_before_the_pattern_sees_them(name: str, line: Line) -> None:
    """Rule F48."""
    lines = [line("A", is_last=False), line("B"), line("c", is_last=False), line("D"), line("E", is_last=False)]
    found = records(spec_of(name), *lines)
    assert [(record["message"], "partial" in record) for record in found] == [("AB\ncD", False), ("E", True)]


@BOTH
def test_the_limits_cut_events(name: str, line: Line) -> None:
    """Rules F29 and F48."""
    lines = [line("A"), line("b"), line("c"), line("d"), line("E")]
    assert messages(spec_of(name, max_lines=2), *lines) == ["A\nb", "c\nd", "E"]
    assert messages(spec_of(name, max_bytes=1), *lines) == ["A", "b", "c", "d", "E"]


@pytest.mark.parametrize(("name", "line"), [("cri+json", cri), ("docker+json", docker)])
def test_an_object_over_several_lines_is_read_by_the_inner_format(name: str, line: Line) -> None:
    """Rules F39 and F48."""
    spec = RenderSpec(name, multiline=r"\{", rules=CURRENT_RULES)
    (found,) = records(spec, *map(line, ["{", ' "level": "warn",', ' "msg": "m"', "}"]))
    assert (found["level"], found["message"]) == ("WARN", "m")


_contents = st.sampled_from(["A", "B x", "c", " d", "", "e\\", 'f"', "\t", "G\x1f", "h\r"])
_lines = st.lists(
    st.tuples(_contents, st.sampled_from(["stdout", "stderr", ""]), st.sampled_from([True, True, True, False])),
    max_size=14,
)


@settings(max_examples=60)
@given(_lines, st.sampled_from([1, 60, 200, 4096]), st.sampled_from([1, 2, 500]))
def test_pieces_that_end_where_groups_end_render_as_the_whole_does(
    written: list[tuple[str, str, bool]], max_bytes: int, max_lines: int
) -> None:
    """Rules F30 and F48: no line is lost, and it does not matter how a file is read."""
    for name, line_of in (("cri", cri), ("docker+plain", docker)):
        lines = [line_of(text, stream, is_last=last) if stream else text for text, stream, last in written]
        data = chunk(*lines)
        spec = spec_of(name, max_bytes, max_lines)
        joiner = event_joiner(spec)
        assert joiner is not None
        ends = [0]
        while ends[-1] < len(data):
            ends.append(ends[-1] + joiner.bytes_of_groups(data[ends[-1] :], 1))
        whole = renderer(spec).render(data)
        pieces = [renderer(spec).render(data[start:end]) for start, end in pairwise(ends)]
        assert b"".join(piece.payload for piece in pieces) == whole.payload
        assert whole.lines + whole.blank + whole.joined == data.count(b"\n")
        assert [joiner.bytes_of_groups(data, count) for count in range(len(ends))] == ends
        for end in (match.end() for match in re.finditer(b"\n", data)):
            assert joiner.complete_bytes(data[:end]) in (
                max(e for e in ends if e <= end),
                max(e for e in ends if e < end),
            )
