"""Makes text from outside safe for a terminal and for one line of a log.

File names, host names, reasons from peers and pieces of lines may hold newlines that forge log lines, escape sequences
that control a terminal, or bidirectional controls that reorder what a reader sees. `printable` and `quoted` escape
them. This module owns the form of the escapes. It is pure and never touches a stream: callers name the encoding. Every
package may use it.
"""

import json
import re
from typing import Final

# Reasons from a peer are shown, but the peer must not decide how long a log line is. The wire has a bound of its own
# (protocol/plain/acks.py).
SHOWN_REASON_CHARS: Final = 200

_CUT: Final = "..."
_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# `str.isprintable` rejects all spaces but U+0020. The others are harmless, and names in many languages use them.
_SPACES: Final = frozenset(
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
)

_PLAIN: Final = re.compile(r"[ -~]*").fullmatch
_PLAIN_LINES: Final = re.compile(rb"[ -~\n]*").fullmatch
_NOT_PLAIN: Final = re.compile(r"[^ -~\n]")
_UNITS: Final = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)|.", re.DOTALL).finditer


def printable(text: str | bytes, *, max_chars: int | None = None, encoding: str = "utf-8") -> str:
    r"""Return `text` as one line without control or format characters, in characters that `encoding` has.

    Control characters become escapes such as `\n` and `\x1b`, other unsafe characters escapes such as `\u202e`, and
    bytes that are not UTF-8 (in bytes, or in names from `os.fsdecode`) escapes such as `\xff`. Backslashes stay, so
    printable text is returned unchanged, and a second call changes nothing. `quoted` is the unambiguous form.

    Text longer than `max_chars` (at least 3) is cut; its end becomes `...`, which counts.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if not _PLAIN(text):
        # However much a peer sends, only as much as can be shown is examined.
        text = _escaped(text if max_chars is None else text[: max_chars + 1], encoding)
    if max_chars is not None and len(text) > max_chars:
        return _shortened(text, max_chars)
    return text


def quoted(text: str | bytes, *, max_chars: int | None = None, encoding: str = "utf-8") -> str:
    r"""Return `text` in single quotes, for names in messages. Different texts look different, unless they are cut.

    As `printable`, but backslashes and single quotes are escaped too. `max_chars` does not count the quotes.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{printable(escaped, max_chars=max_chars, encoding=encoding)}'"


def printable_ndjson(lines: bytes) -> bytes:
    """Return lines of JSON that mean the same and that a terminal shows as they are, whatever is in their strings.

    Control characters cannot be in a string of JSON; between values, they are white space.
    """
    if _PLAIN_LINES(lines):
        return lines
    text = lines.decode("utf-8", "surrogateescape")
    return _NOT_PLAIN.sub(_json_escape, text).encode()


def _json_escape(match: re.Match[str]) -> str:
    char = match[0]
    if char < " ":
        return " "
    return char if char.isprintable() or char in _SPACES else json.dumps(char).strip('"').replace("\x7f", "\\u007f")


def _escaped(text: str, encoding: str) -> str:
    if not text.isprintable():
        text = "".join(char if char.isprintable() or char in _SPACES else _escape(char) for char in text)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _escape(char: str) -> str:
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _shortened(text: str, max_chars: int) -> str:
    """Cut before an escape rather than inside it: part of an escape would look like another escape."""
    end = 0
    for unit in _UNITS(text):
        if unit.end() > max_chars - len(_CUT):
            break
        end = unit.end()
    return text[:end] + _CUT


def moment(unix_time: float) -> str:
    """Return a time in the local time zone, to the second, with the zone: "2026-01-15 08:23:45+01:00".

    A number from outside may be no time of the calendar: it is shown as "an impossible time".
    """
    from datetime import datetime  # imported here: a client that starts needs no calendar

    try:
        return datetime.fromtimestamp(unix_time).astimezone().isoformat(sep=" ", timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return "an impossible time"


def in_seconds(duration_s: float) -> str:
    """Return a duration to two decimals, for a message: `3600 s`, `2 s`, `0.25 s`."""
    return f"{round(duration_s, 2):.12g} s"
