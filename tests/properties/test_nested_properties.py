"""Formats inside the lines of containers: both ways give the same, and nothing of a line is lost (rule F39)."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry import speedups
from logferry.model.format_names import NESTED_FORMATS
from logferry.model.render_spec import RenderSpec
from logferry.rendering.formats.containers.cri import CRI
from logferry.rendering.formats.containers.docker import DOCKER
from logferry.rendering.registry import format_named
from logferry.rendering.renderer import renderer
from tests.support.container_lines import TIME, cri, docker
from tests.support.formats import render_both_ways

_CONTENTS = [
    ["{", '"level"', ":", '"info"', ",", '"msg"', ":", '"on"', ",", '"ts"', ":", "1.5", "}"],
    ["{", '"level"', ":", '"UNKNOWN"', ",", '"message"', ":", '"x"', ",", '"timestamp"', ":", "null", "}"],
    ["{", '"stream"', ":", '"own"', ",", '"time"', ":", '"x\\\\"', ",", '"partial"', ":", "1", "}"],
    ["level=", "info", " ", "msg=", '"a b"', " ", "time=", "5", " ", "n=", "1"],
    ["I", "0304 11:12:13.456789", "       1 ", "pump.go:1", "] ", "on"],
    ["2024-01-15 08:23:45", " ", "INFO", " ", "ready"],
    ["192.0.2.7", " - - ", "[15/Jan/2024:08:23:45 +0000] ", '"GET / HTTP/1.1"', " 200", " 12"],
    ["<34>", "Jan 15 08:23:45", " ", "web-1", " ", "app", ":", " ", "gone"],
    ["2024/01/15 08:23:45", " [error]", " 4#5", ": ", "gone"],
]
_RUBBISH = [
    *(
        "",
        " ",
        "\t",
        "\r",
        "\x00",
        "\x01",
        "\x06",
        "\x0b",
        "\x1b[0m",
        "\x1f",
        "é",
        "\u2028",
        "<&>",
        "\\",
        "\\\\",
        '"',
        '\\"',
    ),
    *("[error] ", "panic: ", "ERROR ", "{", "}", "\\n", "\\u0041", '"timestamp": null', '"\\ud800"', "]"),
]
_pieces = st.sampled_from(sorted({piece for content in _CONTENTS for piece in content} | set(_RUBBISH)))


@st.composite
def _contents(draw: st.DrawFn) -> str:
    pieces = list(draw(st.sampled_from(_CONTENTS)))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(pieces)))
        pieces[place : place + draw(st.integers(0, 1))] = [draw(_pieces)]
    return "".join(pieces)


written = st.lists(
    st.tuples(_contents(), st.sampled_from(["stdout", "stderr"]), st.sampled_from([True, True, True, False])),
    max_size=12,
)


def _data(line_of: Any, lines: list[tuple[str, str, bool]]) -> bytes:
    texts = (line_of(content, stream, is_last=is_last, at=at) for at, (content, stream, is_last) in enumerate(lines))
    return "".join(text + "\n" for text in texts).encode()


@given(st.sampled_from(NESTED_FORMATS), written)
def test_the_fast_way_gives_what_line_by_line_gives(name: str, lines: list[tuple[str, str, bool]]) -> None:
    """Rule F39."""
    render_both_ways(name, _data(cri if name.startswith("cri") else docker, lines))


@settings(max_examples=50)
@given(written)
def test_without_a_format_that_reads_them_lines_are_as_without_an_inner_format(
    lines: list[tuple[str, str, bool]],
) -> None:
    """Rule F39."""
    for name, line_of in (("cri", cri), ("docker", docker)):
        data = _data(line_of, lines)
        assert render_both_ways(f"{name}+raw", data) == renderer(RenderSpec(format=name)).render(data)


_READING = [name for name in NESTED_FORMATS if not name.endswith("+auto")]


@given(st.sampled_from(_READING), _contents())
def test_no_field_of_the_inner_line_is_lost_or_altered(name: str, content: str) -> None:
    """Rule F39."""
    content = content.replace("\r", "") + "x"
    runtime, _, inner = name.partition("+")
    found = _pairs(format_named(name).record_of(cri(content) if runtime == "cri" else docker(content)))
    before = _pairs(format_named(inner).record_of(content))
    added = found[len(before) :]
    assert len({key for key, _ in found}) == len(found) or len({key for key, _ in before}) < len(before)
    assert [key for key, _ in found[: len(before)]] == [key for key, _ in before]
    changed = [(old, new) for old, new in zip(before, found, strict=False) if old != new]
    assert {old for old, _ in changed} <= {("timestamp", "null"), ("level", '"UNKNOWN"')}
    assert {key.rpartition("container_")[2] for key, _ in added} <= {"stream", "time"}
    values = [value for _, value in [*added, *(new for _, new in changed)]]
    assert sum(f'"{TIME.format(0)}"' == value for value in values) == 1


def _pairs(record: str) -> list[tuple[str, str]]:
    return json.loads(record, object_pairs_hook=lambda pairs: [(key, json.dumps(value)) for key, value in pairs])  # type: ignore[no-any-return]


_PIECES = [
    '","stream":"',
    "\\n",
    "\\\\n",
    '"',
    "n",
    "stdout P",
    "stderr P",
    "stdout F",
    " P",
    "x" * 15,
    '{"log":"',
    "\n",
    "é",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=12))
def test_the_compiled_part_finds_parts_where_the_candidate_is(pieces: list[str]) -> None:
    if speedups.compiled is None:
        pytest.skip("not compiled")
    data = "".join(pieces).encode()
    for syntax in (CRI.part_syntax(), DOCKER.part_syntax()):
        assert syntax.has_no_parts(data) == (syntax.candidate.search(data) is None)
