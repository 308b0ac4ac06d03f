"""Renders a single event: the reference that the rendering of whole chunks must match byte for byte.

It also renders the events that cannot be rendered in a chunk: those that are not UTF-8, and the kept beginnings of
lines that were too long.
"""

import base64
import json
from typing import Final

from logferry.rendering.encodings import TextEncoding, Utf8
from logferry.rendering.engine.escape import to_json
from logferry.rendering.engine.format import Format, unknown_fields

_UTF_8: Final = Utf8()


def render_event(
    format_: Format, event: bytes, *, truncated: bool = False, encoding: TextEncoding = _UTF_8
) -> bytes | None:
    """Render one event, given without its last newline; return None if the event is blank.

    The event is in UTF-8, as the reader hands it over that has read it from a file in `encoding`.

    A truncated line is never blank, and a carriage return at its end is not part of a line ending: what followed is
    unknown.
    """
    if not truncated:
        event = event.removesuffix(b"\r")
        if not event.strip():
            return None
    is_valid = is_text(event)
    shown, written = (event.decode(), event) if is_valid else encoding.written(event)
    text = shown.replace("\r\n", "\n")
    record = format_.record_of(text)
    marks: dict[str, object] = {}
    if not is_valid:
        marks["raw"] = base64.b64encode(written).decode()
    if truncated:
        marks["truncated"] = True
    if marks:
        if any(f'"{mark}"' in record and mark in json.loads(record, parse_int=float) for mark in marks):
            record = to_json(unknown_fields(text))
        record = f"{record[:-1]}, {json.dumps(marks)[1:]}"
    return record.encode() + b"\n"


def is_text(data: bytes) -> bool:
    """Whether all bytes are valid UTF-8."""
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
