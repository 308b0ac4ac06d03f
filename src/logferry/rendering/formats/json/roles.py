"""Decides which members of an object play the role of level, message and timestamp (docs/protocol.md, F15 and F44).

It sees keys and kinds of values only, so the reference and the patterns of layouts decide alike. Must never let a
member count as a level or a timestamp unless the program that wrote the object is known to mean that by it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import to_json
from logferry.rendering.engine.field_roles import NAMES
from logferry.rendering.engine.levels import LEVEL_WORDS, SEVERITIES, UNKNOWN
from logferry.rendering.engine.records import Texts, Written
from logferry.rendering.engine.timestamps import UNMISTAKABLE

# The names under which a role is found, the best first: those of logfmt too, then those of Serilog (`@t`), hclog
# (`@level`), .NET, Monolog, PostgreSQL, GELF and journald.
_NAMES: Final = {
    "level": (*NAMES["level"], *("@l", "@level", "Level", "LogLevel", "logLevel", "level_name", "error_severity")),
    "message": (
        *NAMES["message"],
        *("MESSAGE", "@m", "@message", "short_message", "RenderedMessage", "Message", "@mt", "MessageTemplate"),
    ),
    "timestamp": (*NAMES["timestamp"], *("@t", "Timestamp", "__REALTIME_TIMESTAMP")),
}

# Keys that show which program wrote an object, or whose values have to be converted.
_EVIDENCE: Final = ("t", "s", "ctx", "PRIORITY", "pid", "hostname", "v")
ALL_KEYS: Final = tuple(dict.fromkeys([*(name for names in _NAMES.values() for name in names), *_EVIDENCE]))

# A timestamp that is one whatever its key is.
TIME: Final = UNMISTAKABLE
_time: Final = compile_pattern(TIME)

# Kinds of values that a role may have.
SCALARS: Final = ("text", "number", "time")

# Numeric levels: those of Bunyan and pino, of Monolog, and of syslog (GELF, journald); letters of MongoDB.
_BUNYAN: Final = {"10": "TRACE", "20": "DEBUG", "30": "INFO", "40": "WARN", "50": "ERROR", "60": "FATAL"}
_MONOLOG: Final = {
    "100": "DEBUG",
    "200": "INFO",
    "250": "NOTICE",
    "300": "WARNING",
    "400": "ERROR",
    "500": "CRITICAL",
    "550": "ALERT",
    "600": "EMERGENCY",
}
_SYSLOG: Final = {str(number): word for number, word in enumerate(SEVERITIES)}
_MONGODB: Final = {"F": "FATAL", "E": "ERROR", "W": "WARNING", "I": "INFO", **{f"D{n}": "DEBUG" for n in range(1, 6)}}


@dataclass(frozen=True, slots=True)
class Conversion:
    """How the first value under `key` becomes the value of a role: for one object, and for a column of many."""

    key: str
    value_of: Callable[[object], object]
    edit: Callable[[Texts], Written]


@dataclass(frozen=True, slots=True)
class Roles:
    """`renamed`: keys and the roles that they get. `converted`: roles whose values come first in the record, beside
    the members from which they are made. `numbers`: what numeric levels mean."""

    renamed: dict[str, str]
    converted: dict[str, Conversion]
    numbers: Mapping[str, str]


def kind_of(key: str, value: object) -> str:
    """Return the kind of a value: `text`, `number` or `other`.

    Of `t`, also `time` (a text that is a timestamp) and `date` (that of MongoDB); of `log`, also `levelled` (an object
    with a level).
    """
    if key == "t" and isinstance(value, str) and _time.fullmatch(value):
        return "time"
    if key == "t" and _date_of(value) is not None:
        return "date"
    if key == "log" and _level_within(value) is not None:
        return "levelled"
    return {str: "text", float: "number"}.get(type(value), "other")


def roles_of(names: Iterable[tuple[str, str]]) -> Roles:
    """Return the roles, given all keys and the kinds of their values."""
    kinds: dict[str, set[str]] = {}
    for name, kind in names:
        kinds.setdefault(name, set()).add(kind)
    sources = dict[str, str]()
    for role, (_, *others) in _NAMES.items():
        scalar = (name for name in others if kinds.get(name, set()) & set(SCALARS))
        source = role if role in kinds else next(scalar, None)
        if source:
            sources[role] = source
    if "timestamp" not in sources and kinds.get("t") == {"time"}:
        sources["timestamp"] = "t"
    converted = {role: found for role, found in _conversions(kinds) if role not in sources}
    return Roles({source: role for role, source in sources.items()}, converted, _numbers(kinds))


def _conversions(kinds: Mapping[str, set[str]]) -> Iterable[tuple[str, Conversion]]:
    is_mongodb = kinds.get("t") == {"date"} and "ctx" in kinds
    if is_mongodb:
        yield "timestamp", Conversion("t", _date_of, _quoted)
    if is_mongodb and kinds.get("s") == {"text"}:
        yield "level", _word_of("s", _MONGODB)
    elif kinds.get("log") == {"levelled"}:
        yield "level", Conversion("log", _level_within, _upper)
    elif "MESSAGE" in kinds and kinds.get("PRIORITY") == {"text"}:
        yield "level", _word_of("PRIORITY", _SYSLOG)


def _numbers(kinds: Mapping[str, set[str]]) -> Mapping[str, str]:
    """Return what numeric levels mean in an object: nothing, unless its other keys show who wrote it."""
    if "short_message" in kinds:
        return _SYSLOG
    if "level_name" in kinds:
        return _MONOLOG
    if "msg" in kinds and "time" in kinds and {"pid", "hostname", "v"} & kinds.keys():
        return _BUNYAN
    return {}


def _date_of(value: object) -> str | None:
    """Return the timestamp in `{"$date": ...}`."""
    found = value["$date"] if isinstance(value, dict) and value.keys() == {"$date"} else None
    return found if isinstance(found, str) and _time.fullmatch(found) else None


def _level_within(value: object) -> str | None:
    """Return the level of an object, in capitals, if that is a known word."""
    found = value.get("level") if isinstance(value, dict) else None
    return found.upper() if isinstance(found, str) and found.isascii() and found.upper() in LEVEL_WORDS else None


def _word_of(key: str, words: Mapping[str, str]) -> Conversion:
    def word(value: object) -> str:
        return words.get(str(value), UNKNOWN)

    def edit(texts: Texts) -> Written:
        written = {text: to_json(word(json.loads(text))).encode() for text in set(texts)}
        return Written([written[text] for text in texts])

    return Conversion(key, word, edit)


def _quoted(texts: Texts) -> Written:
    return Written(texts, b'"', b'"')


def _upper(texts: Texts) -> Written:
    return Written([text.upper() for text in texts], b'"', b'"')
