"""What makes logferry faster where it is there: its own compiled part, and the extra `logferry[fast]`.

The compiled part (_speedups.c) is built by `python3 tools/build_speedups.py` in a checkout, or by pip if a compiler is
at hand. Whatever it does is done in Python where it is missing, byte for byte the same, and slower. The extra is isal,
whose gzip is several times as fast as zlib's.

Nothing needs any of it. With `LOGFERRY_SPEEDUPS=0` in the environment it is left out.
"""

import gc
import importlib
import os
from functools import cache
from typing import Any, Final, Protocol

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


_IS_WANTED: Final = os.environ.get("LOGFERRY_SPEEDUPS") != "0"


def _load() -> Compiled | None:
    if not _IS_WANTED:
        return None
    try:
        from logferry import _speedups  # type: ignore[attr-defined]  # it need not be there
    except ImportError:
        return None
    compiled: Compiled = _speedups
    return compiled if _speedups.interface == _INTERFACE else None


compiled: Compiled | None = _load()


@cache
def isal_zlib() -> Any | None:
    """Return the module that can do what zlib does, or None. It is looked for when something is compressed first."""
    if not _IS_WANTED:
        return None
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return None


# Objects that come and go are counted to so many before they are searched for circles: what a process keeps in flight
# (batches, claims, answers) has none, and is gone by then.
_YOUNG_OBJECTS: Final = 20_000


def collect_less_garbage() -> None:
    """Spare Python's collector what is here to stay, and most of its runs: they take a tenth of a busy server's time.

    To be called once, when the modules are loaded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


# Twice a client's window, half of what a server may hold for one busy client and its store.
_KEPT_BYTES: Final = 16 * 1024 * 1024


def keep_freed_memory() -> None:
    """Let this process keep memory that it has freed, some megabytes, for the next chunk: that is quicker."""
    if compiled:
        compiled.keep_freed_memory(_KEPT_BYTES)
