"""Line patterns: one pattern splits a chunk, and records are assembled from the pieces."""

from collections.abc import Callable

import pytest

from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.records import Column, LinePattern, Texts, Written, write_records

PAIR = r"([a-z]++)=([0-9]++)(!)?+"


def brackets(lines: bytes) -> Rendered:
    """Render lines in another way, skip blank lines, and count both."""
    found = [line for line in lines.split(b"\n")[:-1] if line.strip()]
    return Rendered(b"".join(b"[%b]\n" % line for line in found), len(found), lines.count(b"\n") - len(found))


def counting(calls: list[bytes]) -> Callable[[bytes], Rendered]:
    def render(lines: bytes) -> Rendered:
        calls.append(lines)
        return brackets(lines)

    return render


@pytest.fixture
def pairs() -> LinePattern:
    return LinePattern(PAIR, [b"{", Column(2), b" of ", Column(1), b"}\n"])


def test_a_record_has_the_texts_of_groups_in_the_order_of_the_record(pairs: LinePattern) -> None:
    assert pairs.render(b"a=1\nb=22\n", brackets) == Rendered(b"{1 of a}\n{22 of b}\n", 2)


@pytest.mark.parametrize(
    ("lines", "payload"),
    [
        (b"x\na=1\nb=2\n", b"[x]\n{1 of a}\n{2 of b}\n"),
        (b"a=1\nx\nb=2\n", b"{1 of a}\n[x]\n{2 of b}\n"),
        (b"a=1\nb=2\nx\n", b"{1 of a}\n{2 of b}\n[x]\n"),
        (b"x\ny\na=1\nz\n", b"[x]\n[y]\n{1 of a}\n[z]\n"),
        (b"x\ny\n", b"[x]\n[y]\n"),
    ],
)
def test_other_lines_are_rendered_separately_and_keep_their_places(
    pairs: LinePattern, lines: bytes, payload: bytes
) -> None:
    assert pairs.render(lines, brackets) == Rendered(payload, lines.count(b"\n"))


def test_other_lines_are_gathered_and_rendered_by_one_call(pairs: LinePattern) -> None:
    calls = list[bytes]()
    pairs.render(b"x\na=1\ny\nz\nb=2\nw\n", counting(calls))
    assert calls == [b"x\ny\nz\nw\n"]


@pytest.mark.parametrize(
    ("lines", "payload", "blank"),
    [
        (b"\na=1\nx\n", b"{1 of a}\n[x]\n", 1),
        (b"x\n\na=1\n \nb=2\ny\n\n", b"[x]\n{1 of a}\n{2 of b}\n[y]\n", 3),
        (b"a=1\n\n", b"{1 of a}\n", 1),
        (b"a=1\n\n\nb=2\n", b"{1 of a}\n{2 of b}\n", 2),
    ],
)
def test_blank_lines_give_no_records_and_do_not_move_others(
    pairs: LinePattern, lines: bytes, payload: bytes, blank: int
) -> None:
    assert pairs.render(lines, brackets) == Rendered(payload, lines.count(b"\n") - blank, blank)


def test_an_edit_gets_all_texts_of_a_group_in_one_call() -> None:
    seen = list[Texts]()

    def edit(texts: Texts) -> Written:
        seen.append(texts)
        return Written([b"yes" if text else b"no" for text in texts], b"<", b">")

    pattern = LinePattern(PAIR, [b"{", Column(1), b", ", Column(3, edit), b"}\n"])
    assert pattern.render(b"a=1!\nb=2\n", brackets).payload == b"{a, <yes>}\n{b, <no>}\n"
    assert seen == [[b"!", None]]


def test_an_edit_may_write_nothing_and_may_name_a_group_that_the_pattern_lacks() -> None:
    def refuse_all(texts: Texts) -> None:
        assert texts == [None, None]

    pattern = LinePattern("(?P<name>[a-z]++)", [b"{", Column("name"), Column("other", refuse_all), b"}\n"])
    assert pattern.render(b"a\nb\n", brackets).payload == b"{a}\n{b}\n"


def test_columns_may_be_adjacent() -> None:
    pattern = LinePattern(PAIR, [b"{", Column(2), Column(1), b"}\n"])
    assert pattern.render(b"a=1\nb=2\n", brackets).payload == b"{1a}\n{2b}\n"


def test_a_match_that_spans_lines_is_undone() -> None:
    pattern = LinePattern('"([^"]*+)"', [b"{", Column(1), b"}\n"])
    assert pattern.render(b'"a"\n"b\nc"\n"d"\n', brackets) == Rendered(b'["a"]\n["b]\n[c"]\n["d"]\n', 4)
    assert pattern.render(b'"a"\n"d"\n', brackets).payload == b"{a}\n{d}\n"


def test_a_pattern_must_match_a_line_to_its_end(pairs: LinePattern) -> None:
    assert pairs.render(b"a=1 \nb=2\n", brackets).payload == b"[a=1 ]\n{2 of b}\n"
    assert pairs.render(b" a=1\nb=2\n", brackets).payload == b"[ a=1]\n{2 of b}\n"


def test_matches_all_only_if_every_line_matches(pairs: LinePattern) -> None:
    assert pairs.matches_all(b"a=1\nb=2\n")
    assert not pairs.matches_all(b"a=1\nb\n")
    assert not pairs.matches_all(b"a\n")


def test_records_consist_of_values_and_common_bytes() -> None:
    record: list[bytes | Written] = [b"{", Written([b"1", b"2"]), b", ", Written([b"x", b"y"], b"'", b"'"), b"}\n"]
    assert write_records(record, 2) == b"{1, 'x'}\n{2, 'y'}\n"
    assert write_records([b"{", Written([b"1"]), b"}\n"], 1) == b"{1}\n"
