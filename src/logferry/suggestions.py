"""Suggests what a misspelled word may have meant: of a command line, a variable, a key of a file."""

from collections.abc import Iterable


def similar(word: str, known: Iterable[str]) -> str:
    """Return the most similar of the `known` words; nothing if none is similar."""
    from difflib import get_close_matches  # late: most words are right

    found = get_close_matches(word, list(known), n=1)
    return found[0] if found else ""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the most similar of the `known` words; nothing if none is similar."""
    found = similar(word, known)
    return f"; did you mean {found}?" if found else ""
