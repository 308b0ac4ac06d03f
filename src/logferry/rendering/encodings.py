"""Reads text that is not UTF-8: where its lines end, and what it is in UTF-8 (`--encoding`; docs/protocol.md, F58).

Readers of files find whole lines by these functions and hand them over in UTF-8, so nothing behind a reader knows of
encodings; positions stay those of the file. Pure: bytes in, bytes out. Nothing is lost on the way: what is not text in
an encoding becomes bytes that are not UTF-8, and `written` makes of those what the file has.

A position in UTF-16 is of a character only at an even distance from the beginning, so most functions are given
`shift`: how many bytes of `data` (0 or 1) belong to a character that begins before it.
"""

import codecs
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Protocol

from logferry.model.encoding_names import CP1252, LATIN_1, UTF_8, UTF_16, UTF_16_BE, UTF_16_LE
from logferry.model.render_spec import LONGEST_LINE_BYTES
from logferry.rendering.engine.escape import BOM

# How many first bytes of a file show its encoding: those of UTF-32 begin as those of UTF-16 do.
BEGINNING_BYTES: Final = 4

_NUL: Final = b"\0"
_ANY_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# Half a character of UTF-16: FF, which is nowhere in UTF-8, and the byte's two halves, so that no byte is a newline.
_HALF: Final = re.compile(rb"\xff([\x80-\x8f])([\x80-\x8f])")


class TextEncoding(Protocol):
    """How a file has its text. `width` is how many bytes a newline takes."""

    width: int
    max_line_bytes: int

    def line_end(self, data: bytes, shift: int) -> int:
        """Return where the first line of `data` ends, behind its newline; 0 if it does not end there."""

    def lines_end(self, data: bytes, shift: int) -> int:
        """Return where the last whole line of `data` ends, behind its newline; 0 if none does."""

    def decoded(self, data: bytes, shift: int) -> bytes:
        """Return the text of `data` in UTF-8, with the same number of newlines."""

    def encoded_length(self, text: bytes) -> int:
        """Return how many bytes of the file have become `text`: whole lines, the first of what `decoded` returned."""

    def written(self, event: bytes) -> tuple[str, bytes]:
        """Return the text of an event that is not UTF-8, with U+FFFD for what is not text, and the file's bytes."""


class Utf8:
    """The encoding of every file unless something else is known: its bytes are handed over as they are."""

    width = 1
    max_line_bytes = LONGEST_LINE_BYTES

    def line_end(self, data: bytes, shift: int) -> int:
        """See TextEncoding."""
        return data.find(b"\n") + 1

    def lines_end(self, data: bytes, shift: int) -> int:
        """See TextEncoding."""
        return data.rfind(b"\n") + 1

    def decoded(self, data: bytes, shift: int) -> bytes:
        """See TextEncoding."""
        return data

    def encoded_length(self, text: bytes) -> int:
        """See TextEncoding."""
        return len(text)

    def written(self, event: bytes) -> tuple[str, bytes]:
        """See TextEncoding."""
        return event.decode("utf-8", "replace"), event


class _SingleByte(Utf8):
    """An encoding in which every byte is a character."""

    def __init__(self, codec: str) -> None:
        # What a code page leaves undefined is a control character, as on the systems that it comes from.
        self._table = "".join(_character(codec, code) for code in range(256))

    def decoded(self, data: bytes, shift: int) -> bytes:
        """See TextEncoding."""
        return data if data.isascii() else codecs.charmap_decode(data, "strict", self._table)[0].encode()

    def encoded_length(self, text: bytes) -> int:
        """See TextEncoding."""
        return len(text.decode())


class _Utf16:
    """UTF-16 in one byte order. A surrogate without its partner is kept, encoded as UTF-8 would encode it."""

    width = 2
    # A reader needs the bytes of a line, and what keeps a stream (ReplayBuffer) keeps no more than LONGEST_LINE_BYTES.
    max_line_bytes = LONGEST_LINE_BYTES // 2 - 8

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._newline = "\n".encode(codec)

    def line_end(self, data: bytes, shift: int) -> int:
        """See TextEncoding."""
        at = data.find(self._newline)
        while at >= 0 and (at ^ shift) & 1:
            at = data.find(self._newline, at + 1)
        return at + 2 if at >= 0 else 0

    def lines_end(self, data: bytes, shift: int) -> int:
        """See TextEncoding."""
        at = data.rfind(self._newline)
        while at >= 0 and (at ^ shift) & 1:
            at = data.rfind(self._newline, 0, at + 1)
        return at + 2 if at >= 0 else 0

    def decoded(self, data: bytes, shift: int) -> bytes:
        """See TextEncoding."""
        end = len(data) - (len(data) - shift) % 2
        text = data[shift:end].decode(self._codec, "surrogatepass").encode("utf-8", "surrogatepass")
        return (
            b"".join((*map(_half, data[:shift]), text, *map(_half, data[end:]))) if shift or end < len(data) else text
        )

    def encoded_length(self, text: bytes) -> int:
        """See TextEncoding."""
        texts, halves = _parts(text)
        return sum(len(self._encoded(part)) for part in texts) + len(halves)

    def written(self, event: bytes) -> tuple[str, bytes]:
        """See TextEncoding."""
        texts, halves = _parts(event)
        try:
            pieces = [self._encoded(text) for text in texts]
        except UnicodeDecodeError:  # the user redacts half a character
            return event.decode("utf-8", "replace"), event
        shown = [_ANY_SURROGATE.sub("\ufffd", text.decode("utf-8", "surrogatepass")) for text in texts]
        return "\ufffd".join(shown), b"".join(_interleaved(pieces, halves))

    def _encoded(self, text: bytes) -> bytes:
        return text.decode("utf-8", "surrogatepass").encode(self._codec, "surrogatepass")


def without_ending(encoding: TextEncoding, line: bytes, shift: int) -> bytes:
    """Return a line without its newline, or without the single byte that marks where damage has ended it."""
    if encoding.lines_end(line, shift) == len(line):
        return line[: -encoding.width]
    return line.removesuffix(b"\n")


def _character(codec: str, code: int) -> str:
    try:
        return bytes([code]).decode(codec)
    except UnicodeDecodeError:
        return chr(code)


def _half(byte: int) -> bytes:
    """Return what half a character, at the beginning or the end of what is read, becomes."""
    return bytes([0xFF, 0x80 | byte >> 4, 0x80 | byte & 0x0F])


def _parts(event: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the texts of an event, and the halves of characters between them."""
    parts = _HALF.split(event) if b"\xff" in event else [event]
    halves = [
        bytes([(high[0] & 0x0F) << 4 | low[0] & 0x0F]) for high, low in zip(parts[1::3], parts[2::3], strict=True)
    ]
    return parts[::3], halves


def _interleaved(texts: Sequence[bytes], halves: Sequence[bytes]) -> list[bytes]:
    return [part for pair in zip(texts, [*halves, b""], strict=True) for part in pair]


def bytes_in_file(max_line_bytes: int) -> int:
    """Return of how many bytes a line may be in a file, in any encoding, that has `max_line_bytes` in UTF-8."""
    return max(max_line_bytes, 2 * min(max_line_bytes, _Utf16.max_line_bytes) + 4)


@lru_cache
def encoding_named(name: str) -> TextEncoding:
    """Return the encoding of that name, which a range may have. Raises ValueError for any other."""
    if name == UTF_8:
        return Utf8()
    if name in (UTF_16_LE, UTF_16_BE):
        return _Utf16(name)
    if name in (LATIN_1, CP1252):
        return _SingleByte(name)
    raise ValueError(f"unknown encoding {name!r}")


def encoding_of(beginning: bytes, configured: str) -> str:
    """Return the name of the encoding of a file that begins with these bytes, at most BEGINNING_BYTES.

    A byte order mark decides, whatever is configured. A program that goes on writing after a truncation writes none:
    so unless an encoding is configured, two characters of ASCII, each with a NUL beside it, decide too.
    """
    if beginning.startswith(BOM):
        return UTF_8
    if beginning.startswith(b"\xff\xfe") and beginning[2:] != b"\0\0":
        return UTF_16_LE
    if beginning.startswith(b"\xfe\xff"):
        return UTF_16_BE
    if configured in (UTF_8, UTF_16):
        if _is_ascii(beginning[::2]) and beginning[1::2] == b"\0\0":
            return UTF_16_LE
        if _is_ascii(beginning[1::2]) and beginning[::2] == b"\0\0":
            return UTF_16_BE
    return UTF_16_LE if configured == UTF_16 else configured


def _is_ascii(characters: bytes) -> bool:
    return _NUL not in characters and characters.isascii()
