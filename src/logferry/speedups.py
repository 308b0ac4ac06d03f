"""The compiled part of logferry (_speedups.c), where it was built: by `python3 tools/build_speedups.py` in a checkout,
or by pip if a compiler was at hand.

Nothing needs it. Whatever it does is done in Python where it is missing, byte for byte the same, and slower. With
`LOGFERRY_SPEEDUPS=0` in the environment it is left out.
"""

import os
from typing import Final, Protocol

# One that was built from another version of the source is none.
_INTERFACE: Final = 1


class Compiled(Protocol):
    """What the compiled part can do. Where the CPU has no instructions for it, there is no `crc32`: zlib is as fast."""

    def render_plain(self, data: bytes, joint: bytes, /) -> tuple[bytes, int, int]:
        """Render lines as PlainFormat.render does; return NDJSON, lines, blank lines. Raises ValueError."""

    def render_raw(self, data: bytes, joint: bytes, /) -> tuple[bytes, int, int]:
        """Do the same as RawFormat.render does. Raises ValueError."""

    def escape(self, data: bytes, joint: bytes, /) -> bytes:
        """Escape lines as escape_characters does. Raises ValueError."""

    def find_undecodable(self, data: bytes, start: int, /) -> int:
        """Return where the first byte is from `start` on that is not UTF-8; the length if all are."""

    def canonical_run(self, payload: bytes, start: int, end: int, /) -> tuple[int, int]:
        """Return where lines end that are as the plain format makes them, and how many they are. Raises ValueError."""

    def record_run(self, payload: bytes, start: int, end: int, /) -> tuple[int, int]:
        """Return where lines end that are surely objects with level and message, and how many. Raises ValueError."""

    def crc32_joined(self, first: int, second: int, size: int, /) -> int:
        """Return the CRC-32 of two pieces in a row, given theirs and the size of the second."""

    def keep_freed_memory(self, size: int, /) -> None:
        """Let malloc keep so many bytes that were freed."""


def _load() -> Compiled | None:
    if os.environ.get("LOGFERRY_SPEEDUPS") == "0":
        return None
    try:
        from logferry import _speedups  # type: ignore[attr-defined]  # it need not be there
    except ImportError:
        return None
    compiled: Compiled = _speedups
    return compiled if _speedups.interface == _INTERFACE else None


compiled: Compiled | None = _load()

# Twice a client's window, half of what a server may hold for one busy client and its store.
_KEPT_BYTES: Final = 16 * 1024 * 1024


def keep_freed_memory() -> None:
    """Let this process keep memory that it has freed, some megabytes, for the next chunk: that is quicker."""
    if compiled:
        compiled.keep_freed_memory(_KEPT_BYTES)
