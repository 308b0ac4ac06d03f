"""Decides which keys of a line play the role of level, message and timestamp (docs/protocol.md, rules F15 and F16)."""

import json
from collections.abc import Iterable
from typing import Final

from logferry.rendering.engine.format import unknown_fields

# The names under which a role is found, the best first. A name other than the first counts only if its value is a
# string or a number.
NAMES: Final = {
    "level": ("level", "severity", "lvl", "log.level", "levelname", "loglevel"),
    "message": ("message", "msg", "log", "text", "event"),
    "timestamp": ("timestamp", "time", "ts", "@timestamp", "datetime", "date", "asctime"),
}
ALL_NAMES: Final = tuple(name for names in NAMES.values() for name in names)


def sources_of(keys: Iterable[tuple[str, bool]]) -> dict[str, str]:
    """Return the key that plays each role, given all keys and whether their values are scalar.

    Roles without a key are left out.
    """
    keys = list(keys)
    present, scalar = {key for key, _ in keys}, {key for key, is_scalar in keys if is_scalar}
    found = {}
    for role, (_, *others) in NAMES.items():
        source = role if role in present else next((name for name in others if name in scalar), None)
        if source:
            found[role] = source
    return found


def missing_fields(sources: Iterable[str], text: str) -> dict[str, object]:
    """Return the fields for the roles that are not in `sources`: the message is the whole line."""
    return {name: value for name, value in unknown_fields(text).items() if name not in sources}


def upper_text(text: str) -> str:
    """Convert a JSON string, given in its written form, to upper case; return it unchanged if it already is."""
    value = str(json.loads(text))
    if value == value.upper():
        return text
    return json.dumps(value.upper(), ensure_ascii="\\" in text)  # an escape may stand for what cannot be encoded
