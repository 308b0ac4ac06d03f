"""Possessive quantifiers mean the same on every Python."""

import re

import pytest

from logferry.protocol.patterns import compile_pattern, with_atomic_groups

PATTERNS = [
    (r"(?:ab?c)*+", r"(?>(?:ab?c)*)"),
    (r"(?:a(b)?+c)++x", r"(?>(?:a(?>(b)?)c)+)x"),
    (r"(?:f){2,3}+", r"(?>(?:f){2,3})"),
    (r"[)*+(]++\)*+\(a+", r"[)*+(]++\)*+\(a+"),
    (r"[^]()]*+(?=\n)(a)+(b){2}", r"[^]()]*+(?=\n)(a)+(b){2}"),
]


@pytest.mark.parametrize(("possessive", "atomic"), PATTERNS)
def test_groups_that_are_repeated_possessively_become_atomic_and_nothing_else_changes(
    possessive: str, atomic: str
) -> None:
    assert with_atomic_groups(possessive) == atomic
    assert with_atomic_groups(possessive.encode()) == atomic.encode()


def test_a_repetition_that_fails_in_the_middle_leaves_the_match_where_it_began() -> None:
    """As `re` of Python 3.11.0 to 3.11.4 does not."""
    match = compile_pattern(rb"(?:ab?c)*+").match(b"aca")
    assert match is not None
    assert match[0] == b"ac"


def test_both_forms_match_the_same() -> None:
    for possessive, atomic in PATTERNS[:3]:
        for text in ("", "ac", "abcac", "acx", "acab", "fff", "ffff", "f"):
            match, expected = compile_pattern(possessive).match(text), re.match(atomic, text)
            assert (match and match.span()) == (expected and expected.span())
