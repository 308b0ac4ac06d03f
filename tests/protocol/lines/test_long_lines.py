"""The scan of a record that may stop after any byte: both implementations, at every cut, against `json`."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry import speedups
from logferry.protocol.lines import long_lines
from logferry.protocol.lines.long_lines import (
    HAS_LEVEL,
    HAS_MESSAGE,
    MAX_NESTING,
    is_nested_too_deeply,
    is_whole,
    new_state,
)
from logferry.protocol.lines.validation import Accept, LineJudge, Lines, LongLine, Rejected, Run, Verdict, validate_line
from logferry.protocol.steps import Allowance

SCANS = [long_lines.scan_record, *([speedups.compiled.scan_record] if speedups.compiled else [])]

# fmt: off
PIECES = [
    *("{", "}", "[", "]", ":", ",", " ", "\t", "\r", '"', "\\", '\\"', "\\u", "006c", "\\u006c", "\\u006C", "\\ud800"),
    *("\\n", "\\x", "level", "message", '"level"', '"message"', '"l\\u0065vel"', '"mess\\u0061ge": 1', '"lev', "el"),
    *('"level": 1, "message": 2', "true", "false", "null", "tru", "nul", "nulll", "NaN", "-", "0", "00", "1"),
    *("-1.5e+3", "1e", "1.", ".5", "E", "+", "é", "🚢", "\0", "\x7f", '{"a": [1, {"b": null}]}',),
    *('{"level": "x", "message": ["m"]}', '{"level', '":1,'),
]
# fmt: on
texts = st.lists(st.sampled_from(PIECES), max_size=12).map(lambda parts: "".join(parts).encode())
records = st.tuples(st.sampled_from(['{"level": 1, "message": ', '{"message": 0, "level": ', "{"]), texts).map(
    lambda parts: parts[0].encode() + parts[1] + b"}"
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
dumped = st.builds(
    lambda members, ascii_only: json.dumps(members, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"),
    st.dictionaries(st.sampled_from(["level", "message", "levels", "é", ""]), values, max_size=5),
    st.booleans(),
)


def judged(text: bytes) -> int | None:
    """Return which required keys `json` finds in an object; None for what is not an object."""
    try:
        value = json.loads(text.decode("utf-8", "surrogatepass"), parse_constant=lambda name: int(name))
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    return HAS_LEVEL * ("level" in value) + HAS_MESSAGE * ("message" in value)


@given(texts | records | dumped)
def test_a_scan_finds_what_json_finds_at_every_cut(text: bytes) -> None:
    expected = judged(text)
    for place in range(len(text) + 1):
        for first in SCANS:
            for second in SCANS:
                state = new_state()
                is_json = first(text, 0, place, state) and second(text, place, len(text), state)
                found = state[long_lines.FOUND] if is_json and is_whole(state) else None
                assert found == expected


@pytest.mark.parametrize("scan", SCANS)
def test_nesting_is_limited_in_every_way(scan: object) -> None:
    """Rule L4."""
    for extra, is_allowed in ((0, True), (1, False)):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            depth = MAX_NESTING - 1 + extra
            line = b'{"level": 1, "message": ' + opening * depth + b"1" + closing * depth + b"}"
            assert isinstance(validate_line(line + b"\n", accept=Accept.LEVEL_AND_MESSAGE), Lines) is is_allowed
            (verdict,) = LineJudge(line + b"\n", accept=Accept.ANY_OBJECT, max_line_bytes=10**6).step(Allowance())
            assert isinstance(verdict, Rejected) is not is_allowed
            state = new_state()
            assert scan(line, 0, len(line), state) is is_allowed  # type: ignore[operator]
            assert is_nested_too_deeply(state) is not is_allowed


def test_a_foreign_state_is_refused() -> None:
    if speedups.compiled is None:
        pytest.skip("the compiled part is not built")
    good = new_state()
    assert speedups.compiled.scan_record(b"{", 0, 1, good)
    for index, value in ((0, 22), (2, 65), (2, 0), (4, 3), (5, 9)):
        state = bytearray(good)
        state[index] = value
        with pytest.raises(ValueError, match="state"):
            speedups.compiled.scan_record(b"{", 0, 1, state)
    with pytest.raises(ValueError, match="state"):
        speedups.compiled.scan_record(b"{", 0, 1, bytearray(3))


def long_verdict(line: bytes, accept: Accept) -> Verdict:
    judge = LongLine(line, 0, len(line), accept=accept)
    while (verdict := judge.step(Allowance())) is None:
        pass
    return Lines(line, 1) if isinstance(verdict, Run) else verdict


@pytest.mark.parametrize("accept", list(Accept))
@given(texts | records | dumped | st.binary(max_size=9).map(lambda data: data.replace(b"\n", b"")))
def test_a_long_line_gets_the_verdict_of_a_short_one(accept: Accept, text: bytes) -> None:
    short, long = validate_line(text + b"\n", accept=accept), long_verdict(text + b"\n", accept)
    assert isinstance(long, Rejected) == isinstance(short, Rejected)
    if isinstance(short, Lines):
        assert long == short
