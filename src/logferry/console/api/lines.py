"""The JSON of a line, a gap, a host and a file, as the API gives it: bounded, whatever was stored.

Owns these shapes. A record is shown with at most 100 fields and 16 KiB of each text: `raw` gives all of it.
Everything is ASCII, with escapes for whatever else there is.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

from logferry.console.source import Gap, Line
from logferry.reading.query.records import plain_value, record_of, utc

_MAX_TEXT: Final = 16 * 1024
_MAX_FIELDS: Final = 100
_MAX_KEY: Final = 200
_MAX_FIELD_TEXT: Final = 4096

# Larger records are not parsed: their beginning is shown as it is stored.
_MAX_PARSED: Final = 2 * 1024 * 1024


def of_line(line: Line) -> dict[str, Any]:
    """Return the JSON of a line."""
    level, message, fields, is_cut = _parts(line.content)
    return {
        "place": line.place,
        "time": utc(line.time),
        "received": utc(line.received),
        "received_after": utc(line.received_after),
        "event_time": line.has_event_time,
        "host": line.host,
        "file": line.path,
        "level": level,
        "message": message,
        "fields": fields,
        "cut": is_cut,
        "bytes": len(line.content),
    }


def of_gap(gap: Gap) -> dict[str, Any]:
    """Return the JSON of a gap."""
    return {
        "host": gap.host,
        "file": gap.path,
        "start": utc(gap.start),
        "end": utc(gap.end),
        "kind": gap.kind,
        "reason": gap.reason,
        "bytes": gap.bytes,
    }


def of_value(value: object) -> Any:
    """Return the JSON of one of the other values of `source`; names that end in `_at` or `_received` are times."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, Gap):
            return of_gap(value)
        names = (each.name for each in dataclasses.fields(value))
        return {_key(name): _field(name, getattr(value, name)) for name in names}
    if isinstance(value, list | tuple):
        return [of_value(each) for each in value]
    return value


def _key(name: str) -> str:
    return "file" if name == "path" else name


def _field(name: str, value: object) -> Any:
    is_time = name.endswith(("_at", "_received", "_check"))
    return utc(value) if is_time and isinstance(value, int) else of_value(value)


def _parts(content: bytes) -> tuple[str | None, str, dict[str, Any], bool]:
    """Return level, message and other fields of a stored record, and whether something was cut."""
    if len(content) > _MAX_PARSED:
        return None, content[:_MAX_TEXT].decode("utf-8", "replace"), {}, True
    record = record_of(content)
    own = {**record.fields, **({"timestamp": record.timestamp} if record.timestamp else {})}
    text = json.dumps(plain_value(own.pop("message"))) if "message" in own else record.message  # not a text
    fields, is_cut = _bounded(own)
    return record.level[:_MAX_KEY] or None, text[:_MAX_TEXT], fields, is_cut or len(text) > _MAX_TEXT


def _bounded(record: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    fields: dict[str, Any] = {}
    is_cut = len(record) > _MAX_FIELDS
    for key, value in list(record.items())[:_MAX_FIELDS]:
        plain = plain_value(value)
        if isinstance(plain, dict | list):
            plain = json.dumps(plain)
        if isinstance(plain, str) and len(plain) > _MAX_FIELD_TEXT:
            plain, is_cut = plain[:_MAX_FIELD_TEXT], True
        is_cut = is_cut or len(key) > _MAX_KEY
        fields[key[:_MAX_KEY]] = plain
    return fields, is_cut
