"""The journal format, case by case (docs/protocol.md, rule F61)."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.renderer import renderer
from tests.support.formats import check_sample, render_both_ways


def field(name: bytes, value: bytes) -> bytes:
    """Return a field whose value may be anything."""
    return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def found_in(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in render_both_ways("journal", data).payload.splitlines()]


def test_a_sample_becomes_its_expected_records() -> None:
    """Rule F61."""
    check_sample("journal", "journal")


@pytest.mark.parametrize(
    "value", [b"", b"\n", b"a\n\nb", b"\n\n", b"x" * 256, b"y" * 10, b"MESSAGE=x\n\n", b"\x00\x01", '"\\é'.encode()]
)
def test_a_value_may_hold_anything(value: bytes) -> None:
    """The length decides where it ends, also if that or the value looks like lines."""
    data = b"PRIORITY=3\n" + field(b"MESSAGE", value) + b"_PID=7\n\nMESSAGE=next\n"
    first, second = found_in(data)
    assert (first["level"], first["message"], first["_PID"]) == ("ERROR", value.decode(), "7")
    assert second["message"] == "next"


def test_a_field_that_is_there_again_has_all_its_values() -> None:
    (found,) = found_in(b"MESSAGE=x\n_AUDIT=a\n_AUDIT=b\n")
    assert found["_AUDIT"] == ["a", "b"]


@pytest.mark.parametrize("rubbish", [b"x", b"lower=1", b"=", b"9A=1", b" A=1", b"\xff", b"A" * 65 + b"=1", b"\x00"])
def test_a_line_that_is_not_part_of_an_entry_is_shipped_as_it_is(rubbish: bytes) -> None:
    found = found_in(b"PRIORITY=3\nMESSAGE=a\n" + rubbish + b"\nMESSAGE=b\nPRIORITY=4\n\n")
    assert [each["level"] for each in found] == ["ERROR", "UNKNOWN", "WARNING"]
    assert found[1]["message"] == rubbish.decode("utf-8", "replace")


@pytest.mark.parametrize(
    "end",
    [
        field(b"MESSAGE", b"long value")[:-3],
        b"MESSAGE\n\x09\n",
        b"MESSAGE\n" + b"\xff" * 8 + b"x\n",
        b"MESSAGE\n" + (5).to_bytes(8, "little") + b"123456\n",
    ],
)
def test_what_is_cut_off_does_not_take_what_is_before_it(end: bytes) -> None:
    found = found_in(b"PRIORITY=3\nMESSAGE=a\n\nPRIORITY=4\n" + end + b"\n" * (not end.endswith(b"\n")))
    assert (found[0]["level"], found[0]["message"]) == ("ERROR", "a")
    assert {each["level"] for each in found[1:]} <= {"UNKNOWN", "WARNING"}


entries = st.lists(
    st.lists(
        st.one_of(
            st.sampled_from([b"PRIORITY=3\n", b"MESSAGE=x\n", b"_PID=7\n", b"rubbish\n", b"{}\n", b"MESSAGE\n", b"\n"]),
            st.binary(max_size=30).map(lambda value: field(b"MESSAGE", value)),
            st.sampled_from([b"x\n", b"\n\n", b"\x00\n"]).map(lambda value: field(b"A", value * 20)),
        ),
        max_size=6,
    ).map(b"".join),
    max_size=5,
).map(b"\n".join)


@settings(max_examples=100)
@given(entries, st.sampled_from([20, 60, 131072]))
def test_pieces_that_end_where_entries_end_render_as_the_whole_does(data: bytes, max_bytes: int) -> None:
    """Rule F30, and no line is lost: all are counted."""
    data += b"" if data.endswith(b"\n") else b"\n"
    spec = RenderSpec("journal", multiline_max_bytes=max_bytes, rules=CURRENT_RULES)
    joiner = event_joiner(spec)
    assert joiner
    ends = [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + joiner.bytes_of_groups(data[ends[-1] :], 1))
    whole = renderer(spec).render(data)
    pieces = [renderer(spec).render(data[start:end]) for start, end in pairwise(ends)]
    assert b"".join(piece.payload for piece in pieces) == whole.payload
    assert whole.lines + whole.blank + whole.joined == data.count(b"\n")
    assert [joiner.bytes_of_groups(data, count) for count in range(len(ends))] == ends
    for place, byte in enumerate(data):
        if byte == 10:
            assert joiner.complete_bytes(data[: place + 1]) in ends
