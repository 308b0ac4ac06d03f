"""What messages have in common: numbers, hashes, UUIDs and texts in quotes become placeholders, and the rest stays.

Works on messages as they are stored, escaped for JSON. A pattern covers the first line of a message, at most its first
256 bytes and what begins there. The compiled part (src/native/message_patterns.c) does the same for whole chunks; this
is the reference. Pure.
"""

import re
from typing import Final

PATTERN_COVERS: Final = 256

# The longest text in quotes that is replaced. The shortest hash: a word of hexadecimal digits, some of them letters.
_MOST_QUOTED: Final = 256
_LEAST_HASH: Final = 6

_WORD: Final = rb"0-9A-Za-z_\x80-\xff"
_HEX: Final = rb"[0-9A-Fa-f]"
_UUID: Final = re.compile(rb"%(h)s{8}-%(h)s{4}-%(h)s{4}-%(h)s{4}-%(h)s{12}(?![%(w)s])" % {b"h": _HEX, b"w": _WORD})
_HASH: Final = re.compile(
    rb"(?:0[xX]%(h)s++|(?=[0-9]*+[A-Fa-f])(?=[A-Fa-f]*+[0-9])%(h)s{%(least)d,}+)(?![%(w)s])"
    % {b"h": _HEX, b"w": _WORD, b"least": _LEAST_HASH}
)
_NUMBER: Final = re.compile(rb"[0-9]++(?:[.,][0-9]++)*+")
_ESCAPE: Final = re.compile(rb"\\(?:u.{4}|.)", re.DOTALL)
_END_OF_QUOTED: Final = {
    b"'": re.compile(rb"(?:[^\\']|\\[^n])++'(?![%s])" % _WORD, re.DOTALL),
    b'\\"': re.compile(rb'(?:[^\\]|\\[^n"])++\\"(?![%s])' % _WORD, re.DOTALL),
}
_QUOTE: Final = re.compile(rb"'|\\\"")

# What is copied as it is: the rest of a word up to the next digit, or what lies between words.
_LETTERS: Final = re.compile(rb"[A-Za-z_\x80-\xff]++")
_BETWEEN: Final = re.compile(rb"[^%s\\']++" % _WORD, re.DOTALL)
_REST_OF_CHARACTER: Final = re.compile(rb"[\x80-\xbf]{,3}")


def pattern_of(message: bytes) -> bytes:
    """Return the pattern of a message, both escaped for JSON."""
    found: list[bytes] = []
    at, stop, is_within_word = 0, min(len(message), PATTERN_COVERS), False
    while at < stop and message[at : at + 2] != rb"\n":
        at, part, is_within_word = _next_part(message, at, stop, is_within_word)
        found.append(part)
    rest = _REST_OF_CHARACTER.match(message, at)
    return b"".join([*found, rest[0] if rest else b""])


def _next_part(message: bytes, at: int, stop: int, is_within_word: bool) -> tuple[int, bytes, bool]:
    """Return where the part that begins at `at` ends, what stands for it, and whether a word goes on behind it."""
    if not is_within_word and (end := _end_of_quoted(message, at)):
        return end, b"<text>", False
    if not is_within_word and (match := _UUID.match(message, at)):
        return match.end(), b"<uuid>", True
    if not is_within_word and (match := _HASH.match(message, at)):
        return match.end(), b"<hex>", True
    if match := _NUMBER.match(message, at):
        return match.end(), b"<n>", True
    if match := _ESCAPE.match(message, at):
        return match.end(), match[0], False
    if match := _BETWEEN.match(message, at, stop):
        return match.end(), match[0], False
    if match := _LETTERS.match(message, at, stop):
        return match.end(), match[0], True
    return at + 1, message[at : at + 1], False


def _end_of_quoted(message: bytes, at: int) -> int:
    """Return where the text in quotes ends that begins at `at`; 0 if none does."""
    quote = _QUOTE.match(message, at)
    if not quote:
        return 0
    most = quote.end() + _MOST_QUOTED + len(quote[0])
    end = _END_OF_QUOTED[quote[0]].match(message, quote.end(), most + 1)  # one byte more: no word may follow
    return end.end() if end and end.end() < most else 0
