"""The language of the search box."""

import re

import pytest

from logferry.console.api.words import MAX_CHARS, MAX_WORDS, parse
from logferry.console.source import Word


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("  timeout   refused ", (Word("timeout"), Word("refused"))),
        ('"connection refused"', (Word("connection refused"),)),
        ('"a \\" b"', (Word('a " b'),)),
        ("-health", (Word("health", is_unwanted=True),)),
        ('-"two words"', (Word("two words", is_unwanted=True),)),
        ("/time ?out \\d+/", (Word("time ?out \\d+", is_regex=True),)),
        ("-/a b/", (Word("a b", is_regex=True, is_unwanted=True),)),
        ("/a\\/b/", (Word("a/b", is_regex=True),)),
        ("/var/log/app.log", (Word("/var/log/app.log"),)),
        ("\\-5", (Word("-5"),)),
        ('"-5"', (Word("-5"),)),
        ("-", (Word("-"),)),
        ('say "hi', (Word("say"), Word('"hi'))),
        ("key:value http://a/b", (Word("key:value"), Word("http://a/b"))),
        ('""', ()),
        ("ünï <script>", (Word("ünï"), Word("<script>"))),
    ],
)
def test_words_are_texts_and_patterns(text: str, words: tuple[Word, ...]) -> None:
    assert parse(text).words == words


def test_keys_are_taken_out() -> None:
    parsed = parse('level:error,warn host:web-* FILE:app.log file:"a b.log" -level:debug lost')
    assert parsed.levels == ("error", "warn")
    assert parsed.hosts == ("web-*",)
    assert parsed.files == ("app.log", "a b.log")
    assert parsed.unwanted_levels == ("debug",)
    assert parsed.words == (Word("lost"),)


def test_a_pattern_that_takes_long_to_compile_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(re, "compile", lambda *_: pytest.fail("the event loop would stand still"))
    pattern = "(?i)" + "[!-\U0010ffff]" * 700
    assert parse(f"/{pattern}/").words == (Word(pattern, is_regex=True),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/(/", "not a regular expression"),
        ("-host:a", "cannot be excluded"),
        ("x" * (MAX_CHARS + 1), "characters"),
        ("a " * (MAX_WORDS + 1), "parts"),
    ],
)
def test_what_is_wrong_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse(text)
