"""Escaping lines for JSON, a whole chunk at a time, and the texts of lines that were escaped.

After escaping there is no control character but the newline at the end of each line, and no quote without a backslash
before it. So patterns can look for the structure of lines in it, and what they find can go into strings as it is.
"""

import json
from typing import Final

from logferry import speedups
from logferry.protocol.patterns import compile_pattern

NEWLINE: Final = b"\n"

# What makes a line blank. Text has more white space than this; it does not count.
WHITE_SPACE: Final = " \t\n\r\v\f"

_CONTROL: Final = compile_pattern(rb"[\x00-\x08\x0b-\x1f]")
_CONTROL_ESCAPES: Final = {bytes([code]): json.dumps(chr(code))[1:-1].encode() for code in range(0x20)}
_CONTROL_BYTES: Final = bytes(code for code in range(0x20) if code not in (0x09, 0x0A))

# They begin with a newline, because `re` looks for a literal first byte ten times as quickly as for `^`.
_escaped_blank_line: Final = compile_pattern(rb"\n(?: |\\[trf]|\\u000b)*+(?=\n)")
_raw_blank_line: Final = compile_pattern(rb"\n[ \t\r\v\f]*+(?=\n)")


def with_plain_newlines(data: bytes, joint: bytes) -> bytes:
    r"""Make newlines of all `\r\n`, those inside events too."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
        if joint != NEWLINE:
            data = data.replace(b"\r" + joint, joint)
    return data


def escape(data: bytes, joint: bytes = NEWLINE) -> bytes:
    r"""Escape for JSON everything but the newlines; `\r\n` becomes a newline first.

    `joint` stands for newlines inside an event, and becomes `\n` in two bytes.
    """
    return escape_characters(with_plain_newlines(data, joint), joint)


def escape_texts(texts: list[bytes], joint: bytes = NEWLINE) -> list[bytes]:
    """Escape texts without newlines."""
    return escape_characters(b"\n".join(texts), joint).split(b"\n")


def escape_characters(data: bytes, joint: bytes) -> bytes:
    """Escape for JSON everything but the newlines; carriage returns too, wherever they are."""
    if speedups.compiled and data.endswith(NEWLINE):
        return speedups.compiled.escape(data, joint)
    data = data.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\t", b"\\t")
    if joint != NEWLINE:
        data = data.replace(joint, b"\\n")
    if len(data.translate(None, _CONTROL_BYTES)) != len(data):
        data = _CONTROL.sub(lambda match: _CONTROL_ESCAPES[match[0]], data)
    return data


def unescape(escaped: bytes) -> str:
    """Return the text of one escaped line, given without its newline."""
    text = escaped.decode()
    return str(json.loads(f'"{text}"')) if "\\" in text else text


def without_blank_lines(lines: bytes, *, is_escaped: bool) -> tuple[bytes, int]:
    """Return whole lines without the blank ones among them, and how many these were."""
    blank_line = _escaped_blank_line if is_escaped else _raw_blank_line
    kept, blank = blank_line.subn(b"", b"\n" + lines)
    return kept[1:], blank
