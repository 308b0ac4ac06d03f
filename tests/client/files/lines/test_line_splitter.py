"""Splitting bytes into pieces: whole lines, whole events, and cut lines."""

from typing import Any

import pytest

from logferry.client.files.lines.line_splitter import Piece, first_lines, splitter_for
from logferry.model.render_spec import RenderSpec

LINES = splitter_for(RenderSpec(max_line_bytes=8))
EVENTS = splitter_for(RenderSpec(max_line_bytes=8, multiline="E"))


def split(splitter: Any, data: bytes, **changes: Any) -> Piece | None:
    asked = {"starts_event": True, "max_lines": None, "has_more": False, "is_settled": False}
    piece: Piece | None = splitter.split(data, **asked | changes)
    return piece


def test_lines_come_together_and_at_most_as_many_as_asked_for() -> None:
    assert split(LINES, b"one\ntwo\n") == Piece(b"one\ntwo\n", 8)
    assert split(LINES, b"one\ntwo\n", max_lines=1) == Piece(b"one\n", 4)
    assert split(LINES, b"one\ntwo\n", max_lines=2) == Piece(b"one\ntwo\n", 8)


def test_a_line_that_is_too_long_comes_alone_and_cut() -> None:
    assert split(LINES, b"one\n123456789\ntwo\n") == Piece(b"one\n", 4)
    assert split(LINES, b"123456789\ntwo\n") == Piece(b"12345678", 10, truncated=True)
    assert split(LINES, b"12345678\r\ntwo\n") == Piece(b"12345678\r\ntwo\n", 14)


@pytest.mark.parametrize(("head", "kept"), [("1234567é".encode(), b"1234567"), (b"\x80" * 9, b"\x80" * 8)])
def test_no_character_is_cut_in_two(head: bytes, kept: bytes) -> None:
    assert LINES.cut(head, 20) == Piece(kept, 20, truncated=True)


def test_the_last_event_is_held_back_until_it_is_settled_and_then_its_rest_continues_it() -> None:
    assert split(EVENTS, b"E1\n a\nE2\n") == Piece(b"E1\n a\n", 6)
    assert split(EVENTS, b"E2\n") is None
    assert split(EVENTS, b"E2\n", is_settled=True) == Piece(b"E2\n", 3, ends_event=False)
    assert split(EVENTS, b" b\nE3\n", starts_event=False) == Piece(b" b\n", 3, continues_event=True)
    assert split(EVENTS, b"E3\nE4\n", starts_event=False) == Piece(b"E3\n", 3)


def test_an_event_ends_before_an_over_long_line() -> None:
    assert split(EVENTS, b"E1\n123456789\n") == Piece(b"E1\n", 3)
    assert split(EVENTS, b"E1\n", has_more=True) == Piece(b"E1\n", 3)


def test_files_that_are_rendered_alike_share_a_splitter() -> None:
    assert splitter_for(RenderSpec(max_line_bytes=8, fields=(("path", "/a"),))) is LINES
    assert EVENTS is not LINES


def test_bytes_that_are_not_utf_8_are_cut_as_every_version_has_cut_them() -> None:
    splitter = splitter_for(RenderSpec(max_line_bytes=100))
    assert len(splitter.cut(b"a" * 97 + b"\x80" * 4, 200).data) == 96
    assert len(splitter.cut(b"a" * 96 + b"\x80" * 5, 200).data) == 100


def test_an_incomplete_line_as_long_as_the_limit_is_not_cut() -> None:
    splitter = splitter_for(RenderSpec(max_line_bytes=100))
    assert splitter.incomplete(b"x" * 100, 100).is_incomplete
    assert not splitter.incomplete(b"x" * 101, 101).is_incomplete


@pytest.mark.parametrize("lengths", [[0], [0, 300, 1, 0, 0, 2000], [99], [1, 255, 256, 257]])
@pytest.mark.parametrize("count", [1, 2, 3, 511, 512, 4000])
def test_the_first_lines_are_as_many_as_wanted(lengths: list[int], count: int) -> None:
    lines = [b"x" * lengths[number % len(lengths)] + b"\n" for number in range(4000)]
    assert first_lines(b"".join(lines), count) == b"".join(lines[:count])
