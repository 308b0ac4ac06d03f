"""The json, logfmt, python, regex and raw formats, multiline, filters: both ways agree, and no line is lost."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from hypothesis import given, note
from hypothesis import strategies as st

from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from logferry.rendering import multiline
from logferry.rendering.engine.levels import SEVERITIES
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.reference import render_event
from logferry.rendering.registry import format_named
from logferry.rendering.renderer import renderer
from tests.support.builders import log_lines

REGEX = r"regex:(?P<time>\d+)? ?(?P<lvl>\w+)?(?P<x>[^\w]+)?(?: (?P<msg>.*))?"
# All of them get the same data: it takes longer to make up than to render.
NAMES = ["plain", "raw", "json", "logfmt", "python", REGEX]

_KEYS = [
    *("level", "lvl", "severity", "msg", "message", "log", "time", "ts", "timestamp", "a", "b", "levels", "raw"),
    *("t", "s", "ctx", "MESSAGE", "PRIORITY", "pid", "short_message", "level_name", "@t", "@l"),
]
_JSON_VALUES = [
    *('"info"', '"INFO"', '"x y"', "1", "-0.5e3", "01", "null", "true", "[1, 2]", '{"a":{"b":[]}}', '"\\n"', '"\\x"'),
    *('"\\u00e9"', '"é"', '""', "[[[[1]]]]", "NaN", '"\t"', '{"level":"x"}', '"\\ud800b"', "[]", "{}"),
    *('"2026-03-04T11:12:13Z"', '{"$date":"2026-03-04T11:12:13.456+00:00"}', '"W"', '"3"', "3", "30", "400"),
    *('{"level":"error","logger":"a"}', '{"a":{"level":1},"level":"Warn"}', '{"level":"error","level":"x"}'),
    *('{"$date":"2026-03-04T11:12"}', '"2026-03-04T11:12:13\\u005a"', '"\\u0033"', '"2026-03-04 11:12 x"'),
]
_CONVERTED = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR"} | {*SEVERITIES}  # what numeric levels become
_LOGFMT_VALUES = [
    "info",
    '"info"',
    "INFO",
    '"a b"',
    '""',
    "",
    '"\\""',
    '"\\x1"',
    "a\\b",
    "a=b",
    "é",
    '"\t"',
    '"',
    "a b",
    *("'a b'", "'", "''", "'a'b'", "don't", "'a=\"b\"'"),
    *("2026-03-04T11:12:13Z", '"2026-03-04 11:12:13"', "'2026-03-04 11:12:13'", "2026-03-04", "2026-03-04T11:12:x"),
]
_RUBBISH = [
    "",
    " ",
    "\t",
    "\r",
    "\x00",
    "\x1f",
    "\x7f",
    '"',
    "\\",
    "=",
    ",",
    ":",
    "{",
    "}",
    "é",
    "\u2028",
    "\xa0",
    "[",
    "x",
]

json_lines = st.builds(
    lambda members, colon, comma: "{" + comma.join(f'"{key}"{colon}{value}' for key, value in members) + "}",
    st.lists(st.tuples(st.sampled_from(_KEYS), st.sampled_from(_JSON_VALUES)), max_size=7),
    st.sampled_from([":", ": ", " : "]),
    st.sampled_from([",", ", ", " ,\t"]),
)
logfmt_lines = st.lists(st.tuples(st.sampled_from(_KEYS), st.sampled_from(_LOGFMT_VALUES)), max_size=7).map(
    lambda pairs: " ".join(f"{key}={value}" for key, value in pairs)
)
other_lines = st.lists(
    st.sampled_from(
        [
            *("2024-01-15 08:23:45,123", " - ", "app.db", "INFO", "warning", ":", ": ", " ", "12", "żółw", "message"),
            *_RUBBISH,
        ]
    ),
    max_size=8,
).map("".join)


@st.composite
def lines_nearly_of_a_format(draw: st.DrawFn) -> bytes:
    """A line of some format, or one with something in it that may spoil it."""
    line = draw(st.one_of(json_lines, logfmt_lines, other_lines))
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(line)))
        line = line[:place] + draw(st.sampled_from(_RUBBISH)) + line[place:]
    data = line.encode()
    return data + b"\xff" if draw(st.integers(0, 12)) == 0 else data


# The same line many times: only then a layout is used.
repeated = st.lists(st.tuples(lines_nearly_of_a_format(), st.sampled_from([1, 1, 9])), max_size=8).map(
    lambda parts: b"".join((line + b"\n") * count for line, count in parts)
)
chunks = st.one_of(
    repeated, st.lists(log_lines, max_size=12).map(lambda lines: b"".join(line + b"\n" for line in lines))
)
patterns = st.sampled_from(["timestamp", r"\S", r"[{a-z]", "x", r".*a", r"\{"])
# Those that the lines here have.
TIMESTAMP = r"\[?[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?![0-9])"
limits = st.tuples(st.sampled_from([1, 2, 3, 500]), st.sampled_from([1, 40, 1000]))


@given(chunks)
def test_the_fast_way_gives_what_line_by_line_gives(data: bytes) -> None:
    """Rules F11 to F19."""
    for name in NAMES:
        note(name)
        format_ = format_named(name)
        one_by_one = [render_event(format_, line) for line in data.split(b"\n")[:-1]]
        rendered = renderer(RenderSpec(rules=CURRENT_RULES, format=name)).render(data)
        assert rendered.payload == b"".join(record for record in one_by_one if record is not None)
        assert rendered.blank == one_by_one.count(None)
        assert rendered.lines == len(one_by_one) - rendered.blank


@given(chunks)
def test_every_output_line_is_json_with_level_and_message(data: bytes) -> None:
    for name in NAMES:
        note(name)
        payload = renderer(RenderSpec(rules=CURRENT_RULES, format=name)).render(data).payload
        for line in payload.split(b"\n")[:-1]:
            assert not set(line) & set(range(0x20))
            record = json.loads(line)
            assert {"level", "message", "timestamp"} <= record.keys()


@given(st.lists(json_lines, min_size=9, max_size=12))
def test_no_member_of_an_object_is_lost_or_altered(lines: list[str]) -> None:
    """Rule F14."""

    def plain(value: str) -> Any:
        return json.loads(value, parse_int=str, parse_float=str, object_pairs_hook=list, parse_constant=float)

    payload = (
        renderer(RenderSpec(rules=CURRENT_RULES, format="json"))
        .render("".join(line + "\n" for line in lines).encode())
        .payload
    )
    for line, shipped in zip(lines, payload.decode().split("\n")[:-1], strict=True):
        record = plain(shipped)
        if len(record) == 3 and record[1][1] == line:
            continue  # shipped whole
        found = plain(line)
        before = plain(shipped)[: len(record) - len(found)]
        assert all(key in ("level", "message", "timestamp") for key, _ in before)
        for (key, value), (own_key, own_value) in zip(record[len(before) :], found, strict=True):
            assert value == own_value or (key == "level" and (value in _CONVERTED or value == own_value.upper()))
            assert key == own_key or key in ("level", "message", "timestamp")


def model_of_events(data: bytes, begins: Callable[[str], object], max_lines: int, max_bytes: int) -> list[list[bytes]]:
    """Return the lines of each event, the slow and plain way."""
    events: list[list[bytes]] = []
    for line in data.split(b"\n")[:-1]:
        text = line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
        last = events[-1] if events else []
        size = sum(len(joined) + 1 for joined in last) + len(line) + 1
        if not events or begins(text) or len(last) == max_lines or size > max_bytes:
            events.append([line])
        else:
            last.append(line)
    return events


@given(chunks, patterns, limits)
def test_events_are_what_a_plain_model_says(data: bytes, pattern: str, limits: tuple[int, int]) -> None:
    """Rules F28, F29 and F34."""
    max_lines, max_bytes = limits
    begins = re.compile(TIMESTAMP if pattern == "timestamp" else pattern).match
    for name in NAMES:
        note(name)
        spec = RenderSpec(
            rules=CURRENT_RULES,
            format=name,
            multiline=pattern,
            multiline_max_lines=max_lines,
            multiline_max_bytes=max_bytes,
        )
        rendered = renderer(spec).render(data)
        expected, joined = [], 0
        for event in model_of_events(data, begins, max_lines, max_bytes):
            while len(event) > 1 and not event[-1].strip():
                event.pop()
            joined += len(event) - 1
            expected.append(render_event(format_named(name), b"\n".join(event)))
        assert rendered.payload == b"".join(record for record in expected if record is not None)
        assert rendered.joined == joined
        assert rendered.lines + rendered.blank + rendered.joined == data.count(b"\n")


@given(chunks, patterns, limits, st.integers(0, 1000))
def test_pieces_that_end_where_events_end_render_as_the_whole_does(
    data: bytes, pattern: str, limits: tuple[int, int], place: int
) -> None:
    """Rule F30."""
    max_lines, max_bytes = limits
    for name in NAMES:
        note(name)
        spec = RenderSpec(
            rules=CURRENT_RULES,
            format=name,
            multiline=pattern,
            multiline_max_lines=max_lines,
            multiline_max_bytes=max_bytes,
        )
        joiner = event_joiner(spec)
        assert joiner is not None
        ends = [0]
        while ends[-1] < len(data):
            ends.append(ends[-1] + joiner.bytes_of_groups(data[ends[-1] :], 1))
        pieces = [renderer(spec).render(data[start:end]) for start, end in pairwise(ends)]
        assert b"".join(piece.payload for piece in pieces) == renderer(spec).render(data).payload
        assert [joiner.bytes_of_groups(data, count) for count in range(len(ends))] == ends
        read = data.rfind(b"\n", 0, place % (len(data) + 1)) + 1
        whole = joiner.complete_bytes(data[:read])
        assert whole in ends
        assert not [end for end in ends if whole < end < read]


@given(chunks, patterns, limits, st.binary(max_size=2))
def test_rubbish_that_leaves_no_byte_for_a_joint_gives_the_same(
    data: bytes, pattern: str, limits: tuple[int, int], joints: bytes
) -> None:
    """Rules F28 and F34."""
    max_lines, max_bytes = limits
    spec = RenderSpec(
        rules=CURRENT_RULES,
        multiline=pattern,
        multiline_max_lines=max_lines,
        multiline_max_bytes=max_bytes,
        redact=("info",),
    )
    expected = renderer(spec).render(data)
    with patch.object(
        multiline, "INNER_NEWLINES", bytes(byte for byte in joints if byte < 0x20 and byte not in b"\t\r\n")
    ):
        assert renderer(spec).render(data) == expected


@given(chunks, st.lists(st.sampled_from(["a", "info", r"\d", '"', "^$", "x$", r"\s"]), max_size=4), st.integers(0, 2))
def test_filters_and_redaction_do_to_a_chunk_what_they_do_to_each_line(
    data: bytes, patterns: list[str], included: int
) -> None:
    """Rules F31, F32 and F34."""
    include, rest = tuple(patterns[:included]), tuple(patterns[included:])
    one = renderer(RenderSpec(include=include, exclude=rest[:1], redact=rest[1:], fields=(("a", "b"),)))
    together = one.render(data)
    lines = [one.render(line + b"\n") for line in data.split(b"\n")[:-1]]
    assert together.payload == b"".join(line.payload for line in lines)
    for name in ("lines", "blank", "undecodable", "filtered", "redacted"):
        assert getattr(together, name) == sum(getattr(line, name) for line in lines)
    assert together.lines + together.blank + together.filtered == data.count(b"\n")
