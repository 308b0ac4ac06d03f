"""Levels at the beginning of messages: only words that are unmistakably levels."""

import pytest

from logferry.rendering.engine.levels import LEVEL_WORDS, SEVERITIES, UNKNOWN, level_of_message, level_of_word


@pytest.mark.parametrize("word", LEVEL_WORDS)
def test_a_known_word_is_a_level(word: str) -> None:
    for written in (f"{word} x", f"{word}", f"[{word}] x", f"[{word.lower()}]x", f"{word.lower()}: x", f"{word}:x"):
        assert level_of_message(written) == word
        assert level_of_message(f"2024-01-15 08:23:45,123 {written}") == word
        assert level_of_message(f"2024/01/15 08:23:45  {written}") == word


@pytest.mark.parametrize(
    "message",
    [
        *("info x", "Error x", "INFORMATION x", "ERRORS: 3", "ERROR_CODE 3", "ERROR-3", "INFOx", "[info x", "(INFO) x"),
        *(" INFO x", "x INFO", "notalevel: x", "", "2024-01-15 08:23:45INFO x", "2024-01-15 INFO", "[]", ":"),
    ],
)
def test_a_word_that_may_be_something_else_is_not_a_level(message: str) -> None:
    assert level_of_message(message) == UNKNOWN


def test_the_marks_around_a_level_word_are_stripped() -> None:
    assert [level_of_word(word) for word in ("[warn]", "err:", "FATAL", "", None)] == [
        *("WARN", "ERR", "FATAL", UNKNOWN, UNKNOWN)
    ]


def test_the_severities_of_syslog_are_in_the_order_of_their_numbers() -> None:
    assert [SEVERITIES[number] for number in (0, 3, 6, 7)] == ["EMERGENCY", "ERROR", "INFO", "DEBUG"]
    assert len(SEVERITIES) == 8
