"""Formats whose lines have one of a few fixed kinds: plain, python, syslog, web server logs, cri.

A kind is known by two patterns with the same named groups. The full one says which texts have it: it is the reference,
and is matched with one text at a time. The usual one matches most of these lines as they are in a chunk, escaped for
JSON, and never one that the full one reads otherwise; whole chunks are split with it (`records.LinePattern`). The few
lines that only the full pattern takes (quotes inside quotes, letters beyond ASCII where there usually are none) go one
by one. A kind whose usual pattern takes all of its lines is exact, and needs no such second look.

What makes a usual pattern quick is that its long runs are single ranges (`[!-~]`) or all but one byte (`[^\\n]`), and
possessive.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import WHITE_SPACE, escape, to_json, unescape
from logferry.rendering.engine.fields import ABSENT, Field, record_of
from logferry.rendering.engine.format import Format, Rendered, render_unknown, unknown_fields
from logferry.rendering.engine.records import LinePattern


class LineKind:
    """What texts of one kind look like, and which fields they become: level, message and timestamp first."""

    def __init__(self, full: str, usual: str, fields: Sequence[Field], *, is_exact: bool = False) -> None:
        """`full` matches a whole text, `usual` an escaped line.

        With `is_exact`, `usual` matches each line whose text `full` matches, and it cannot match a newline.
        """
        self.usual: Final = LinePattern(usual, record_of(fields), is_one_line=is_exact)
        self.is_exact: Final = is_exact
        self._full = compile_pattern(full, re.DOTALL | re.ASCII)
        groups = self._full.groupindex
        self._values = [(field.key, groups.get(field.group, 0), field.value) for field in fields]

    def fields_of(self, text: str) -> dict[str, object] | None:
        """Return the fields of the text of one event; None if it has another kind."""
        match = self._full.fullmatch(text)
        if match is None:
            return None
        texts = (None, *match.groups())
        fields = {key: value(texts[group]) if value else texts[group] for key, group, value in self._values}
        if ABSENT in fields.values():
            return {key: value for key, value in fields.items() if value is not ABSENT}
        return fields


def ending_with_message(beginning: str, fields: Sequence[Field]) -> LineKind:
    """Return the kind of lines that begin so and end with their message.

    The pattern `beginning` must match the same lines whether they are escaped or not, and never a newline.
    """
    return LineKind(rf"{beginning}(?P<message>.*+)", rf"{beginning}(?P<message>[^\n]*+)", fields, is_exact=True)


class LineFormat(Format):
    """A format whose lines have one of some kinds; any other line is as in `otherwise`, or shipped whole (rule F5)."""

    def __init__(self, name: str, kinds: Sequence[LineKind], *, otherwise: "LineFormat | None" = None) -> None:
        """No line may have two of the kinds, unless all of them are exact: then it is of the first of them."""
        self.name = name
        self._kinds = tuple(kinds)
        self._otherwise = otherwise
        self._is_exact = all(kind.is_exact for kind in kinds)

    def recognises(self, text: str) -> bool:
        """See Format: a line that is as in the other format is not of this one."""
        return any(kind.fields_of(text) is not None for kind in self._kinds)

    def fields_of(self, text: str) -> dict[str, object]:
        """Return what the text of one event becomes: the reference. Newlines in it are from joined lines."""
        for kind in self._kinds:
            fields = kind.fields_of(text)
            if fields is not None:
                return fields
        return self._otherwise.fields_of(text) if self._otherwise else unknown_fields(text)

    def record_of(self, text: str) -> str:
        """See Format."""
        return to_json(self.fields_of(text))

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format."""
        return self.render_escaped(escape(data, inner_newline))

    def render_escaped(self, escaped: bytes) -> Rendered:
        """Render escaped events, one per line, each ended by a newline.

        Lines that the usual pattern of one kind does not match are tried with that of the next.
        """
        render = self._render_others
        for kind in reversed(self._kinds):
            render = partial(kind.usual.render, otherwise=render)
        return render(escaped)

    def _render_others(self, escaped: bytes) -> Rendered:
        """Render lines that no usual pattern matches."""
        if not self._is_exact:
            return one_by_one(map(unescape, escaped.split(b"\n")[:-1]), self.fields_of)
        return self._otherwise.render_escaped(escaped) if self._otherwise else render_unknown(escaped)


def one_by_one(texts: Iterable[str], fields_of: Callable[[str], dict[str, object]]) -> Rendered:
    """Render the texts of events as the reference says, and count the blank ones."""
    texts = list(texts)
    records = [to_json(fields_of(text)) + "\n" for text in texts if text.strip(WHITE_SPACE)]
    return Rendered("".join(records).encode(), len(records), len(texts) - len(records))
