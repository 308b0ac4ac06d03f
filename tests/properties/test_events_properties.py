"""Events of several lines are found and joined by the compiled part as by the Python code, byte for byte."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logferry import speedups
from logferry.model.render_spec import RenderSpec
from logferry.rendering import multiline
from logferry.rendering.engine.beginnings import program_of
from logferry.rendering.engine.user_patterns import compile_user_pattern
from logferry.rendering.multiline import Multiline
from logferry.rendering.renderer import renderer

if speedups.compiled is None:
    pytest.skip("the compiled part is not built: python3 tools/build_speedups.py", allow_module_level=True)
compiled = speedups.compiled

# Timestamps that begin an event, in pieces, and what makes a line begin otherwise; a bar ends each.
_PIECES = (
    "2024-01-15 08:23:45|2024/01/15 08:23:45|2024-01-15T08:23:45|2024-01/15 08:23:45|15-Jan-2024 08:23:45"
    "|[15/Jan/2024:08:23:45|Jan 15 08:23:45|Jan  5 08:23:45|Mon Jan 15 08:23:45|<34>|<345>1 |<>|<1234>|1 |["
    "|45-Jan-2024 |JAN 15 |jan 15 |Mon |Jan 45 |08:23:45|08:23"
    "|:|2024|15|-|/| |  |\t|\n|\n|\n\n|\r\n|\r|\v|\f|\x1f|\0|at x|é|7|.5"
)
_BYTES = [*(piece.encode() for piece in _PIECES.split("|")), b"\xff", b"\xc3"]
_lines = st.lists(st.sampled_from(_BYTES), max_size=40).map(lambda some: b"".join(some) + b"\n")
_SIMPLE = (
    *(r"\d{4}-\d{2}-\d{2}", r"^[A-Z][a-z]{2} ", r"(?!\s|at |Caused by|\()", r"\[", r"[^\s]", "[0-9:]{8}", r"(?!\s)"),
    *(r"(?!\s)\S{2}|x|^<", r"^(?!\t)(?!  )", r"(?!\d)[é\w]", r"\w\W", r".{3}", r"(?!)", "a|", r"\S{0}", r"[\d\]é]"),
    "[żż]7",
)
_beginnings = st.sampled_from(["timestamp", "timestamp", r"\S", "2024|J", "é", r".*\Z", *_SIMPLE])


def _in_both(function: Any, *arguments: Any) -> tuple[Any, Any]:
    """Return the results of the compiled part and of the Python code."""
    fast = function(*arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speedups, "compiled", None)
        return fast, function(*arguments)


@given(_lines, _beginnings, st.integers(0, 6), st.integers(1, 8), st.integers(1, 120))
@example(b"x\n \n\n y\n\n \n", "x", 1, 3, 100)
@example(b"\n\n\n", "timestamp", 0, 2, 1)
def test_events_are_found_and_joined_as_in_python(
    data: bytes, beginning: str, count: int, max_lines: int, max_bytes: int
) -> None:
    rule = Multiline(beginning, max_lines=max_lines, max_bytes=max_bytes)
    for method, arguments in (
        ("join", ()),
        ("complete_bytes", ()),
        ("begins_group", ()),
        ("bytes_of_groups", (count,)),
    ):
        fast, slow = _in_both(getattr(rule, method), data, *arguments)
        assert fast == slow, method


@given(_lines, st.integers(1, 40))
def test_the_last_event_is_found_from_the_end_as_in_python(data: bytes, tail_bytes: int) -> None:
    rule = Multiline("timestamp", max_lines=100, max_bytes=10_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiline, "_TAIL_BYTES", tail_bytes)
        in_steps = rule.complete_bytes(data)
    assert in_steps == rule.complete_bytes(data)
    assert in_steps == _in_both(rule.complete_bytes, data)[1]


@given(_lines, _lines, st.integers(1, 8))
def test_a_source_may_be_cut_where_events_end(first: bytes, second: bytes, max_lines: int) -> None:
    """The compiled part gives for a whole what it gives for its pieces."""
    spec = RenderSpec(multiline="timestamp", multiline_max_lines=max_lines)
    data = first + b"2024-01-15 08:23:45 INFO x\n" + second
    rule = Multiline("timestamp", max_lines=max_lines, max_bytes=spec.multiline_max_bytes)
    end = rule.complete_bytes(data)
    pieces = [renderer(spec).render(piece).payload for piece in (data[:end], data[end:])]
    assert b"".join(pieces) == renderer(spec).render(data).payload


@pytest.mark.parametrize(
    ("data", "marks"), [(b"no newline", b"\1"), (b"a\n", b""), (b"a\n", b"\1\1"), (b"", b"\1"), (b"a\nb\n", b"\1")]
)
def test_lines_and_marks_that_do_not_fit_are_refused(data: bytes, marks: bytes) -> None:
    with pytest.raises(ValueError, match=r"no newline|one mark per line"):
        compiled.join_events(data, marks, 1, 1, b"\x1f")
    with pytest.raises(ValueError, match=r"no newline|one mark per line"):
        compiled.event_offsets(data, marks, 1, 1, 1)


def test_lines_without_a_last_newline_have_no_marks() -> None:
    with pytest.raises(ValueError, match="no newline"):
        compiled.begin_with_timestamp(b"2024-01-15")


@pytest.mark.parametrize("pattern", [*_SIMPLE, r"\S", "2024|J", "^ERROR|^WARN"])
def test_what_most_people_write_is_a_simple_pattern(pattern: str) -> None:
    assert program_of(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "a+",
            "a*",
            "a?",
            "(a)",
            r"a$",
            r"\bx",
            "a{1,2}",
            "(?i)a",
            "[[]a]",
            "a{2}?",
            "(?!a+)",
            "a(?!b)",
            r"(?!a(?!b))",
        ),
        *(
            "é",
            "x" * 256,
            r"\n",
            "a^",
            "(?!a)^b",
            "(?=a)",
            "[a--b]",
            r"\x41",
            ")",
            "a{300}",
            r"(a)\1",
            r".*\Z",
            "a{99}" * 3,
        ),
    ],
)
def test_other_patterns_are_left_to_python(pattern: str) -> None:
    assert not program_of(pattern)


_TOKENS = [*"ab.|^$(){}[]*+?\\-! 29é", r"\d", r"\s", "(?!", "[^", "{2}", "a-z"]


@given(st.lists(st.sampled_from(_TOKENS), max_size=7), _lines)
def test_every_pattern_with_a_program_matches_as_in_python(tokens: list[str], data: bytes) -> None:
    pattern = "".join(tokens)
    program = program_of(pattern)
    if not program or not _is_valid(pattern):
        return
    begins = compile_user_pattern("multiline", pattern).compiled.match
    marks = compiled.begin_like(data, program)
    texts = [line.removesuffix("\r") for line in data.decode("utf-8", "surrogateescape").split("\n")[:-1]]
    assert len(marks) == len(texts)
    assert all(mark in (2, bool(begins(text))) for mark, text in zip(marks, texts, strict=True))


def _is_valid(pattern: str) -> bool:
    try:
        compile_user_pattern("multiline", pattern)
    except ValueError:
        return False
    return True


@given(st.binary(max_size=60), _lines)
def test_a_program_that_is_none_is_refused_or_runs(program: bytes, data: bytes) -> None:
    try:
        assert len(compiled.begin_like(data, program)) == data.count(b"\n")
    except ValueError as error:
        assert str(error) == "not a program"  # noqa: PT017  (most are)
