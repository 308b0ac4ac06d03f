"""Groups messages by their shape: what remains of a text when its numbers and words are no longer told apart.

A person who sees the shapes of unrecognised lines knows which programs wrote them. Pure; bounded by the caller's texts.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from logferry.protocol.patterns import compile_pattern

# The beginning of a text says how it is laid out; what follows is different in every line.
_SHAPE_CHARS: Final = 120

# What makes no difference, and the letter that stands for it: quoted texts, numbers and identifiers, words.
_PARTS: Final = compile_pattern(
    r"""(?P<text>"[^"\n]*+"|'[^'\n]*+')|(?P<number>(?:0x)?+[0-9a-fA-F]*[0-9][0-9a-fA-F]*+)|(?P<word>[^\W\d_][\w'-]*+)|(?P<space>\s++)"""
)
_LETTERS: Final = {"text": '"a"', "number": "0", "word": "a", "space": " "}
_REPEATED: Final = re.compile(r"a(?: a)+")


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape, how many texts have it, and the first of these."""

    count: int
    shape: str
    example: str


def shape_of(text: str) -> str:
    """Return the shape of a text."""
    found = _PARTS.sub(lambda match: _LETTERS[match.lastgroup or "word"], text[:_SHAPE_CHARS])
    return _REPEATED.sub("a..", found)


def most_common(texts: Iterable[str], most: int) -> tuple[list[Shape], int]:
    """Return the most frequent shapes, at most `most`, and how many there are."""
    examples: dict[str, str] = {}
    counts = Counter[str]()
    for text in texts:
        shape = shape_of(text)
        examples.setdefault(shape, text)
        counts[shape] += 1
    return [Shape(count, shape, examples[shape]) for shape, count in counts.most_common(most)], len(counts)
