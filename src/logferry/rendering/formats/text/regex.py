"""The regex format: `regex:<pattern with named groups>`, for lines of any other format (docs/protocol.md, rule F19).

The pattern must match the whole event, in which newlines separate joined lines (a dot matches a newline, too). Its
named groups become fields, in their order; group names that mean level, message or timestamp are renamed as in the json
format. The level is in capitals; without a message, the event is the message. A group that did not match is null. An
event that the pattern does not match is shipped whole (rule F5).

A pattern that takes too long on an event does not match it (user_patterns.py).
"""

import re
from collections.abc import Sequence

from logferry.model.render_spec import COMMON_KEYS
from logferry.rendering.engine.escape import escape_characters, to_json, with_plain_newlines, without_blank_lines
from logferry.rendering.engine.field_roles import sources_of
from logferry.rendering.engine.format import Format, Rendered, render_unknown, unknown_fields
from logferry.rendering.engine.levels import UNKNOWN
from logferry.rendering.engine.records import Written, write_records
from logferry.rendering.engine.user_patterns import compile_user_pattern


class RegexFormat(Format):
    """Lines that are parsed by a pattern of the user."""

    def __init__(self, pattern: str) -> None:
        """Raises ValueError if `pattern` is invalid or has no named groups."""
        self.name = f"regex:{pattern}"
        self._pattern = compile_user_pattern("format regex", pattern, re.DOTALL)
        numbers = self._pattern.groupindex
        groups = sorted(numbers, key=numbers.__getitem__)
        if not groups:
            raise ValueError(f"cannot use {pattern!r} as a format: it has no named groups, such as (?P<message>.*)")
        sources = sources_of((group, True) for group in groups)
        names = {source: role for role, source in sources.items()}
        # The group that supplies the value of each key; None for a common key without a group.
        self._keys = {role: sources.get(role) for role in COMMON_KEYS}
        self._keys |= {group: group for group in groups if group not in names}

    def record_of(self, text: str) -> str:
        """See Format."""
        (match,) = self._pattern.match_each([text])
        if match is None:
            return to_json(unknown_fields(text))
        fields = {key: match[group] if group else None for key, group in self._keys.items()}
        level = fields["level"]
        fields["level"] = UNKNOWN if level is None else level.upper()
        fields["message"] = text if fields["message"] is None else fields["message"]
        return to_json(fields)

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format."""
        lines, blank = without_blank_lines(with_plain_newlines(data, inner_newline), is_escaped=False)
        newline = inner_newline.decode()
        events = [line.replace(newline, "\n") for line in lines.decode().split("\n")[:-1]]
        matches = self._pattern.match_each(events)
        matched = self._matched([match for match in matches if match], inner_newline)
        if None not in matches:
            return Rendered(matched, len(events), blank)
        others = b"".join(line + b"\n" for line, match in zip(lines.split(b"\n"), matches, strict=False) if not match)
        unknown = iter(render_unknown(escape_characters(others, inner_newline)).payload.split(b"\n"))
        known = iter(matched.split(b"\n"))
        records = [next(known if match else unknown) for match in matches]
        return Rendered(b"".join(record + b"\n" for record in records), len(events), blank)

    def _matched(self, matches: list[re.Match[str]], inner_newline: bytes) -> bytes:
        """Render the events that the pattern matches."""
        if not matches:
            return b""
        groups = [self._pattern.groupindex[group] for group in self._keys.values() if group]
        whole, *found = zip(*(match.group(0, *groups) for match in matches), strict=True)
        remaining = iter(found)
        columns: dict[str, list[str | None]] = {
            key: list(next(remaining)) if group else [None] * len(matches) for key, group in self._keys.items()
        }
        levels = {level: UNKNOWN if level is None else level.upper() for level in set(columns["level"])}
        columns["level"] = [levels[level] for level in columns["level"]]
        messages = zip(whole, columns["message"], strict=True)
        columns["message"] = [text if message is None else message for text, message in messages]
        record: list[bytes | Written] = []
        for key, texts in columns.items():
            before = ", " if record else "{"
            record += f"{before}{to_json(key)}: ".encode(), _written(texts, inner_newline)
        return write_records([*record, b"}\n"], len(matches))


def _written(texts: Sequence[str | None], inner_newline: bytes) -> Written:
    """Return a column of texts as JSON, with None as null."""
    newline = inner_newline.decode()
    block = "\n".join("" if text is None else text.replace("\n", newline) for text in texts)
    escaped = escape_characters(block.encode(), inner_newline).split(b"\n")
    if None not in texts:
        return Written(escaped, b'"', b'"')
    return Written([b"null" if text is None else b'"%b"' % piece for text, piece in zip(texts, escaped, strict=True)])
