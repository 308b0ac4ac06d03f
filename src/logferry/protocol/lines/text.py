"""Which lines are UTF-8: both ends must find the lines that are not, without looking at every line."""

from collections.abc import Iterator
from typing import Final

from logferry import speedups

# Decoded text takes up to four times the space of its bytes. Small pieces stay in the processor's cache (three times as
# fast as a whole chunk) and do not fragment glibc's heap (a client grew to 200 MB after two million lines). Each
# decoding error also copies everything that was to be decoded: garbage on every line must not cost the square of its
# length.
_WINDOW_BYTES: Final = 16 * 1024


def runs_by_validity(lines: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bool, int, int]]:
    """Cut complete lines, each ended by a newline, into runs: all, or those of a part.

    Yields (True, start, end) for each run of consecutive UTF-8 lines, and (False, start, end) for each single line that
    is not UTF-8.
    """
    end = len(lines) if end is None else end
    while (bad := first_undecodable(lines, start, end)) < end:
        bad_line = lines.rfind(b"\n", start, bad) + 1 or start
        after = lines.index(b"\n", bad) + 1
        if bad_line > start:
            yield True, start, bad_line
        yield False, bad_line, after
        start = after
    if start < end:
        yield True, start, end


def first_undecodable(lines: bytes, start: int, end: int) -> int:
    """Return the offset of the first byte from `start` on that is not UTF-8, or `end`; both are ends of lines."""
    if speedups.compiled:
        return speedups.compiled.find_undecodable(lines, start, end)
    if end - start == len(lines) and lines.isascii():
        return end
    view = memoryview(lines)
    while start < end:
        window_end = lines.find(b"\n", start + _WINDOW_BYTES, end) + 1 or end
        try:
            str(view[start:window_end], "utf-8")
        except UnicodeDecodeError as error:
            return start + error.start
        start = window_end
    return end
