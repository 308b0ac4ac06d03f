"""Base of the formats whose lines are of a few fixed kinds: plain, python, klog, syslog, web server logs,
cri.

Two patterns with the same named groups define a kind. The full pattern is the reference: it decides which texts are of
the kind, one text at a time. The usual pattern splits whole chunks (`records.LinePattern`): it matches most of these
lines in a chunk that is escaped for JSON, and must never match a line that the full pattern reads differently. The few
lines that only the full pattern matches (quotes inside quotes, rare letters beyond ASCII) go one by one. A kind is
exact if its usual pattern matches all of its lines; its lines never go one by one.

Usual patterns are fast because their long runs are single ranges (`[!-~]`) or all but one byte (`[^\\n]`), possessive.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import Final, Literal

from logferry import speedups
from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.compiled.program import Kind, program_of
from logferry.rendering.engine.escape import WHITE_SPACE, escape, unescape, with_plain_newlines
from logferry.rendering.engine.fields import ABSENT, Field, json_of, record_of
from logferry.rendering.engine.format import Format, Rendered, render_unknown, unknown_fields
from logferry.rendering.engine.gaps import with_gaps_filled
from logferry.rendering.engine.records import LinePattern

# Parts of a pattern that `exact_kind` spells, with spaces, which names of groups cannot have: what may stand between
# two quotes with backslashes as escapes, and the same without spaces, or with doubled quotes, as in CSV; a word of
# anything, and a tab; a newline inside of an event, and the rest of a line there.
INSIDE_QUOTES: Final = "<inside quotes>"
WORD_INSIDE_QUOTES: Final = "<word inside quotes>"
CSV_TEXT: Final = "<csv text>"
ANY_WORD: Final = "<any word>"
TAB: Final = "<a tab>"
INNER_NEWLINE: Final = "<inner newline>"
REST_OF_LINE: Final = "<rest of line>"

# Each with its patterns for plain and for escaped text, where a quote is `\"` and a backslash is `\\`.
_ESCAPED_CHARACTER: Final = r'\\[^"\\\n]|\\\\(?:[^\\\n]|\\[^\n])'
_SPELLINGS: Final = (
    (INSIDE_QUOTES, r'(?:[^"\\]++|\\.)*+', rf"(?:[^\\\n]++|{_ESCAPED_CHARACTER})*+"),
    (WORD_INSIDE_QUOTES, r'(?:[^" \\]++|\\.)++', rf"(?:[^ \\\n]++|{_ESCAPED_CHARACTER})++"),
    (CSV_TEXT, r'(?:[^"]++|"")*+', r'(?:[^\\\n]++|\\[^"\n]|\\"\\")*+'),
    (ANY_WORD, r"[^ \t\n]++", r"(?:[^ \\\n]++|\\[^tn\n])++"),
    (TAB, r"\t", r"\\t"),
    (INNER_NEWLINE, r"\n", r"\\n"),
    (REST_OF_LINE, r"[^\n]*+", r"(?:[^\\\n]++|\\[^n\n])*+"),
)


RenderLines = Callable[[object, bytes, bytes], tuple[bytes, int, int, bytes, list[tuple[int, int]]]]


class LineKind:
    """One kind of lines: their patterns, and the fields that they become, with level, message and timestamp first."""

    def __init__(self, full: str, usual: str, fields: Sequence[Field], *, is_exact: bool = False) -> None:
        """`full` matches a whole text, `usual` an escaped line.

        With `is_exact`, `usual` matches every line whose text `full` matches, and cannot match a newline.
        """
        self.is_exact: Final = is_exact
        self._patterns: Final = (full, usual)
        self._fields: Final = fields

    # Both are made when they are needed: some patterns take long to compile, and most files need few of them.
    @cached_property
    def usual(self) -> LinePattern:
        """The lines of this kind in a chunk of escaped lines."""
        return LinePattern(self._patterns[1], record_of(self._fields), is_one_line=self.is_exact)

    @property
    def compiled(self) -> Kind:
        """The same for the compiled part."""
        return Kind(self._patterns[1], self._fields)

    @cached_property
    def _full(self) -> re.Pattern[str]:
        return compile_pattern(self._patterns[0], re.DOTALL | re.ASCII)

    @cached_property
    def _values(self) -> list[tuple[str, int, Callable[[str | None], object] | None]]:
        groups = self._full.groupindex
        return [(field.key, groups.get(field.group, 0), field.value) for field in self._fields]

    def fields_of(self, text: str) -> dict[str, object] | None:
        """Return the fields of the text of one event; None if the event is of another kind."""
        match = self._full.fullmatch(text)
        if match is None:
            return None
        texts = (None, *match.groups())
        fields = {key: value(texts[group]) if value else texts[group] for key, group, value in self._values}
        if ABSENT in fields.values():
            return {key: value for key, value in fields.items() if value is not ABSENT}
        return fields


def ending_with_message(beginning: str, fields: Sequence[Field]) -> LineKind:
    """Return the kind of lines that begin with the pattern `beginning` and end with their message.

    The pattern must match the same lines whether they are escaped or not, and never a newline.
    """
    return LineKind(rf"{beginning}(?P<message>.*+)", rf"{beginning}(?P<message>[^\n]*+)", fields, is_exact=True)


def exact_kind(line: str, fields: Sequence[Field]) -> LineKind:
    r"""Return the kind of lines that the pattern `line` matches, which is exact.

    The pattern has quotes only as literals, the parts above for what stands between quotes, and otherwise neither
    backslashes nor control characters in what it matches; except for `.*+` and `.++`, the rest of the event.
    """
    full, usual = line, line.replace('"', r'\\"')
    for part, plain, escaped in _SPELLINGS:
        full, usual = full.replace(part, plain), usual.replace(part, escaped)
    return LineKind(full, usual, fields, is_exact=True)


class LineFormat(Format):
    """A format with several kinds of lines; `otherwise` reads any other line, or it is shipped whole (rule F5)."""

    def __init__(
        self,
        name: str,
        kinds: Sequence[LineKind],
        *,
        otherwise: "LineFormat | None" = None,
        compiled_as: Literal["render_lines", "render_access", "render_syslog"] = "render_lines",
    ) -> None:
        """No line may be of two kinds, unless all kinds are exact: then the first one that matches applies.

        `compiled_as` is the function of the compiled part; some know the usual lines of certain first kinds.
        """
        self.name = name
        self._kinds = tuple(kinds)
        self._otherwise = otherwise
        self._compiled_as = compiled_as
        self._is_exact = all(kind.is_exact for kind in kinds)

    def recognises(self, text: str) -> bool:
        """See Format: a line that only `otherwise` can read does not count."""
        return any(kind.fields_of(text) is not None for kind in self._kinds)

    def fields_of(self, text: str) -> dict[str, object]:
        """Return the fields of the text of one event: the reference. Newlines in the text are from joined lines."""
        for kind in self._kinds:
            fields = kind.fields_of(text)
            if fields is not None:
                return fields
        return self._otherwise.fields_of(text) if self._otherwise else unknown_fields(text)

    def with_levels(self, levels: tuple[str, ...]) -> "LineFormat":
        """See Format."""
        if not levels or self._otherwise is None:
            return self
        return LineFormat(
            self.name, self._kinds, otherwise=self._otherwise.with_levels(levels), compiled_as=self._compiled_as
        )

    def record_of(self, text: str) -> str:
        """See Format."""
        return json_of(self.fields_of(text))

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format. Measured with benchmarks/formatter.py."""
        compiled = speedups.compiled
        if compiled is None or self._program is None:
            return self.render_escaped(escape(data, inner_newline))
        lines = with_plain_newlines(data, inner_newline)
        render_lines: RenderLines = getattr(compiled, self._compiled_as)
        return self._with_rest(*render_lines(self._program, lines, inner_newline))

    @property
    def patterns(self) -> list[str]:
        """The usual patterns of its kinds."""
        return [kind.compiled.pattern for kind in self._kinds]

    @cached_property
    def _program(self) -> object | None:
        """What the compiled part renders the lines by; None if it cannot."""
        kinds, knows_all = self.compiled_kinds()
        return speedups.compiled and program_of(kinds, speedups.compiled, knows_all=knows_all)

    def compiled_kinds(self) -> tuple[list[Kind], bool]:
        """Return the kinds of lines, and whether a line of none of them is certain to be of an unknown kind."""
        kinds = [kind.compiled for kind in self._kinds]
        if self._otherwise is None or not self._is_exact:
            return kinds, self._is_exact
        others, knows_all = self._otherwise.compiled_kinds()
        return kinds + others, knows_all

    def _with_rest(
        self, payload: bytes, lines: int, blank: int, others: bytes, gaps: list[tuple[int, int]]
    ) -> Rendered:
        """Render escaped lines that the compiled part has left, and put their records into the gaps of its payload."""
        if not others:
            return Rendered(payload, lines, blank)
        rest = self.render_escaped(others)
        return Rendered(with_gaps_filled(payload, rest.payload, gaps), lines + rest.lines, blank + rest.blank)

    def render_escaped(self, escaped: bytes) -> Rendered:
        """Render escaped events, one per line, each ended by a newline.

        Lines that do not match the usual pattern of one kind are tried with that of the next.
        """
        render = self._render_others
        for kind in reversed(self._kinds):
            render = partial(_render_kind, kind, otherwise=render)
        return render(escaped)

    def _render_others(self, escaped: bytes) -> Rendered:
        """Render lines that none of the usual patterns matches."""
        if not self._is_exact:
            return one_by_one(map(unescape, escaped.split(b"\n")[:-1]), self.fields_of)
        return self._otherwise.render_escaped(escaped) if self._otherwise else render_unknown(escaped)


def _render_kind(kind: LineKind, escaped: bytes, otherwise: Callable[[bytes], Rendered]) -> Rendered:
    """Render the lines of a kind, and all others with `otherwise`: only now is the pattern of the kind needed."""
    return kind.usual.render(escaped, otherwise)


def one_by_one(texts: Iterable[str], fields_of: Callable[[str], dict[str, object]]) -> Rendered:
    """Render the texts of events one by one, as the reference does, and count the blank ones."""
    texts = list(texts)
    records = [json_of(fields_of(text)) + "\n" for text in texts if text.strip(WHITE_SPACE)]
    return Rendered("".join(records).encode(), len(records), len(texts) - len(records))
