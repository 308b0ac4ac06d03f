"""The compiled part selects and redacts events as the Python code does, byte for byte."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logferry import speedups
from logferry.rendering.filters import EventFilter, fixed_texts
from logferry.rendering.redaction import BUILT_IN, Redactor

if speedups.compiled is None:
    pytest.skip("the compiled part is not built: python3 tools/build_speedups.py", allow_module_level=True)
compiled = speedups.compiled

# Pieces of what the built-in redactions find, and of what they must not take for that; a bar ends each.
_PIECES = (
    "bob@example.com|bob.smith+x@mail.co.uk|@|@b.c|a@|a@b|.c|.|..|a|Z|_|-|%|+|0|00|1|25|255|256|192.0.2.7|1.2.3|1.2.3.4"
    "|.5|999.|4111111111111111|4111 1111 1111 1111|4111-1111-1111-1112|5500 0000 0000 0004|411111111111|2|6|7| |  "
    "|\t|\n"
    "|\n|\r\n|\x1f|\x0b|Bearer |bearer|BEARER\t|bearer x==|token/~+=|=|é|日|\u017f|\u212a|\u0130|\ud7ff"
    "|²|\u0660|\u2028|\ufeff|x\n"
    "|2024-01-15 08:23:45,123|1705307025123|[redacted]|a long text of forty-five letters and more of it"
)
_BYTES = [*(piece.encode() for piece in _PIECES.split("|")), b"\xff", b"\xc3", b"\xe2\x82"]
_lines = st.lists(st.sampled_from(_BYTES), max_size=30).map(lambda some: b"".join(some) + b"\n")
_inner_newlines = st.sampled_from([b"\n", b"\x1f", b"\x0b"])

_PATTERNS = (
    *("a", "bob", "example.com", r"example\.com", "a|é", "日", "11", "=", "a long text of forty-five letters", "x y"),
    *("^a", r"\d\d", "(a)", "", "a|", r"\.", r"\|", "Bearer|bearer", "]", "#", "-", "\x1f", "\ud800", "\udcff", r"\a"),
    *(r"\Z", "a{2}", "}", "x" * 300, "~+", r"\~\+\=", "a\nb", "\t", "@", " "),
)


def _in_both(function: Any, *arguments: Any) -> tuple[Any, Any]:
    """Return the results of the compiled part and of the Python code."""
    fast = function(*arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speedups, "compiled", None)
        return fast, function(*arguments)


@given(
    _lines,
    _inner_newlines,
    st.lists(st.sampled_from(_PATTERNS), max_size=2),
    st.lists(st.sampled_from(_PATTERNS), max_size=2),
)
@example(b"\x1f \x1f\n \t\na\n", b"\x1f", ["b"], [" "])
@example(b"x" * 40 + b"\n", b"\n", ["a"], [])
def test_events_are_selected_as_in_python(
    data: bytes, inner_newline: bytes, include: list[str], exclude: list[str]
) -> None:
    chosen = EventFilter(include=include, exclude=exclude)
    fast, slow = _in_both(chosen.select, data, inner_newline)
    assert fast == slow


@given(_lines, _inner_newlines, st.lists(st.sampled_from([*BUILT_IN, *BUILT_IN, r"\d", "x*"]), min_size=1, max_size=4))
@example("é@b.de a@b.dé bob@x.y\na@b.c%x@y.z é bearer é\n".encode(), b"\n", ["email", "bearer"])
@example(b"Bearer x\xe2\x84\xaa a@b.c \n 192.0.2.7 a@b.c\xff \n", b"\n", ["email", "ipv4", "bearer"])
@example(b"4111 1111 1111 1111 5500000000000004\n" * 3, b"\n", ["card"])
@example(b"bearer " * 9 + b"\n" + b"BEARER\t" * 3 + b"a\n", b"\n", ["bearer"])
def test_events_are_redacted_as_in_python(data: bytes, inner_newline: bytes, redact: list[str]) -> None:
    fast, slow = _in_both(Redactor(redact).redact_joined, data, inner_newline)
    assert fast == slow


@given(st.lists(st.sampled_from([*"0123456789 -", "4111111111111111", "55", "x", "\n", "  "]), max_size=60))
def test_card_numbers_are_found_as_in_python(pieces: list[str]) -> None:
    fast, slow = _in_both(Redactor(["card"]).redact_joined, ("".join(pieces) + "\n").encode(), b"\n")
    assert fast == slow


@given(st.lists(st.sampled_from([*"0123456789...", "25", "255.", "1.1.", "x", "\n", "."]), max_size=60))
def test_addresses_are_found_as_in_python(pieces: list[str]) -> None:
    fast, slow = _in_both(Redactor(["ipv4"]).redact_joined, ("".join(pieces) + "\n").encode(), b"\n")
    assert fast == slow


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        *(("failed", [b"failed"]), ("a b: #1", [b"a b: #1"]), (r"a\.b\[", [b"a.b["]), ("é|x", ["é".encode(), b"x"])),
        *((r"a\|b", [b"a|b"]), ("a.b", ()), ("^a", ()), ("a|", ()), ("", ()), (r"\d", ()), (r"\n", ()), ("(?i)a", ())),
        *(("a\nb", ()), ("\x1f", ()), ("\udcff", ()), ("x" * 256, ()), ("x" * 255, [b"x" * 255]), ("a{2}", ())),
    ],
)
def test_a_pattern_that_is_nothing_but_texts_is_found_out(pattern: str, texts: Sequence[bytes]) -> None:
    assert fixed_texts(pattern) == tuple(texts)


def test_nothing_that_could_be_misread_is_taken() -> None:
    for text in (b"", b"x" * 256, "text"):
        with pytest.raises(ValueError, match="not a text"):
            compiled.select_events(b"a\n", (text,), (), b"\n")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no newline"):
        compiled.select_events(b"a", (b"a",), (), b"\n")
    with pytest.raises(ValueError, match="no newline"):
        compiled.redact(b"a", "email")
    with pytest.raises(ValueError, match="no redaction is called"):
        compiled.redact(b"a\n", "name")


def test_what_is_unchanged_is_not_copied() -> None:
    data = b"2024-01-15 08:23:45 INFO nothing of that kind\n"
    assert all(compiled.redact(data, name)[0] is data for name in BUILT_IN)
    assert compiled.select_events(data, (b"INFO",), (b"x",), b"\n") == (data, 0)
