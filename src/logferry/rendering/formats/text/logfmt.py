"""The logfmt format: `level=info msg="request handled" status=200`, as Go programs and Heroku write it.

A line consists of pairs `key=value`, separated by spaces; keys without a value may follow the first pair. A value is a
word, a quoted string with the escapes of JSON, or a string in single quotes (docs/protocol.md, rule F49). Values stay
strings, keys keep their order, and both stay as written; the common keys are renamed as in the json format, and a key
without a value becomes `true`. If there is no other timestamp, `t` is one if it is a date and a time, as Grafana writes
it. Any other line is shipped whole (rule F5).
"""

import json
import re
from collections.abc import Hashable, Iterator
from functools import lru_cache
from itertools import count, filterfalse
from typing import Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import to_json
from logferry.rendering.engine.field_roles import ALL_NAMES, missing_fields, sources_of, upper_text
from logferry.rendering.engine.fields import upper_levels
from logferry.rendering.engine.format import unknown_fields
from logferry.rendering.engine.layouts import INSIDE_STRING, LayoutFormat, Piece, composed
from logferry.rendering.engine.records import LinePattern, Texts, Written
from logferry.rendering.engine.timestamps import UNMISTAKABLE

_KEY: Final = r'[^\x00-\x20="\\]++'
_IN_SINGLE_QUOTES: Final = r"'[^'\x00-\x1f]*+'"
_token: Final = compile_pattern(
    rf"""({_KEY})(?:=("(?:[^"\\]++|\\.)*+"|{_IN_SINGLE_QUOTES}(?=[ \t]|\Z)|[^\x00-\x20"]*+))?+(?:[ \t]++|\Z)""",
    re.DOTALL,
)
_date_and_time: Final = compile_pattern(rf"""(?P<quote>["']?+){UNMISTAKABLE}(?P=quote)""")
_in_single_quotes: Final = compile_pattern(_IN_SINGLE_QUOTES)

# A key that is a timestamp only if its value is a date and a time.
_TIME_KEY: Final = "t"

Tokens = list[tuple[str, str | None]]  # each key with its value as it is written


class LogfmtFormat(LayoutFormat):
    """Lines that consist of key-value pairs."""

    name = "logfmt"
    compiled_name = "render_logfmt"
    unstructured_line = r"([^=\n]++)"

    def record_of(self, text: str) -> str:
        """See Format."""
        tokens = _tokens_of(text)
        if tokens is None:
            return to_json(unknown_fields(text))
        numbered = _with_timestamp(list(_numbered(tokens)))
        sources = sources_of(_keys_of(numbered))
        roles = {source: role for role, source in sources.items()}
        missing = missing_fields(sources, text)
        members = [f'"{name}": {to_json(value)}' for name, value in missing.items()]
        for key, written in numbered:
            role = roles.get(key, key) if written is not None else key
            value = _value_of(written)
            members.append(f'"{role}": {upper_text(value) if role == "level" and written is not None else value}')
        return f"{{{', '.join(members)}}}"

    def recognises(self, text: str) -> bool:
        """See Format: a single pair may occur in prose, too."""
        return text.count("=") > 1 and super().recognises(text)

    def layout_of(self, text: str) -> tuple[str, ...] | None:
        """See LayoutFormat: a layout is the sequence of the keys that matter."""
        tokens = _tokens_of(text)
        names = [] if tokens is None else [key for key, written in tokens if key in ALL_NAMES or _is_time(key, written)]
        return None if tokens is None or len(set(names)) < len(names) else tuple(names)

    def pattern_of(self, layout: Hashable) -> LinePattern:
        """See LayoutFormat."""
        assert isinstance(layout, tuple)
        return _pattern_of(layout)


LOGFMT: Final = LogfmtFormat()


def _tokens_of(text: str) -> Tokens | None:
    """Return the keys of a line, each with its value as written; None if the line is not logfmt."""
    tokens: Tokens = []
    position = len(text) - len(text.lstrip(" \t"))
    while position < len(text):
        match = _token.match(text, position)
        if match is None:
            return None
        tokens.append((match[1], match[2]))
        position = match.end()
    return tokens if tokens and tokens[0][1] is not None else None


def _numbered(tokens: Tokens) -> Iterator[tuple[str, str | None]]:
    """Yield the tokens; a key that may have a role and stands once more gets the first free number after it."""
    taken = {key for key, _ in tokens}
    free = dict[str, Iterator[str]]()
    for key, written in tokens:
        if key not in ALL_NAMES:
            yield key, written
        elif key not in free:
            free[key] = _free_names(key, taken)
            yield key, written
        else:
            yield next(free[key]), written


def _free_names(key: str, taken: set[str]) -> Iterator[str]:
    """Yield names for the key from its second time on. Each name is tried once, so a line takes linear time."""
    names = (f"{key}_{number}" for number in count(2))
    return filterfalse(taken.__contains__, names)


def _is_time(key: str, written: str | None) -> bool:
    return key == _TIME_KEY and written is not None and _date_and_time.fullmatch(written) is not None


def _with_timestamp(tokens: Tokens) -> Tokens:
    """Return the tokens; if none is a timestamp by its key, the first `t` that is a date and a time becomes one."""
    if "timestamp" in sources_of(_keys_of(tokens)):
        return tokens
    place = next((place for place, token in enumerate(tokens) if _is_time(*token)), len(tokens))
    return [("timestamp", written) if at == place else (key, written) for at, (key, written) in enumerate(tokens)]


def _keys_of(tokens: Tokens) -> list[tuple[str, bool]]:
    return [(key, value is not None) for key, value in tokens]


def _value_of(written: str | None) -> str:
    """Return the JSON of a value."""
    if written is None:
        return "true"
    if _in_single_quotes.fullmatch(written):
        return to_json(written[1:-1])
    if not written.startswith('"'):
        return to_json(written)
    try:
        json.loads(written)
    except ValueError:  # escapes of another language, or control characters: keep them as they are
        return to_json(written[1:-1])
    return written


# All quantifiers are possessive: the time is linear in the bytes for any input. A value is a quoted string that has
# only JSON's escapes, or a word without backslashes that does not begin with a single quote: both go between quotes in
# the record, unchanged.
_WORD: Final = r"""(?!')[^\x00-\x20"\\]*+"""
_QUOTE: Final = '"?+'


def _value(quoted: str, word: str) -> str:
    """Return a pattern of a value that is surrounded by two quotes or by none."""
    return f'(?:(?<="){quoted}(?=")|(?<!"){word}(?!"))'


_VALUE: Final = _value(INSIDE_STRING, _WORD)
_LEVEL: Final = _value("[A-Za-z]++", "[A-Za-z]++")
_TIME_VALUE: Final = _value(UNMISTAKABLE, UNMISTAKABLE.replace("[ T]", "T"))
_NOT_OTHER: Final = f'(?:{"|".join(map(re.escape, ALL_NAMES))})=|{_TIME_KEY}="?+[0-9]{{4}}-'
_OTHER: Final = f'(?!{_NOT_OTHER}){_KEY}=(?:"{INSIDE_STRING}"|{_WORD})'
_pair: Final = compile_pattern(f"({_KEY})={_QUOTE}({_VALUE}){_QUOTE}".encode())


@lru_cache(maxsize=64)
def _pattern_of(layout: tuple[str, ...]) -> LinePattern:
    sources = sources_of((name, True) for name in layout)
    if _TIME_KEY in layout:
        sources.setdefault("timestamp", _TIME_KEY)
    return composed(_pieces(layout, {source: role for role, source in sources.items()}), sources)


def _pieces(layout: tuple[str, ...], roles: dict[str, str]) -> Iterator[Piece]:
    """Yield the pieces of a line, each with what the record gets for it; the line stands between quotes."""
    yield "", b'"'
    yield f"(?:{_OTHER} )*+" if layout else f"{_OTHER}(?: {_OTHER})*+", _members
    for place, name in enumerate(layout, start=1):
        role = roles.get(name, name)
        yield f"{re.escape(name)}={_QUOTE}", f'{role}": "'.encode()
        value = _TIME_VALUE if name == _TIME_KEY else _VALUE
        yield (_LEVEL, upper_levels) if role == "level" else (value, None)
        is_last = place == len(layout)
        yield (_QUOTE, b"") if is_last else (f"{_QUOTE} ", b'", "')
        yield f"(?: {_OTHER})*+" if is_last else f"(?:{_OTHER} )*+", _members
    yield "", b'"'


def _members(texts: Texts) -> Written:
    """Return runs of pairs as members of an object. A space before or after a run becomes quotes and a comma."""
    block = b"\n".join(texts)
    if b'"' not in block and block.count(b"=") == block.count(b" "):  # one `=` in each pair, and none in a value
        return Written(block.replace(b" ", b'", "').replace(b"=", b'": "').split(b"\n"))
    parts = _pair.split(block)
    between = parts[0::3]
    joints = {text: text.replace(b" ", b'", "') for text in set(between)}
    out = [b'": "'] * (4 * len(between) - 3)
    out[0::4] = map(joints.__getitem__, between)
    out[1::4] = parts[1::3]
    out[3::4] = parts[2::3]
    return Written(b"".join(out).split(b"\n"))
