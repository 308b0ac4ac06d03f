"""Turns simple patterns of `--multiline` into programs that the compiled part runs on the beginning of every line.

A simple pattern has alternatives: characters and classes in a row, perhaps a number of times (`{4}`), perhaps after
what must not follow, `(?!...)`. Every other pattern is left to `re`, as is a line with a character beyond ASCII where
the program looks.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from logferry.protocol.patterns import compile_pattern

# One character of a line, as a pattern writes it; perhaps how often; and what else a simple pattern consists of.
_ITEM: Final = (
    r"(?P<item>\\[dDsSwWt]|\\[!-/:-@\[-`{-~]|\.|\[\^?+(?:[A-Za-z0-9]-[A-Za-z0-9]|\\[dDsSwWt\]\\\[.-]|[^\[\]\\&~|-])++\]"
    r"|[ !\"#%',/0-9:;<=>@A-Z_`a-z~&-])(?:\{(?P<times>[0-9]{1,2})\})?+(?![*+?{])"
)
_TOKEN: Final = compile_pattern(rf"{_ITEM}|(?P<opens>\(\?!)|(?P<closes>\))|(?P<bar>\|)|(?P<start>\^)")
_MOST_ITEMS: Final = 255

Sequence = list[bytes]


@dataclass(slots=True)
class _Alternative:
    """Sequences of sets of characters: what must not follow, and then what must."""

    unwanted: list[Sequence] = field(default_factory=list)
    wanted: Sequence = field(default_factory=list)

    def program(self) -> bytes:
        """Return the number of unwanted sequences, and all sequences, the wanted one last: each with its length."""
        sequences = [*self.unwanted, self.wanted]
        return bytes([len(self.unwanted)]) + b"".join(bytes([len(one)]) + b"".join(one) for one in sequences)


def program_of(pattern: str) -> bytes:
    """Return the program for a valid pattern; nothing if the pattern is not simple."""
    alternatives = _parsed(pattern)
    sizes = [len(alternatives), *(len(one.unwanted) for one in alternatives)]
    sizes += [len(sequence) for one in alternatives for sequence in (*one.unwanted, one.wanted)]
    if not alternatives or max(sizes) > _MOST_ITEMS:
        return b""
    return bytes([len(alternatives)]) + b"".join(one.program() for one in alternatives)


def _parsed(pattern: str) -> list[_Alternative]:
    """Return the alternatives of a simple pattern; none if it is another one."""
    alternatives = [_Alternative()]
    is_inside = False  # of what must not follow
    position = 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            return []
        position = token.end()
        now = alternatives[-1]
        sequence = now.unwanted[-1] if is_inside else now.wanted
        if token["item"]:
            sequence += [_ascii_set(token["item"])] * int(token["times"] or 1)
        elif token["bar"] and is_inside:
            now.unwanted.append([])
        elif token["bar"]:
            alternatives.append(_Alternative())
        elif token["closes"] and is_inside:
            is_inside = False
        elif token["opens"] and not is_inside and not now.wanted:
            now.unwanted.append([])
            is_inside = True
        elif not token["start"] or is_inside or sequence or now.unwanted:
            return []
    return [] if is_inside else alternatives


def _ascii_set(item: str) -> bytes:
    """Return 128 bits, each set if the item matches the ASCII character of that code."""
    matches = re.compile(item).fullmatch
    return sum(1 << code for code in range(128) if matches(chr(code))).to_bytes(16, "little")
