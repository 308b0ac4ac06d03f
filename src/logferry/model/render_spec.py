"""Everything that decides how bytes become records, as a value that can be compared, saved and applied again.

Equal specs turn equal bytes into equal NDJSON, on any machine, at any time. The checkpoint keeps the spec with which
each range of a source was rendered, so `verify` and a restarted client reproduce the same bytes, even if the
configuration has changed.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

from logferry.model.encoding_names import RANGE_ENCODINGS, UTF_8
from logferry.model.format_names import CURRENT_RULES, REGEX_PREFIX, parts_of

# The value of `multiline` for the built-in pattern: an event begins with a timestamp.
EVENTS_BEGIN_WITH_TIMESTAMP: Final = "timestamp"

# The value of `multiline` for JSON objects that are written over several lines. Rules 1 know it as a pattern.
EVENTS_ARE_JSON_OBJECTS: Final = "json"

# The values of `multiline` that are not patterns.
MULTILINE_NAMES: Final = (EVENTS_BEGIN_WITH_TIMESTAMP, EVENTS_ARE_JSON_OBJECTS)

# The values of `redact` for the built-in patterns.
REDACTION_NAMES: Final = ("email", "ipv4", "card", "bearer")

# The keys that the renderer itself writes, which `fields` may not use. Every record has the first three; `raw` and
# `truncated` mark a line that is not UTF-8 or was truncated.
COMMON_KEYS: Final = ("level", "message", "timestamp")
RESERVED_KEYS: Final = (*COMMON_KEYS, "raw", "truncated")

# A pattern that matches all of any event, in a time in proportion to its length.
_EVERYTHING: Final = "(?s).+"

_LEVEL_WORD: Final = re.compile(r"[A-Za-z](?:[A-Za-z_-]{0,30}[A-Za-z])?")

# The largest `max_line_bytes` that a user may set.
LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RenderSpec:
    """How to render one source.

    `format` is the name of a format or `regex:<pattern>`, perhaps inside of a container's, never `auto`. `multiline` is
    empty (every line is an event), EVENTS_BEGIN_WITH_TIMESTAMP, or the pattern of a line that begins an event. `fields`
    are added to every record. `include`, `exclude` and `redact` are patterns; `redact` may also name built-in ones.
    `skips_nuls` says that NULs at the beginning of a line are not part of it, as it is for every file that the client
    reads now. `rules` says by which rules the format reads a line; a spec that was saved before rules had numbers
    follows the first ones. `levels` are words that are levels besides the known ones. `strip_ansi` says that escape
    sequences are taken out of lines. `encoding` is that of the file, one of RANGE_ENCODINGS.
    """

    format: str = "plain"
    max_line_bytes: int = 1024 * 1024
    multiline: str = ""
    multiline_max_lines: int = 500
    multiline_max_bytes: int = 128 * 1024
    fields: tuple[tuple[str, str], ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()
    skips_nuls: bool = False
    rules: int = 1
    levels: tuple[str, ...] = ()
    strip_ansi: bool = False
    encoding: str = UTF_8

    def to_json(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, ready for `json.dumps`."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return {field.name: value for field, value in values if value != field.default}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read the output of `to_json`. Raises TypeError or ValueError for anything else."""
        spec = cls(**{name: _tuples(value) for name, value in content.items()})
        for field in fields(spec):
            value = getattr(spec, field.name)
            if type(value) is not type(field.default):
                raise TypeError(f"{field.name} is of another type")
            if type(value) is int and not 1 <= value <= LONGEST_LINE_BYTES:
                raise ValueError(f"{field.name} is {value!r}")
        pairs = all(type(pair) is tuple and len(pair) == 2 for pair in spec.fields)
        texts = (*spec.include, *spec.exclude, *spec.redact, *(text for pair in spec.fields for text in pair))
        if not pairs or any(type(text) is not str for text in texts):
            raise TypeError("a pattern or a field is not a text")
        if not all(type(word) is str and is_level_word(word) for word in spec.levels):
            raise ValueError("a level is not a word")
        if spec.encoding not in RANGE_ENCODINGS:
            raise ValueError(f"the encoding {spec.encoding!r} is not known")
        return spec

    def without(self, patterns: Collection[str]) -> Self:
        """Return a spec that leaves out these patterns of the user, as if each had been stopped on every event.

        docs/protocol.md, rule F36: every event is shipped, begins anew, is its own message, or is `[redacted]`.
        """
        if not patterns:
            return self
        own = set(patterns) - {*MULTILINE_NAMES, *REDACTION_NAMES}  # where these name a built-in pattern
        outer, inner = parts_of(self.format)
        is_own = inner.removeprefix(REGEX_PREFIX) in patterns and inner.startswith(REGEX_PREFIX)
        return replace(
            self,
            format=(f"{outer}+raw" if outer else "raw") if is_own else self.format,
            multiline="" if self.multiline in own else self.multiline,
            include=() if any(pattern in patterns for pattern in self.include) else self.include,
            exclude=tuple(pattern for pattern in self.exclude if pattern not in patterns),
            redact=tuple(_EVERYTHING if pattern in own else pattern for pattern in self.redact),
        )


# The default: how lines are rendered unless something else is configured.
PLAIN: Final = RenderSpec(rules=CURRENT_RULES)


def is_level_word(word: str) -> bool:
    """Whether a user may make a word a level: at most 32 letters, with `-` and `_` between them."""
    return _LEVEL_WORD.fullmatch(word) is not None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value
