"""The iis format: W3C extended log files, as IIS and CloudFront write them (docs/protocol.md, rule F59).

    #Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip sc-status time-taken
    2024-01-15 08:23:45 10.0.0.1 GET /cart id=7 443 - 192.0.2.7 200 15

A line means what the last `#Fields:` before it says. So a spec names these fields: `iis:date time s-ip ...`, and one
without fields is for lines that none precedes. Lines that begin with `#` are shipped whole, and so are those with more
or fewer words than there are fields. Must never look for a header itself: the reader of the file does.
"""

from functools import lru_cache
from typing import Final

from logferry.model.format_names import HEADER_PREFIX, MAX_HEADER_CHARACTERS
from logferry.model.render_spec import RESERVED_KEYS
from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.fields import (
    Field,
    always_null,
    decimal_or_null,
    number_or_null,
    of_each,
    text,
    text_or_null,
    with_space,
)
from logferry.rendering.engine.levels import UNKNOWN
from logferry.rendering.engine.line_format import ANY_WORD, TAB, LineFormat, LineKind, exact_kind
from logferry.rendering.engine.timestamps import DATE, TIME_OF_DAY
from logferry.rendering.formats.access.parts import DECIMAL, NUMBER, level_of_status, number_of_status

# What other access logs call these fields. All others keep their names.
_NAMES: Final = {
    "c-ip": "remote_addr",
    "c-port": "remote_port",
    "cs-username": "user",
    "cs-method": "method",
    "cs-uri-stem": "path",
    "cs-version": "protocol",
    "sc-status": "status",
    "sc-bytes": "bytes",
    "cs-bytes": "bytes_received",
    "cs(Referer)": "referer",
    "cs(User-Agent)": "user_agent",
}
_STATUS: Final = "sc-status"
_NUMBERS: Final = ("c-port", "s-port", "sc-bytes", "cs-bytes", "sc-substatus", "sc-win32-status")
_DECIMALS: Final = ("time-taken",)

_NO_LEVEL: Final = of_each("level", "", lambda _: UNKNOWN)
_GAP: Final = f"(?: |{TAB})"
_name: Final = compile_pattern(r"[!#-\[\]-~]{1,100}")
_directive: Final = compile_pattern(r"#(?:Software|Version|Date|Start-Date|End-Date|Fields|Remark|GMT-Offset): .*")
_typical: Final = compile_pattern(rf"{DATE}[ \t]{TIME_OF_DAY}[ \t][^ \t]++(?:[ \t][^ \t]++){{3,99}}+(?<=[0-9-])")
_request: Final = compile_pattern(r"[ \t](?:[A-Z]{3,9}|-)[ \t]/")


class IisFormat(LineFormat):
    """Lines with these fields; if there are none, every line is shipped whole."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        name = f"{HEADER_PREFIX}{' '.join(fields)}" if fields else "iis"
        super().__init__(name, [_kind(fields)] if fields else [])

    def recognises(self, text: str) -> bool:
        """See Format: without fields, what such a line looks like."""
        if _directive.fullmatch(text):
            return True
        if self._kinds:
            return super().recognises(text)
        return _typical.fullmatch(text) is not None and _request.search(text) is not None


def _kind(names: tuple[str, ...]) -> LineKind:
    """Return the kind of lines with these fields: a date and the time after it are the timestamp."""
    pieces = [f"(?P<f{place}>{_value(name)})" for place, name in enumerate(names)]
    fields = [
        _field(name, key, f"f{place}") for place, (name, key) in enumerate(zip(names, _keys_of(names), strict=True))
    ]
    timestamp, message = always_null("timestamp"), None
    if (place := _place_of(names, "cs-method", "cs-uri-stem")) is not None:
        pieces[place], pieces[place + 1] = f"(?P<message>{pieces[place]}", f"{pieces[place + 1]})"
        message = text("message")
    if (place := _place_of(names, "date", "time")) is not None:
        pieces[place], pieces[place + 1] = f"(?P<timestamp>{DATE}", f"{TIME_OF_DAY})"
        timestamp = with_space("timestamp")
        fields = [*fields[:place], *fields[place + 2 :]]
    line = _GAP.join(pieces)
    level = of_each("level", f"f{names.index(_STATUS)}", level_of_status) if _STATUS in names else _NO_LEVEL
    beginning = [level, message or text("message", "line"), timestamp]
    return exact_kind(f"(?!#)(?P<line>{line})", [*beginning, *fields])


def _place_of(names: tuple[str, ...], *wanted: str) -> int | None:
    """Return where two names stand one after the other."""
    return next((place for place in range(len(names)) if names[place : place + 2] == wanted), None)


def _keys_of(names: tuple[str, ...]) -> list[str]:
    """Return the keys of records: each is there once, and none is that of another rule."""
    keys = list[str]()
    for name in names:
        key, number = _NAMES.get(name, name), 2
        while key in keys or key in RESERVED_KEYS:
            key, number = f"{_NAMES.get(name, name)}_{number}", number + 1
        keys.append(key)
    return keys


def _value(name: str) -> str:
    if name == _STATUS:
        return "(?:[0-9]{3}|0|-)"
    return DECIMAL if name in _DECIMALS else NUMBER if name in _NUMBERS else ANY_WORD


def _field(name: str, key: str, group: str) -> Field:
    if name == _STATUS:
        return of_each(key, group, number_of_status)
    of = decimal_or_null if name in _DECIMALS else number_or_null if name in _NUMBERS else text_or_null
    return of(key, group)


@lru_cache(maxsize=64)
def iis_format(header: str) -> IisFormat:
    """Return the format for the text behind `#Fields:`. Raises ValueError if that cannot be one."""
    names = tuple(header.split())
    if len(header) > MAX_HEADER_CHARACTERS or not all(map(_name.fullmatch, names)):
        raise ValueError(f"cannot use {header!r} as the fields of a log file")
    return IisFormat(names)


IIS: Final = IisFormat(())
