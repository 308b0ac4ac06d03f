"""Which lines are UTF-8: both ends must find the lines that are not, without looking at every line."""

from collections.abc import Iterator
from typing import Final

from logferry import speedups

# Decoded text takes up to four times the space of its bytes. Small pieces stay in the processor's cache (three times as
# fast as a whole chunk) and do not fragment glibc's heap (a client grew to 200 MB after two million lines). Each
# decoding error also copies everything that was to be decoded: garbage on every line must not cost the square of its
# length.
_WINDOW_BYTES: Final = 16 * 1024


def runs_by_validity(lines: bytes) -> Iterator[tuple[bool, int, int]]:
    """Cut complete lines, each ended by a newline, into runs.

    Yields (True, start, end) for each run of consecutive UTF-8 lines, and (False, start, end) for each single line that
    is not UTF-8.
    """
    find_undecodable = speedups.compiled.find_undecodable if speedups.compiled else _find_undecodable
    run = checked = 0  # where the current valid run begins; up to where lines are valid
    while (bad := find_undecodable(lines, checked)) < len(lines):
        start = lines.rfind(b"\n", run, bad) + 1 or run
        end = lines.index(b"\n", bad) + 1
        if start > run:
            yield True, run, start
        yield False, start, end
        run = checked = end
    if run < len(lines):
        yield True, run, len(lines)


def _find_undecodable(lines: bytes, start: int) -> int:
    """Return the offset of the first byte from `start` on that is not UTF-8, or the length; `start` begins a line."""
    if not start and lines.isascii():
        return len(lines)
    view = memoryview(lines)
    while start < len(lines):
        end = lines.find(b"\n", start + _WINDOW_BYTES) + 1 or len(lines)
        try:
            str(view[start:end], "utf-8")
        except UnicodeDecodeError as error:
            return start + error.start
        start = end
    return len(lines)
