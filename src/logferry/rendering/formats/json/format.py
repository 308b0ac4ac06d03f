"""The json format: a line that is a JSON object is shipped as it is, with its common keys renamed.

The format keeps the text of keys and values: it must never round numbers, drop duplicates or reorder keys. It renames a
key that plays the role of level, message or timestamp, and writes the level in capitals. Those of the three that are
missing come first; a missing message is the whole line. A value that has to be converted, or that is inside of an
object, comes first too, and its member stays as it is (rule F44). Any other line is shipped whole (rule F5).
"""

from collections.abc import Hashable, Iterator
from typing import Final

from logferry.rendering.engine.escape import to_json
from logferry.rendering.engine.field_roles import missing_fields, upper_text
from logferry.rendering.engine.format import unknown_fields
from logferry.rendering.engine.layouts import LayoutFormat
from logferry.rendering.engine.records import LinePattern
from logferry.rendering.formats.json.layouts import Layout, layout_of, pattern_of
from logferry.rendering.formats.json.members import Member, is_object, members_of
from logferry.rendering.formats.json.roles import Roles, kind_of, roles_of

_CONTROL_TO_SPACE: Final = str.maketrans("\t\r\n", "   ")


class JsonFormat(LayoutFormat):
    """Lines that are JSON objects."""

    name = "json"
    compiled_name = "render_json"
    unstructured_line = r"([^{\x00-\x20][^\n]*+)"

    def record_of(self, text: str) -> str:
        """See Format."""
        members = members_of(text)
        if members is None:
            return to_json(unknown_fields(text))
        roles = roles_of((member.key, kind_of(member.key, member.value)) for member in members)
        first = {member.key: member for member in reversed(members)}
        converted = {
            role: conversion.value_of(first[conversion.key].value) for role, conversion in roles.converted.items()
        }
        missing = missing_fields(roles.renamed.values(), text)
        missing |= converted
        pieces = [to_json(missing)[:-1] if missing else "{", ", " if missing and members else ""]
        position = text.index("{") + 1
        for start, end, new in _edits(text, members, roles):
            pieces += text[position:start], new
            position = end
        pieces.append(text[position:].rstrip())
        # Control characters outside strings, including those between joined lines, are mere white space.
        return "".join(pieces).translate(_CONTROL_TO_SPACE)

    def recognises(self, text: str) -> bool:
        """See Format."""
        return is_object(text)

    def layout_of(self, text: str) -> Layout | None:
        """See LayoutFormat."""
        return layout_of(text)

    def pattern_of(self, layout: Hashable) -> LinePattern:
        """See LayoutFormat."""
        assert isinstance(layout, Layout)
        return pattern_of(layout)


JSON: Final = JsonFormat()


def _edits(text: str, members: list[Member], roles: Roles) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and replacement of each part of a text to replace, from left to right."""
    for member in members:
        role = roles.renamed.get(member.key)
        if role not in (None, member.key) and member.is_scalar:
            yield member.key_start, member.key_end, f'"{role}"'
        if role == "level" and isinstance(member.value, str):
            yield member.start, member.end, upper_text(text[member.start : member.end])
        elif role == "level" and member.is_scalar and (word := roles.numbers.get(text[member.start : member.end])):
            yield member.start, member.end, f'"{word}"'
