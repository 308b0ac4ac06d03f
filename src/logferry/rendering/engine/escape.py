"""Escapes lines for JSON, a whole chunk at a time, and unescapes single lines.

Escaped lines have no control character except the newline at the end of each line, and no quote without a backslash
before it. So a pattern can parse escaped lines, and what it matches goes into JSON strings unchanged.
"""

import json
from typing import Final

from logferry import speedups
from logferry.protocol.patterns import compile_pattern

NEWLINE: Final = b"\n"

# Characters beyond ASCII stay as they are. All records share one encoder; `json.dumps` would make one for each.
_encode: Final = json.JSONEncoder(ensure_ascii=False).encode

BOM: Final = b"\xef\xbb\xbf"

# A line of nothing but these is blank. The other white space of Unicode does not count.
WHITE_SPACE: Final = " \t\n\r\v\f"

_CONTROL: Final = compile_pattern(rb"[\x00-\x08\x0b-\x1f]")
_CONTROL_ESCAPES: Final = {bytes([code]): json.dumps(chr(code))[1:-1].encode() for code in range(0x20)}
_CONTROL_BYTES: Final = bytes(code for code in range(0x20) if code not in (0x09, 0x0A))

# They begin with a newline because `re` finds a literal first byte ten times as quickly as `^`.
_escaped_blank_line: Final = compile_pattern(rb"\n(?: |\\[trf]|\\u000b)*+(?=\n)")
_raw_blank_line: Final = compile_pattern(rb"\n[ \t\r\v\f]*+(?=\n)")


def with_plain_newlines(data: bytes, inner_newline: bytes) -> bytes:
    r"""Replace every `\r\n` by a newline, inside events too."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
        if inner_newline != NEWLINE:
            data = data.replace(b"\r" + inner_newline, inner_newline)
    return data


def escape(data: bytes, inner_newline: bytes = NEWLINE) -> bytes:
    r"""Escape for JSON everything but the newlines; `\r\n` becomes a newline first.

    `inner_newline` stands for newlines inside an event, and becomes `\n` in two bytes.
    """
    return escape_characters(with_plain_newlines(data, inner_newline), inner_newline)


def escape_texts(texts: list[bytes], inner_newline: bytes = NEWLINE) -> list[bytes]:
    """Escape texts without newlines."""
    return escape_characters(b"\n".join(texts), inner_newline).split(b"\n")


def escape_characters(data: bytes, inner_newline: bytes) -> bytes:
    """Escape for JSON everything but the newlines, including all carriage returns."""
    if speedups.compiled and data.endswith(NEWLINE):
        return speedups.compiled.escape(data, inner_newline)
    data = data.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\t", b"\\t")
    if inner_newline != NEWLINE:
        data = data.replace(inner_newline, b"\\n")
    if len(data.translate(None, _CONTROL_BYTES)) != len(data):
        data = _CONTROL.sub(lambda match: _CONTROL_ESCAPES[match[0]], data)
    return data


def unescape(escaped: bytes) -> str:
    """Return the text of one escaped line, given without its newline."""
    text = escaped.decode()
    return str(json.loads(f'"{text}"')) if "\\" in text else text


def to_json(value: object) -> str:
    """Return the JSON of a value, in one line."""
    return _encode(value)


def without_blank_lines(lines: bytes, *, is_escaped: bool) -> tuple[bytes, int]:
    """Return the lines that are not blank, and the number of blank lines."""
    blank_line = _escaped_blank_line if is_escaped else _raw_blank_line
    kept, blank = blank_line.subn(b"", b"\n" + lines)
    return kept[1:], blank
