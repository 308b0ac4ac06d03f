"""JSON objects over several lines inside the lines of containers (docs/protocol.md, rules F48 and F62)."""

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

BOTH = pytest.mark.parametrize(("name", "line"), [("cri+json", cri), ("docker+json", docker)], ids=["cri", "docker"])


def spec_of(name: str, max_bytes: int = 4096, max_lines: int = 500) -> RenderSpec:
    return RenderSpec(
        name, multiline="json", multiline_max_bytes=max_bytes, multiline_max_lines=max_lines, rules=CURRENT_RULES
    )


def records(spec: RenderSpec, *lines: str) -> list[dict[str, Any]]:
    rendered = renderer(spec).render(chunk(*lines))
    assert rendered.lines + rendered.joined + rendered.blank == len(lines)
    return [json.loads(record) for record in rendered.payload.splitlines()]


def pretty(message: str) -> list[str]:
    return json.dumps({"level": "warn", "msg": message, "at": [{"}": "{"}]}, indent=2).split("\n")


@BOTH
def test_an_object_over_several_lines_is_one_record_with_the_time_of_its_first_line(name: str, line: Line) -> None:
    lines = [line(text, at=at) for at, text in enumerate([*pretty("a"), *pretty("b"), "text"])]
    found = records(spec_of(name), *lines)
    assert [(record["message"], record["timestamp"], record["level"]) for record in found] == [
        ("a", TIME.format(0), "WARN"),
        ("b", TIME.format(len(pretty("a"))), "WARN"),
        ("text", TIME.format(len(lines) - 1), "UNKNOWN"),
    ]


@BOTH
def test_each_stream_has_an_object_of_its_own(name: str, line: Line) -> None:
    one, two = pretty("a"), pretty("b")
    pairs = zip(map(line, one), (line(text, "stderr") for text in two), strict=True)
    lines = [text for pair in pairs for text in pair]
    assert [record["message"] for record in records(spec_of(name), *lines)] == ["a", "b"]


@BOTH
def test_the_parts_of_a_line_are_one_line_of_an_object(name: str, line: Line) -> None:
    lines = [line('{ "msg": "a', is_last=False), line(' } {",'), line('"x', is_last=False), line('": {'), line("} }")]
    (found,) = records(spec_of(name), *lines)
    assert (found["message"], found["x"]) == ("a } {", {})


@BOTH
def test_a_broken_object_ends_before_the_next_one(name: str, line: Line) -> None:
    lines = [*map(line, pretty("a")[:3]), *map(line, pretty("b"))]
    found = records(spec_of(name), *lines)
    assert [record["message"] for record in found] == ["\n".join(pretty("a")[:3]), "b"]
    others = [line("x", "stderr"), line("y", "stderr")]
    found = records(spec_of(name), *map(line, pretty("a")[:3]), *others, *map(line, pretty("b")))
    assert [record["message"] for record in found] == ["\n".join(pretty("a")[:3]), "x", "y", "b"]


@BOTH
def test_an_object_is_complete_with_its_last_line(name: str, line: Line) -> None:
    joiner = event_joiner(spec_of(name))
    assert joiner is not None
    one = chunk(*map(line, pretty("a")))
    assert joiner.complete_bytes(one) == len(one)
    assert joiner.complete_bytes(one + one[: one.find(b"\n") + 1]) == len(one)
    assert joiner.complete_bytes(b"") == 0


_contents = st.sampled_from(["{", '"a": 1,', '"b": [', "{}", "]", "}", "text", "", '{"x":', '"', " {", "e\\", "G\x1f"])
_lines = st.lists(
    st.tuples(_contents, st.sampled_from(["stdout", "stderr", ""]), st.sampled_from([True, True, True, False])),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(_lines, st.sampled_from([1, 60, 200, 4096]), st.sampled_from([1, 2, 500]))
def test_pieces_that_end_where_groups_end_render_as_the_whole_does(
    written: list[tuple[str, str, bool]], max_bytes: int, max_lines: int
) -> None:
    """Rules F30 and F62: no line is lost, and it does not matter how a file is read."""
    for name, line_of in (("cri+json", cri), ("docker+json", docker)):
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
            assert joiner.complete_bytes(data[:end]) in ends
