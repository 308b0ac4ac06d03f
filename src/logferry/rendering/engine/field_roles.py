"""Which of a line's own keys have the role of level, message and timestamp (docs/protocol.md, rules F15 and F16)."""

import json
from collections.abc import Iterable
from typing import Final

from logferry.rendering.engine.format import unknown_fields

# The names that a role is found under, the best first. A name other than the first counts only if its value is a string
# or a number.
NAMES: Final = {
    "level": ("level", "severity", "lvl", "log.level", "levelname", "loglevel"),
    "message": ("message", "msg", "log", "text", "event"),
    "timestamp": ("timestamp", "time", "ts", "@timestamp", "datetime", "date", "asctime"),
}
ALL_NAMES: Final = tuple(name for names in NAMES.values() for name in names)


def sources_of(keys: Iterable[tuple[str, bool]]) -> dict[str, str]:
    """Return the key that has each role, given all keys and whether their values are scalar.

    A role for which a line has no key is left out.
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
    """Return what a record gets for the roles that its line has no key for: the message is the whole line."""
    return {name: value for name, value in unknown_fields(text).items() if name not in sources}


def upper_text(text: str) -> str:
    """Return a JSON string, given as it is written, in capitals; unchanged if it has no small letters."""
    value = str(json.loads(text))
    if value == value.upper():
        return text
    return json.dumps(value.upper(), ensure_ascii="\\" in text)  # an escape may stand for what cannot be encoded
