"""Which lines a selection matches: whole chunks decide as one line after the other does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.reading.query.literals import required_literals
from logferry.reading.query.matching import Matcher, find_text
from logferry.reading.query.records import record_of
from logferry.reading.query.selection import Selection, levels_of
from logferry.reading.stored import Log
from tests.support.looking import line


def matched(selection: Selection, *lines: bytes) -> list[int]:
    """Return the numbers of the lines that match."""
    data = b"".join(lines)
    starts = {0, *(place + 1 for place, byte in enumerate(data) if byte == 10)}
    numbers = {start: number for number, start in enumerate(sorted(starts))}
    return [numbers[match.start] for match in Matcher(selection).matches(data)]


LINES = [
    line("order 523 paid", user="42"),
    line("timeout at db", level="error"),
    b'{"level":"Warn","message":"caf\\u00e9 \\/ order 523","n":523.10,"o":{"deep":[1,{"x":"y"}]}}\n',
    b"not JSON at all: order 523\n",
    line("nothing", level="ERR", path='C:\\\\x \\"quoted\\"'),
    b'{"n": 1e400, "level": 5, "message": {"a": null}}\n',
]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("order 523", [0, 2, 3]),
        ("user=42", [0]),
        ("deep=1", [2]),
        ("café / o", [2]),
        ("n=523.10", [2]),
        ("x=y", [2]),
        ('C:\\x "quoted"', [4]),
        ("a=null", [5]),
        ("level=5", []),  # a level is none of the other fields
        ("absent", []),
        ("=", [0, 2, 4, 5]),
    ],
)
def test_a_text_is_found_in_the_message_and_in_fields(text: str, numbers: list[int]) -> None:
    assert matched(Selection(texts=(text,)), *LINES) == numbers
    assert matched(Selection(texts=(text,), inverted=True), *LINES) == sorted({*range(6)} - {*numbers})


@pytest.mark.parametrize(
    ("regex", "numbers"),
    [("timeout|523", [0, 1, 2, 3]), ("^order", [0]), ("(?i)ORDER", [0, 2, 3]), (r"\d{3} paid$", [0]), ("é", [2])],
)
def test_a_pattern_is_searched_in_the_message_and_in_fields(regex: str, numbers: list[int]) -> None:
    assert matched(Selection.of_words(regex=regex), *LINES) == numbers


@pytest.mark.parametrize(
    ("words", "numbers"), [(["error"], [1, 4]), (["Err,warning"], [1, 2, 4]), (["info"], [0]), (["5"], [5])]
)
def test_levels_match_their_synonyms_in_any_case(words: list[str], numbers: list[int]) -> None:
    assert matched(Selection(levels=levels_of(words)), *LINES) == numbers
    canonical = LINES[:2] * 3
    expected = [number for number in range(6) if number % 2 in numbers]
    assert matched(Selection(levels=levels_of(words)), *canonical) == expected


@given(
    st.lists(
        st.tuples(
            st.text(alphabet='ab/é"\\\n\x1b🚢=', max_size=4),
            st.text(alphabet="ab/é=", max_size=3),
            st.booleans(),
            st.sampled_from(["INFO", "error", "x"]),
        ),
        max_size=6,
    ),
    st.text(alphabet='ab/é"\\\n\x1b🚢=', min_size=1, max_size=3),
    st.booleans(),
)
def test_a_chunk_finds_what_each_line_alone_does(
    records: list[tuple[str, str, bool, str]], text: str, inverted: bool
) -> None:
    lines = [
        json.dumps({"level": level, "message": message, "k": value}, ensure_ascii=is_ascii).encode() + b"\n"
        for message, value, is_ascii, level in records
    ]
    for selection in (
        Selection(texts=(text,), inverted=inverted),
        Selection(texts=(text,), levels=levels_of(["error"]), inverted=inverted),
        Selection.of_words(levels=["info"], regex=json.dumps(text)[1:-1] if text.isalnum() else "ab|bé"),
    ):
        matcher = Matcher(selection)
        expected = [number for number, each in enumerate(lines) if matcher.is_match(record_of(each[:-1]))]
        assert matched(selection, *lines) == expected


@pytest.mark.parametrize(
    ("regex", "literals"),
    [
        ("timeout|refused", ["timeout", "refused"]),
        ("ab(?:cde|fgh)+x", ["cde", "fgh"]),
        ("order [0-9]+ paid", ["order "]),
        ("(?i)order", []),
        ("a|refused", []),
        ("(timeout)?", []),
        ("(?=timeout)", []),
        ("user=x", ["user=x"]),
    ],
)
def test_texts_that_a_pattern_needs(regex: str, literals: list[str]) -> None:
    import re

    assert required_literals(re.compile(regex)) == literals


def test_globs_with_a_slash_mean_the_whole_path() -> None:
    log = Log("", "web-1", "/var/log/app/app.log")
    assert Selection(hosts=("db", "web-*"), files=("app.log",)).has_log(log)
    assert Selection(files=("/var/*/app.*",)).has_log(log)
    assert not Selection(files=("log/*",)).has_log(log)
    assert not Selection(hosts=("WEB-1",)).has_log(log)


@given(st.binary(max_size=40), st.binary(max_size=3), st.integers(0, 45), st.integers(0, 45))
def test_the_compiled_search_finds_what_bytes_find(data: bytes, text: bytes, start: int, stop: int) -> None:
    if not 0 <= start <= stop <= len(data):
        return
    assert find_text(data, text, start, stop) == data.find(text, start, stop)
