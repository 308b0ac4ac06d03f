"""Whatever a line says, reading it gives a value of exact types, or says what is wrong (rule E32)."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.protocol.delivery.answer_lines import read_answer, read_welcome
from logferry.protocol.delivery.control_lines import read_control_line
from logferry.protocol.messages.answers import InvalidAnswer
from logferry.protocol.messages.requests import Violation
from logferry.protocol.messages.writing import MAX_OFFSET
from tests.protocol.delivery.test_control_reader import ANSWERS, CONTROL_LINES

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 5),
    st.integers(min_value=-(2**80), max_value=2**80),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["s1", "\ud800", "../s1", "x" * 70, "x" * 300, "1" * 30_000]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
rows = st.lists(st.lists(st.one_of(st.just("s1"), st.integers(-1, 9), scalars), max_size=6), max_size=3)


def numbers_in(value: Any) -> list[int]:
    """Return every number in a value that was read, however deep; fail for a float in a place of an int."""
    if isinstance(value, bool | str | bytes | None):
        return []
    if isinstance(value, int):
        return [value]
    if isinstance(value, float):
        return [int(value)]
    if isinstance(value, dict):
        return [number for each in value.values() for number in numbers_in(each)]
    if isinstance(value, tuple | frozenset | list):
        return [number for each in value for number in numbers_in(each)]
    return [number for name in value.__slots__ for number in numbers_in(getattr(value, name))]


@settings(deadline=None, max_examples=150)
@given(kind=st.sampled_from([*CONTROL_LINES, "ping", "sing"]), changes=st.data())
def test_any_control_line_is_a_request_or_a_violation(kind: str, changes: st.DataObject) -> None:
    """Rule E32."""
    fields = dict(CONTROL_LINES.get(kind, {}))
    for name in changes.draw(st.lists(st.sampled_from([*fields, "new", "logferry"]), max_size=3)):
        fields[name] = changes.draw(anything | rows)
    line = json.dumps({"logferry": kind, **fields}).encode() + b"\n"
    request = read_control_line(line)
    assert all(0 <= number <= MAX_OFFSET for number in numbers_in(request))
    repr(request).encode()
    if isinstance(request, Violation):
        assert len(request.reason) < 200


@settings(deadline=None, max_examples=150)
@given(kind=st.sampled_from([*ANSWERS, "alive", "sing"]), changes=st.data())
def test_any_answer_is_an_answer_or_invalid(kind: str, changes: st.DataObject) -> None:
    """Rule E32."""
    fields = {"status": "ok", "message": kind, **ANSWERS.get(kind, {})}
    for name in changes.draw(st.lists(st.sampled_from([*fields, "storing", "reason", "since", "new"]), max_size=3)):
        fields[name] = changes.draw(anything | rows)
    line = json.dumps(fields).encode() + b"\n"
    for answer in (read_answer(line), read_welcome(line)):
        assert all(0 <= number <= MAX_OFFSET for number in numbers_in(answer))
        repr(answer).encode()
        assert not isinstance(answer, InvalidAnswer) or len(answer.reason) < 1000


@settings(deadline=None, max_examples=150)
@given(line=st.binary(max_size=80) | st.text('{}[]",:0123456789.eE-+ "logferryNaN\\u', max_size=80).map(str.encode))
def test_any_bytes_are_read_by_both_ends(line: bytes) -> None:
    """Rule E32."""
    read_control_line(line)
    read_answer(line)
    read_welcome(line)
