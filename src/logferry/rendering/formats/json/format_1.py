"""The json format by rules 1: a line that is a JSON object is shipped as it is, with its common keys renamed.

The format keeps the text of keys and values: it must never round numbers, drop duplicates or reorder keys. It renames a
key that plays the role of level, message or timestamp, and writes the level in capitals. Those of the three that are
missing come first; a missing message is the whole line. Any other line is shipped whole (rule F5).
"""

from collections.abc import Hashable, Iterator
from typing import Final

from logferry.rendering.engine.escape import to_json
from logferry.rendering.engine.field_roles import missing_fields, sources_of, upper_text
from logferry.rendering.engine.format import unknown_fields
from logferry.rendering.engine.layouts import LayoutFormat
from logferry.rendering.engine.records import LinePattern
from logferry.rendering.formats.json.layouts_1 import Layout, layout_of, pattern_of
from logferry.rendering.formats.json.members import Member, members_of

_CONTROL_TO_SPACE: Final = str.maketrans("\t\r\n", "   ")


class JsonFormat(LayoutFormat):
    """Lines that are JSON objects."""

    name = "json"
    unstructured_line = r"([^{\s][^\n]*+)"

    def record_of(self, text: str) -> str:
        """See Format."""
        members = members_of(text)
        if members is None:
            return to_json(unknown_fields(text))
        sources = sources_of((member.key, member.is_scalar) for member in members)
        missing = missing_fields(sources, text)
        pieces = [to_json(missing)[:-1] if missing else "{", ", " if missing and members else ""]
        position = text.index("{") + 1
        for start, end, new in _edits(text, members, {source: role for role, source in sources.items()}):
            pieces += text[position:start], new
            position = end
        pieces.append(text[position:].rstrip())
        # Control characters outside strings, including those between joined lines, are mere white space.
        return "".join(pieces).translate(_CONTROL_TO_SPACE)

    def layout_of(self, text: str) -> Layout | None:
        """See LayoutFormat."""
        return layout_of(text)

    def pattern_of(self, layout: Hashable) -> LinePattern:
        """See LayoutFormat."""
        assert isinstance(layout, Layout)
        return pattern_of(layout)


JSON: Final = JsonFormat()


def _edits(text: str, members: list[Member], roles: dict[str, str]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and replacement of each part of a text to replace, from left to right."""
    for member in members:
        role = roles.get(member.key)
        if role not in (None, member.key) and member.is_scalar:
            yield member.key_start, member.key_end, f'"{role}"'
        if role == "level" and isinstance(member.value, str):
            yield member.start, member.end, upper_text(text[member.start : member.end])
