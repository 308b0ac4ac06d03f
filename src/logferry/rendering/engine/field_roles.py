"""Which of a line's own keys stand for level, message and timestamp (docs/protocol.md has the rule)."""

import json
from collections.abc import Iterable
from typing import Final

from logferry.rendering.engine.format import unknown_fields

# The best first. Another name than the first counts only if its value is a string or a number.
NAMES: Final = {
    "level": ("level", "severity", "lvl", "log.level", "levelname", "loglevel"),
    "message": ("message", "msg", "log", "text", "event"),
    "timestamp": ("timestamp", "time", "ts", "@timestamp", "datetime", "date", "asctime"),
}
ALL_NAMES: Final = tuple(name for names in NAMES.values() for name in names)


def sources_of(keys: Iterable[tuple[str, bool]]) -> dict[str, str]:
    """Return which key stands for which of the three, given all keys and whether their values are scalar."""
    keys = list(keys)
    present, scalar = {key for key, _ in keys}, {key for key, is_scalar in keys if is_scalar}
    found = {}
    for role, (_, *others) in NAMES.items():
        source = role if role in present else next((name for name in others if name in scalar), None)
        if source:
            found[role] = source
    return found


def missing_fields(sources: Iterable[str], text: str) -> dict[str, object]:
    """Return what a record gets for those of the three that its line does not have: the message is the whole line."""
    return {name: value for name, value in unknown_fields(text).items() if name not in sources}


def upper_text(text: str) -> str:
    """Return a JSON string, given as it is written, in capital letters; as it is if it has no others."""
    value = str(json.loads(text))
    if value == value.upper():
        return text
    return json.dumps(value.upper(), ensure_ascii="\\" in text)  # an escape may stand for what cannot be encoded
