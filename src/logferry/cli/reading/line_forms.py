"""The forms of a line: text for people, JSON for programs, and raw, as it is stored.

Owns these forms. Everything of a line is hostile: text goes through `printable`, JSON is ASCII. On a terminal, text has
colours, and a line that would fill screens is cut; pipes get everything.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from logferry.printable import moment, printable, printable_ndjson
from logferry.reading.query.found import FoundLine
from logferry.reading.query.records import plain_value, utc
from logferry.reading.stored import Log

# Of a line on a terminal; and of one of its other fields.
_MOST_CHARS: Final = 4000
_MOST_FIELD_CHARS: Final = 400

# Clients of ours write a null where a line has no timestamp: that says nothing.
_EMPTY: Final = frozenset({"timestamp", "level"})

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_COLOURS: Final = {
    **dict.fromkeys(("EMERGENCY", "EMERG", "ALERT", "CRITICAL", "CRIT", "FATAL", "PANIC"), "\x1b[1;31m"),
    **dict.fromkeys(("ERROR", "ERR", "SEVERE"), "\x1b[31m"),
    **dict.fromkeys(("WARNING", "WARN", "WRN"), "\x1b[33m"),
    **dict.fromkeys(("NOTICE", "INFO", "INF"), "\x1b[32m"),
    **dict.fromkeys(("DEBUG", "DBG", "TRACE", "FINE", "FINER", "FINEST"), "\x1b[2m"),
}

Form = Callable[[FoundLine], bytes]


@lru_cache(1024)
def _second(seconds: int) -> tuple[str, str]:
    """Return a second in the local zone, and the offset of that zone then; "" for an impossible time."""
    text = moment(seconds)
    return text[:19], text[19:]


def local(milliseconds: int) -> str:
    """Return a time in the local zone: `2026-01-15 08:23:45.123+01:00`."""
    text, zone = _second(milliseconds // 1000)
    return f"{text}.{milliseconds % 1000:03d}{zone}" if zone else text


def json_object(line: FoundLine) -> dict[str, Any]:
    """Return a line as JSON output has it."""
    record = line.record
    fields = {key: plain_value(value) for key, value in record.fields.items()}
    if record.timestamp:
        fields["timestamp"] = record.timestamp
    return {
        "time": utc(line.time),
        "event_time": line.has_event_time,
        "received": utc(line.received.last),
        "received_after": utc(line.received.first),
        "host": line.log.host,
        "file": line.log.path,
        "level": record.level or None,
        "message": record.message,
        "fields": fields,
        "context": line.is_context,
        "place": str(line.place),
    }


def as_json(line: FoundLine) -> bytes:
    """Return a line as one line of JSON, in ASCII without control characters."""
    return json.dumps(json_object(line)).replace("\x7f", "\\u007f").encode("ascii")


def raw(line: FoundLine) -> bytes:
    """Return a line as it is stored."""
    return line.data


def raw_for_terminal(line: FoundLine) -> bytes:
    """Return a line as it is stored, with escapes for what would control the terminal."""
    return printable_ndjson(line.data)


class TextForm:
    """Text: time, level, host, file, message and other fields.

    A `~` behind a time says that it is that of the receipt: the line has none.
    """

    def __init__(self, *, encoding: str, has_colours: bool, is_terminal: bool, whole_paths: bool = False) -> None:
        self._encoding = encoding
        self._has_colours = has_colours
        self._most_chars = _MOST_CHARS if is_terminal else None
        self._most_field_chars = _MOST_FIELD_CHARS if is_terminal else None
        self._whole_paths = whole_paths
        self._names: dict[Log, str] = {}

    def __call__(self, line: FoundLine) -> bytes:
        """Return a line as text."""
        return self._text(line).encode(self._encoding, "backslashreplace")

    def _text(self, line: FoundLine) -> str:
        record = line.record
        mark = " " if line.has_event_time else "~"
        level = self._printable(record.level.upper() or "-", 20)
        message = self._printable(record.message, self._most_chars)
        fields = "".join(
            f" {self._printable(key, 100)}={self._printable(_value(value), self._most_field_chars)}"
            for key, value in record.fields.items()
            if value is not None or key not in _EMPTY
        )
        if self._most_chars and (len(fields) > self._most_chars or len(record.message) > self._most_chars):
            fields = f"{fields[: self._most_chars]} [cut: {len(line.data)} bytes; --output raw has all]"
        time, name = local(line.time), self._name(line.log)
        if not self._has_colours:
            return f"{time}{mark}{level:<7} {name}  {message}{fields}"
        colour = _COLOURS.get(level, "")
        text = f"{_DIM}{message}{_RESET}" if line.is_context else message
        shown_level = f"{colour}{level:<7}{_RESET}" if colour else f"{level:<7}"
        shown_fields = f"{_DIM}{fields}{_RESET}" if fields else ""
        return f"{_DIM}{time}{_RESET}{mark}{shown_level} {name}  {text}{shown_fields}"

    def _name(self, log: Log) -> str:
        name = self._names.get(log)
        if name is None:
            file = log.path if self._whole_paths else log.name
            shown = f"{self._printable(log.host, 100)} {self._printable(file or '-', 200)}"
            name = self._names[log] = shown
        return name

    def _printable(self, text: str, most: int | None) -> str:
        return printable(text, max_chars=most, encoding=self._encoding)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain_value(value), ensure_ascii=False)
