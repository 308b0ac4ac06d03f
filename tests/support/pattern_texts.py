"""Makes up patterns, and lines that patterns match, for tests of the compiled part against Python's `re`."""

import json
import re
from random import Random
from typing import Final

from logferry import speedups
from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.compiled.program import Kind, program_of, written
from logferry.rendering.engine.compiled.reader import tree_of
from logferry.rendering.engine.compiled.shapes import bytes_in
from logferry.rendering.engine.compiled.tree import (
    Atomic,
    Choice,
    Group,
    IfGroup,
    Node,
    NotCompiled,
    One,
    Repeat,
    Sequence,
)
from logferry.rendering.engine.escape import escape
from logferry.rendering.engine.fields import SEPARATOR, always_null, text_or_null
from logferry.rendering.engine.format import render_unknown

# Bytes of lines that many patterns care about; a newline ends a line, and so is never made up.
_COMMON: Final = b' "\\/[](){}<>|:;,.-_=+*#09azAZ\x7f'


def text_of(node: Node, random: Random) -> bytes:
    """Return a text that a pattern may match: what looks ahead or behind is not respected."""
    match node:
        case One(found):
            values = bytes_in(found & ~(1 << 10))
            usual = [value for value in values if value in _COMMON]
            return bytes([random.choice(usual if usual and random.random() < 0.7 else values)]) if values else b""
        case Sequence(items):
            return b"".join(text_of(item, random) for item in items)
        case Choice(options):
            return text_of(random.choice(options), random)
        case Repeat():
            most = node.least + 3 if node.most is None else min(node.most, node.least + 3)
            return b"".join(text_of(node.item, random) for _ in range(random.randint(node.least, most)))
        case Atomic() | Group():
            return text_of(node.item, random)
        case IfGroup():
            return text_of(random.choice([node.yes, node.no]), random)
    return b""


def lines_of(pattern: str, random: Random, count: int) -> list[bytes]:
    """Return texts of events: what a pattern of escaped lines may match, some of them with a few changed bytes."""
    try:
        tree, *_ = tree_of(pattern.encode(), ())
    except NotCompiled:
        return []
    return [line for _ in range(count) if (line := _unescaped(changed(text_of(tree, random), random))) is not None]


def changed(line: bytes, random: Random) -> bytes:
    """Return a line, in two of three cases with changes."""
    for _ in range(random.choice([0, 1, 3])):
        at = random.randrange(len(line) + 1)
        kind = random.randrange(4)
        if kind == 0:
            line = line[:at] + line[at + 1 :]
        elif kind == 1:
            line = line[:at] + bytes([random.choice(_COMMON)]) + line[at:]
        elif kind == 2:
            line = line[:at] + bytes([random.choice(_COMMON)]) + line[at + 1 :]
        else:
            line = line[:at] + line[at : at + 9] + line[at:]
    return line


def _unescaped(escaped: bytes) -> bytes | None:
    """Return the text of an escaped line; None if it is not one, or has a newline."""
    try:
        text = json.loads(b'"%b"' % escaped, strict=False)
        line = str(text).encode()
    except (ValueError, UnicodeEncodeError):
        return None
    return None if b"\n" in line or b"\r" in line else line


def pattern_of(random: Random, depth: int = 3) -> str:
    """Return a pattern of the kinds of parts that the patterns of formats consist of."""
    return "".join(_part(random, depth) for _ in range(random.randint(1, 3)))


def compare_pattern(random: Random) -> str | None:
    """Match made-up patterns with made-up lines in the compiled part and with `re`; return how they differ."""
    assert speedups.compiled
    patterns = [pattern_of(random) for _ in range(random.choice([1, 1, 2]))]
    kinds = [
        Kind(pattern, [always_null(f"kind {number}"), *map(text_or_null, re.findall(r"\?P<(g\d+)>", pattern))])
        for number, pattern in enumerate(patterns)
    ]
    program = program_of(kinds, speedups.compiled, knows_all=True)
    for line in [line for pattern in patterns for line in lines_of(pattern, random, 5)] if program else ():
        if len(line) > _LONGEST or not line.strip():
            continue  # random patterns may take a time that doubles with each byte
        payload, _, _, left, _ = speedups.compiled.render_lines(program, line + b"\n", b"\n")
        expected = _expected(kinds, escape(line + b"\n"))
        if payload != expected and not left:
            return f"{patterns} with {line!r}: {payload!r}, in Python {expected!r}"
    return None


_LONGEST: Final = 12


def _expected(kinds: list[Kind], escaped: bytes) -> bytes:
    for kind in kinds:
        match = compile_pattern(rf"\n{kind.pattern}(?=\n)".encode()).match(b"\n" + escaped)
        if match:
            groups = [match[field.group] if field.group else None for field in kind.fields]
            return b"{" + b"".join(map(written, kind.fields, groups)).removeprefix(SEPARATOR) + b"}\n"
    return render_unknown(escaped).payload


_ONES: Final = (
    "a",
    "b",
    "c",
    "[ab]",
    "[^a\\n]",
    "[a-c]",
    "[^\\n]",
    ".",
    "\\\\",
    "[0-9]",
    "(?i:b)",
    "[^b\\n]",
    "[a-cA-C]",
    "d",
)


_REPETITIONS: Final = ("", "", "", "*+", "++", "?+", "*", "+", "?", "{2}", "{1,2}", "{0,5}+", "{1,3}+", "*?", "{2,}")


def _part(random: Random, depth: int) -> str:
    kind = random.randrange(10) if depth else 0
    if kind < 3:
        return random.choice(_ONES) + _repetition(random)
    inner = pattern_of(random, depth - 1)
    if kind < 5:
        return f"(?:{inner}|{pattern_of(random, depth - 1)}){_repetition(random) if random.random() < 0.3 else ''}"
    if kind == 5:
        return f"(?P<g{random.randrange(10**9)}>{inner})"
    if kind == 6:
        return f"(?:{inner}){_repetition(random)}"
    if kind == 7:
        return f"(?={inner})" if random.random() < 0.6 else f"(?!{inner})"
    if kind == 8:
        return random.choice(["(?<=a)", "(?<!b)", "(?<=ab)", "(?=\\n|b)", "(?![^\\n])", "(?!.)"])
    return f"(?>{inner})"


def _repetition(random: Random) -> str:
    return random.choice(
        ["", "", "", "*+", "++", "?+", "*", "+", "?", "{2}", "{1,2}", "{0,5}+", "{1,3}+", "*?", "{2,}"]
    )
