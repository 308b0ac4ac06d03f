"""Finds the encoding of a file by the bytes that its text begins with.

Owns which bytes are looked at, and when they are enough: no line is to be read in an encoding that more of these bytes
would have changed. Must never decode a file.
"""

import sys
from typing import NamedTuple

from logferry.client.files.content.holes import NUL
from logferry.client.files.lines.line_reader import SourceFile
from logferry.rendering.encodings import BEGINNING_BYTES, encoding_of


class FoundEncoding(NamedTuple):
    """The encoding of a file, which holds for its lines before `until`.

    `is_final` says that it holds for everything that will follow: the file has enough text.
    """

    name: str
    is_final: bool = True
    until: int = sys.maxsize


def find_encoding(file: SourceFile, configured: str, *, ends: bool) -> FoundEncoding:
    """Return the encoding that the text of a file begins with, otherwise the configured one. Raises OSError.

    `ends` says that the file will have no bytes but those that it has.
    """
    begin = file.text_begin
    beginning = file.peek(begin, BEGINNING_BYTES)
    if file.offset > begin and not beginning.strip(NUL):
        if not beginning:  # a pipe, whose first bytes are no longer kept
            return FoundEncoding(file.rendering.encoding)
        begin = file.offset  # an earlier run has passed the hole that the file begins with
        beginning = file.peek(begin, BEGINNING_BYTES)
    name = encoding_of(beginning, configured)
    if beginning and not beginning.strip(NUL):
        return FoundEncoding(name, is_final=False)  # a hole is read alike in every encoding
    if len(beginning) < BEGINNING_BYTES and file.offset == begin and not ends:
        return FoundEncoding(name, is_final=False, until=begin + (0 if NUL in beginning else len(beginning)))
    return FoundEncoding(name)
