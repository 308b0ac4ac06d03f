"""The regex format: `regex:<pattern with named groups>`, for lines that no other format knows.

The pattern must match the whole of an event, in which joined lines have newlines between them (a dot matches these
too). Its named groups become fields, in their order; those whose names stand for level, message or timestamp are these
(as in the json format). The level is in capitals; without a message, the event is the message. A group that did not
match is null. An event that the pattern does not match is shipped whole (rule F5).

A pattern that takes time without end on some line takes it: this is in the hands of who writes it.
"""

import json
import re
from collections.abc import Sequence
from itertools import chain

from logferry.rendering.engine.base import Format, Rendered, render_unknown, unknown_fields
from logferry.rendering.engine.escape import escape_characters, with_plain_newlines, without_blank_lines
from logferry.rendering.engine.field_roles import sources_of
from logferry.rendering.filters import compiled


class RegexFormat(Format):
    """Lines that a pattern of the user's takes apart."""

    def __init__(self, pattern: str) -> None:
        """Raises ValueError if it is no pattern, or has no named groups."""
        self.name = f"regex:{pattern}"
        self._pattern = compiled("format regex", pattern, re.DOTALL)
        groups = sorted(self._pattern.groupindex, key=self._pattern.groupindex.__getitem__)
        if not groups:
            raise ValueError(f"cannot use {pattern!r} as a format: it has no groups with names, as (?P<message>.*)")
        sources = sources_of((group, True) for group in groups)
        names = {source: role for role, source in sources.items()}
        # Which group each key has its value from; the three first, which there may be none for.
        self._keys = {role: sources.get(role) for role in ("level", "message", "timestamp")}
        self._keys |= {group: group for group in groups if group not in names}

    def record_of(self, text: str) -> str:
        """See Format."""
        match = self._pattern.fullmatch(text)
        if match is None:
            return json.dumps(unknown_fields(text), ensure_ascii=False)
        fields = {key: match[group] if group else None for key, group in self._keys.items()}
        level = fields["level"]
        fields["level"] = "UNKNOWN" if level is None else level.upper()
        fields["message"] = text if fields["message"] is None else fields["message"]
        return json.dumps(fields, ensure_ascii=False)

    def render(self, data: bytes, joint: bytes) -> Rendered:
        """See Format."""
        lines, blank = without_blank_lines(with_plain_newlines(data, joint), is_escaped=False)
        newline = joint.decode()
        events = [line.replace(newline, "\n") for line in lines.decode().split("\n")[:-1]]
        matches = list(map(self._pattern.fullmatch, events))
        matched = self._matched([match for match in matches if match], joint)
        if None not in matches:
            return Rendered(matched, len(events), blank)
        others = b"".join(line + b"\n" for line, match in zip(lines.split(b"\n"), matches, strict=False) if not match)
        unknown = iter(render_unknown(escape_characters(others, joint)).payload.split(b"\n"))
        known = iter(matched.split(b"\n"))
        records = [next(known if match else unknown) for match in matches]
        return Rendered(b"".join(record + b"\n" for record in records), len(events), blank)

    def _matched(self, matches: list[re.Match[str]], joint: bytes) -> bytes:
        """Render events that the pattern matches."""
        if not matches:
            return b""
        groups = [self._pattern.groupindex[group] for group in self._keys.values() if group]
        whole, *found = zip(*(match.group(0, *groups) for match in matches), strict=True)
        remaining = iter(found)
        columns: dict[str, list[str | None]] = {
            key: list(next(remaining)) if group else [None] * len(matches) for key, group in self._keys.items()
        }
        levels = {level: "UNKNOWN" if level is None else level.upper() for level in set(columns["level"])}
        columns["level"] = [levels[level] for level in columns["level"]]
        messages = zip(whole, columns["message"], strict=True)
        columns["message"] = [text if message is None else message for text, message in messages]
        pieces: list[Sequence[bytes]] = []
        before = b"{"
        for key, texts in columns.items():
            quote, values = _values(texts, joint)
            pieces += [before + f"{json.dumps(key, ensure_ascii=False)}: ".encode() + quote] * len(matches), values
            before = quote + b", "
        pieces.append([before.removesuffix(b", ") + b"}\n"] * len(matches))
        return b"".join(chain.from_iterable(zip(*pieces, strict=True)))


def _values(texts: Sequence[str | None], joint: bytes) -> tuple[bytes, list[bytes]]:
    """Return texts as JSON, None as null: what stands on both sides of each, and what is between."""
    newline = joint.decode()
    block = "\n".join("" if text is None else text.replace("\n", newline) for text in texts)
    escaped = escape_characters(block.encode(), joint).split(b"\n")
    if None not in texts:
        return b'"', escaped
    return b"", [b"null" if text is None else b'"%b"' % piece for text, piece in zip(texts, escaped, strict=True)]
