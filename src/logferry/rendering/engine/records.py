"""Lines into records at C speed: split a chunk with one pattern, put the pieces into their places, join.

Lines of another shape are left between the matches. They are gathered, rendered together in some other way, and put
back into their places, so that the costs of a call are shared by many of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.base import Rendered

Edit = Callable[[list[Any]], Sequence[bytes]]


class Shape:
    """One way that lines can look, and what record such a line becomes."""

    def __init__(self, line: str, template: Iterable[bytes | int], edits: Mapping[int, Edit] | None = None) -> None:
        r"""`line` is the pattern of a line without its newline; it never matches one.

        `template` is what a record consists of: bytes as they are, and numbers of groups; first and last are bytes, and
        the last ends in `}\n`. `edits` change the texts of a group, all of the chunk at once; None stands for a group
        that did not match.
        """
        # It begins with a newline, because `re` looks for a literal first byte far more quickly than for `^`.
        self._pattern = compile_pattern(rf"\n{line}(?=\n)".encode())
        self._before, *self._inner, self._after = merged(template)
        self._edits = dict(edits or {})

    def matches(self, lines: bytes) -> bool:
        """Whether all of the lines have this shape."""
        return len(self._pattern.findall(b"\n" + lines)) == lines.count(b"\n")

    def render(self, lines: bytes, otherwise: Callable[[bytes], Rendered]) -> Rendered:
        """Render lines that have this shape, and the others `otherwise`: a record for each line that is not blank."""
        width = self._pattern.groups + 1
        parts = self._pattern.split(b"\n" + lines)
        matched = len(parts) // width
        if not matched:
            return otherwise(lines)
        before, after = self._before, self._after
        assert isinstance(before, bytes)
        assert isinstance(after, bytes)
        between = parts[0::width]  # nothing, or lines with their newlines before them
        between[-1] = between[-1][:-1]
        joints = [after + before] * (matched + 1)
        others = _render_between(between, otherwise, joints, after, before)
        joints[0] = joints[0][len(after) :]
        joints[-1] = joints[-1][: -len(before)]
        stride = len(self._inner) + 1
        out = [b""] * (stride * matched + 1)
        out[0::stride] = joints
        for place, piece in enumerate(self._inner, start=1):
            if isinstance(piece, bytes):
                out[place::stride] = [piece] * matched
            else:
                texts = parts[piece::width]
                edit = self._edits.get(piece)
                out[place::stride] = edit(texts) if edit else texts
        return Rendered(b"".join(out), matched + others.lines, others.blank)


def merged(template: Iterable[bytes | int]) -> tuple[bytes | int, ...]:
    """Return a template in which bytes that follow each other are one piece."""
    pieces: list[bytes | int] = []
    for piece in template:
        last = pieces.pop() if pieces else b""
        pieces += [last + piece] if isinstance(last, bytes) and isinstance(piece, bytes) else [last, piece]
    return tuple(pieces)


def _render_between(
    between: list[bytes], otherwise: Callable[[bytes], Rendered], joints: list[bytes], before: bytes, after: bytes
) -> Rendered:
    """Render what stands between the matches, and put it into the joints there."""
    places = list(compress(range(len(between)), between))
    if not places:
        return Rendered(b"", 0)
    rendered = otherwise(b"".join(between)[1:] + b"\n")
    if rendered.blank:
        return _render_piecemeal(between, otherwise, joints, before, after)
    records = rendered.payload.split(b"\n")
    position = 0
    for place in places:
        end = position + between[place].count(b"\n")
        joints[place] = b"%b%b\n%b" % (before, b"\n".join(records[position:end]), after)
        position = end
    return rendered


def _render_piecemeal(
    between: list[bytes], otherwise: Callable[[bytes], Rendered], joints: list[bytes], before: bytes, after: bytes
) -> Rendered:
    """Do the same where blank lines give no records, so that these cannot be told apart by counting."""
    lines = blank = 0
    for place in compress(range(len(between)), between):
        rendered = otherwise(between[place][1:] + b"\n")
        joints[place] = before + rendered.payload + after
        lines += rendered.lines
        blank += rendered.blank
    return Rendered(b"", lines, blank)


def upper_levels(levels: list[bytes]) -> list[bytes]:
    """Upper-case levels and free them from `[]` and `:`, once per distinct spelling. ASCII letters only."""
    plain = {level: level.strip(b"[]:").upper() for level in set(levels)}
    if all(spelling == level for spelling, level in plain.items()):
        return levels
    return [plain[level] for level in levels]
