"""What a line becomes: chunks of raw lines in, NDJSON out (DESIGN section 4; docs/protocol.md rules F1 to F10).

Two ways give the same bytes. `render` works on a whole chunk: escape everything at once, split it with one regular
expression, put the pieces into their places by slice assignment, join. `render_line` says what a single line becomes;
it is the reference, and serves the lines that the fast way cannot take (bytes that are not UTF-8, cut lines).

Rendering is a pure function of the bytes: the same chunk gives the same NDJSON on any machine, at any time.
"""

import base64
import json
import re
from dataclasses import dataclass
from itertools import compress
from typing import Final

from logferry.protocol.text import runs_by_validity

BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Rendered:
    """NDJSON for `lines` lines; `blank` lines were skipped, `undecodable` ones carry their bytes in `raw`."""

    payload: bytes
    lines: int
    blank: int = 0
    undecodable: int = 0


# `YYYY-MM-DD HH:MM:SS`, `T` or space, optional fraction, optional zone. ASCII digits only.
_TIMESTAMP: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]++)?+"
    r"(?: ?+(?:Z|UTC|GMT|[+-][0-9]{2}(?::?+[0-9]{2})?+)(?![A-Za-z0-9]))?+"
)
_LEVEL: Final = r"\[[A-Za-z]++\]|[A-Za-z]++:?+"

# After escaping: a separating tab has become backslash and t.
_escaped_line: Final = re.compile(rf"(?m:^)({_TIMESTAMP})(?: ++|\\t)({_LEVEL})(?: |\\t|(?=\n))([^\n]*+)\n".encode())
_plain_line: Final = re.compile(rf"({_TIMESTAMP})(?: ++|\t)({_LEVEL})(?:[ \t]|\Z)(.*)", re.DOTALL)

_escaped_blank_line: Final = re.compile(rb"(?m:^)(?: |\\[trf]|\\u000b)*+\n")

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b-\x1f]")
_CONTROL_ESCAPES: Final = {bytes([code]): json.dumps(chr(code))[1:-1].encode() for code in range(0x20)}
_CONTROL_BYTES: Final = bytes(code for code in range(0x20) if code not in (0x09, 0x0A))

_BEFORE_LEVEL: Final = b'{"level": "'
_BEFORE_MESSAGE: Final = b'", "message": "'
_BEFORE_TIMESTAMP: Final = b'", "timestamp": "'
_END: Final = b'"}\n'
_BEFORE_UNKNOWN: Final = b'{"level": "UNKNOWN", "message": "'
_AFTER_UNKNOWN: Final = b'", "timestamp": null}\n'


def render(data: bytes, *, is_start: bool = False, truncated: bool = False) -> Rendered:
    """Render a chunk of whole lines; only the last may lack its newline.

    `is_start` says that the chunk is the beginning of its source, where a byte order mark is dropped. `truncated` says
    that it is the kept beginning of a single line that was too long; the line is marked so.
    """
    if is_start and data.startswith(BOM):
        data = data[len(BOM) :]
    if truncated:
        return _render_one(data, truncated=True)
    if data and not data.endswith(b"\n"):
        data += b"\n"
    parts = [
        _render_text(data[start:end]) if is_text else _render_one(data[start : end - 1])
        for is_text, start, end in runs_by_validity(data)
    ]
    if len(parts) == 1:
        return parts[0]
    return Rendered(
        b"".join(part.payload for part in parts),
        sum(part.lines for part in parts),
        sum(part.blank for part in parts),
        sum(part.undecodable for part in parts),
    )


def render_line(line: bytes, *, truncated: bool = False) -> bytes | None:
    """Render one line, without its newline, the slow and plain way; None for a blank one.

    A cut line is never blank, nor its last carriage return a part of its ending: nobody knows what was cut off.
    """
    if not truncated:
        line = line.removesuffix(b"\r")
        if not line.strip():
            return None
    text = line.decode("utf-8", "replace")
    match = _plain_line.fullmatch(text)
    fields: dict[str, object] = {"level": "UNKNOWN", "message": text, "timestamp": None}
    if match:
        fields = {"level": match[2].strip("[]:").upper(), "message": match[3], "timestamp": match[1]}
    if not _is_text(line):
        fields["raw"] = base64.b64encode(line).decode()
    if truncated:
        fields["truncated"] = True
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def _is_text(data: bytes) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _render_one(line: bytes, *, truncated: bool = False) -> Rendered:
    payload = render_line(line, truncated=truncated)
    if payload is None:
        return Rendered(b"", 0, blank=1)
    return Rendered(payload, 1, undecodable=int(not _is_text(line)))


def _render_text(data: bytes) -> Rendered:
    """The fast way: 2 million lines of 100 bytes a second on CPython 3.11 to 3.13 (benchmarks/formatter.py)."""
    parts = _escaped_line.split(_escape(data))
    matched = len(parts) // 4
    between = parts[0::4]  # what stands between matched lines: nothing, or lines of another shape
    joints = [_END + _BEFORE_LEVEL] * (matched + 1)
    lines, blank = matched, 0
    for index in compress(range(matched + 1), between):
        rendered = _render_unknown(between[index])
        joints[index] = _END + rendered.payload + _BEFORE_LEVEL
        lines += rendered.lines
        blank += rendered.blank
    joints[0] = joints[0][len(_END) :]
    joints[-1] = joints[-1][: -len(_BEFORE_LEVEL)]
    out = [_BEFORE_MESSAGE] * (6 * matched + 1)
    out[0::6] = joints
    out[1::6] = _plain_levels(parts[2::4])
    out[3::6] = parts[3::4]
    out[4::6] = [_BEFORE_TIMESTAMP] * matched
    out[5::6] = parts[1::4]
    return Rendered(b"".join(out), lines, blank)


def _escape(data: bytes) -> bytes:
    """Escape for JSON everything but the newlines; `\\r\\n` becomes a newline first."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    data = data.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\t", b"\\t")
    if len(data.translate(None, _CONTROL_BYTES)) != len(data):
        data = _CONTROL.sub(lambda match: _CONTROL_ESCAPES[match[0]], data)
    return data


def _plain_levels(levels: list[bytes]) -> list[bytes]:
    """Upper-case levels and free them from `[]` and `:`, once per distinct spelling."""
    plain = {level: level.strip(b"[]:").upper() for level in set(levels)}
    if all(spelling == level for spelling, level in plain.items()):
        return levels
    return [plain[level] for level in levels]


def _render_unknown(escaped: bytes) -> Rendered:
    """Render lines of another shape, already escaped, as whole messages."""
    escaped, blank = _escaped_blank_line.subn(b"", escaped)
    if not escaped:
        return Rendered(b"", 0, blank)
    body = escaped[:-1].replace(b"\n", _AFTER_UNKNOWN + _BEFORE_UNKNOWN)
    return Rendered(_BEFORE_UNKNOWN + body + _AFTER_UNKNOWN, escaped.count(b"\n"), blank)
