"""Text from outside on a terminal and in a log: one line, nothing that controls or reorders, always encodable."""

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.printable import SHOWN_REASON_CHARS, in_seconds, moment, printable, quoted

encodings = st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252"])
texts = st.one_of(
    st.text(),
    st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Zs"])),
    st.text("ab\\'\nxu0\x1b\u202e\udcff\U000e0041"),
    st.binary(),
)


def controls_in(text: str) -> list[str]:
    return [char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@given(texts, encodings, st.none() | st.integers(3, 40))
def test_what_is_shown_is_one_line_without_controls_in_the_encoding(
    text: str | bytes, encoding: str, max_chars: int | None
) -> None:
    for shown in (
        printable(text, max_chars=max_chars, encoding=encoding),
        quoted(text, max_chars=max_chars, encoding=encoding),
    ):
        assert not controls_in(shown)
        assert len(shown.splitlines()) <= 1
        shown.encode(encoding)
    assert max_chars is None or len(printable(text, max_chars=max_chars, encoding=encoding)) <= max_chars


@given(texts, encodings, st.none() | st.integers(3, 40))
def test_a_second_call_changes_nothing(text: str | bytes, encoding: str, max_chars: int | None) -> None:
    once = printable(text, max_chars=max_chars, encoding=encoding)
    assert printable(once, max_chars=max_chars, encoding=encoding) == once


@given(st.lists(st.text("a\\'\nnx1b\x1b\u202e") | st.text(), unique=True, min_size=2, max_size=2))
def test_different_names_are_quoted_differently(names: list[str]) -> None:
    assert quoted(names[0]) != quoted(names[1])


@given(texts)
def test_a_short_text_is_the_same_with_a_limit_and_without(text: str | bytes) -> None:
    shown = printable(text)
    assert printable(text, max_chars=max(3, len(shown))) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/var/log/app.log", "/var/log/app.log"),
        ("C:\\logs\\new.log", "C:\\logs\\new.log"),
        ("/var/log/Prüfung 日本.log", "/var/log/Prüfung 日本.log"),
        ("non\u00a0breaking", "non\u00a0breaking"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x7f", "\\x1b[31mred\\x7f"),
        ("next\x85line\u2028", "next\\u0085line\\u2028"),
        ("evil\u202egol.exe", "evil\\u202egol.exe"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("name\udcff", "name\\xff"),
        ("lone\ud800", "lone\\ud800"),
        (b"caf\xc3\xa9 \xff\x00", "café \\xff\\x00"),
    ],
)
def test_what_must_not_be_shown_is_escaped_and_all_else_stays(text: str | bytes, shown: str) -> None:
    assert printable(text) == shown


def test_what_the_stream_cannot_encode_is_escaped() -> None:
    assert printable("é日\udcff", encoding="ascii") == "\\xe9\\u65e5\\xff"
    assert printable("é日", encoding="latin-1") == "é\\u65e5"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("12345678", "12345678"), ("123456789", "12345..."), ("1234\n6789", "1234..."), ("123\n6789", "123\\n...")],
)
def test_a_long_text_is_cut_between_characters_and_says_so(text: str, shown: str) -> None:
    assert printable(text, max_chars=8) == shown


def test_a_peer_does_not_decide_how_long_a_reason_is() -> None:
    assert len(printable("\x00" * 1_000_000, max_chars=SHOWN_REASON_CHARS)) <= SHOWN_REASON_CHARS


def test_quotes_and_backslashes_in_a_quoted_name_cannot_be_mistaken() -> None:
    assert quoted("it's a\\b\n") == "'it\\'s a\\\\b\\n'"
    assert quoted(b"a" * 20, max_chars=8) == "'aaaaa...'"


@pytest.mark.parametrize("number", [1e18, -1e18, 1e300, math.nan, math.inf, -math.inf, 2**63, 10**30])
def test_a_number_that_is_no_time_is_shown_as_that(number: float) -> None:
    assert moment(number) == "an impossible time"


@given(st.floats() | st.integers())
def test_any_number_is_shown_as_a_time(number: float) -> None:
    assert moment(number)


@pytest.mark.parametrize(
    ("duration_s", "shown"), [(3600, "3600 s"), (1.99978, "2 s"), (0.25, "0.25 s"), (0.1 + 0.2, "0.3 s"), (0, "0 s")]
)
def test_a_duration_is_shown_as_people_write_it(duration_s: float, shown: str) -> None:
    assert in_seconds(duration_s) == shown
