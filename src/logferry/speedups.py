"""Optional parts that make Logferry faster: its own compiled part, and isal (the extra `logferry[fast]`).

`python3 tools/build_speedups.py` builds the compiled part (src/native) in a checkout; pip builds it if there is a
compiler. Without the compiled part, Python code produces the same bytes, more slowly. isal's gzip is several times as
fast as zlib's.

Nothing may require these parts. `LOGFERRY_SPEEDUPS=0` in the environment disables them.
"""

import gc
import importlib
import os
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol

# The version of the functions below. A compiled part with another version, from another checkout, is not used.
_INTERFACE: Final = 14


class Compiled(Protocol):
    """The functions of the compiled part.

    It also has `crc32` where the CPU makes that faster than zlib's, `fingerprint` and `find_text` unless it is older.

    `inner_newline` is the byte that stands for newlines inside events, or a newline if there are none. Lines must end
    with a newline.
    """

    def render_plain(self, data: bytes, inner_newline: bytes, /) -> tuple[bytes, int, int]:
        """Render lines in the plain format by rules 1; return NDJSON, record count, blank count. Raises ValueError."""

    def render_plain_2(
        self, data: bytes, inner_newline: bytes, has_own_levels: bool, program: object | None, /
    ) -> tuple[bytes, int, int, bytes, list[tuple[int, int]]]:
        """Render lines in the plain format by rules 2; return as `render_lines` does. Raises ValueError.

        `has_own_levels`: the user has added words that are levels. `program` renders the lines of rare layouts; without
        it, they are among the other lines.
        """

    def line_program(
        self,
        words: bytes,
        sets: bytes,
        shapes: bytes,
        tables: bytes,
        lists: bytes,
        kinds: bytes,
        pieces: bytes,
        texts: bytes,
        functions: tuple[Callable[[bytes | None], bytes], ...],
        knows_all: bool,
        /,
    ) -> object:
        """Return the program of a format, made of the parts that rendering/engine/compiled makes. Raises ValueError."""

    def render_lines(
        self, program: object, data: bytes, inner_newline: bytes, /
    ) -> tuple[bytes, int, int, bytes, list[tuple[int, int]]]:
        """Render lines by the program of their format; return NDJSON, record count, blank count. Raises ValueError.

        Then follow all other lines, none of them blank, escaped for JSON, and where their records belong: offsets in
        the NDJSON, each with a number of lines.
        """

    def render_access(
        self, program: object, data: bytes, inner_newline: bytes, /
    ) -> tuple[bytes, int, int, bytes, list[tuple[int, int]]]:
        """Do as `render_lines` does, for formats whose first kind of lines is that of access logs."""

    def render_syslog(
        self, program: object, data: bytes, inner_newline: bytes, /
    ) -> tuple[bytes, int, int, bytes, list[tuple[int, int]]]:
        """Do the same for the syslog format."""

    def render_raw(self, data: bytes, inner_newline: bytes, /) -> tuple[bytes, int, int]:
        """Render lines in the raw format; return NDJSON, record count, blank count. Raises ValueError."""

    def render_json(self, data: bytes, inner_newline: bytes, /) -> tuple[bytes, int, int, bytes, list[tuple[int, int]]]:
        """Render lines in the json format by rules 2; return as `render_lines` does. Raises ValueError."""

    def render_logfmt(
        self, data: bytes, inner_newline: bytes, /
    ) -> tuple[bytes, int, int, bytes, list[tuple[int, int]]]:
        """Render lines in the logfmt format by rules 2; return as `render_lines` does. Raises ValueError."""

    def cri_contents(self, data: bytes, inner_newline: bytes, /) -> tuple[bytes, bytes, bytes, int]:
        """Take what containers wrote out of lines in the cri format; return it, one line for each.

        Then follow the marks, which `with_runtime` needs; all lines that are unusual, or blank inside; and the number
        of blank lines. Raises ValueError.
        """

    def docker_contents(self, data: bytes, inner_newline: bytes, /) -> tuple[bytes, bytes, bytes, int]:
        """Do as `cri_contents` does, with lines in the docker format. No content has a newline inside."""

    def cri_are_whole(self, data: bytes, /) -> bool:
        """Return whether it is certain that no line in the cri format is a part other than the last."""

    def docker_are_whole(self, data: bytes, /) -> bool:
        """Do the same with lines in the docker format."""

    def with_runtime(
        self, payload: bytes, marks: bytes, with_own_keys: Callable[[bytes, bytes, bytes], bytes], /
    ) -> tuple[bytes, list[tuple[int, int]]]:
        """Add the time and the stream of each mark to the record of its content; return NDJSON, and the gaps in it.

        `with_own_keys` does that for a record that may use the names of these fields itself. Raises ValueError if there
        are not as many records as contents.
        """

    def escape(self, data: bytes, inner_newline: bytes, /) -> bytes:
        """Escape lines for JSON as `escape_characters` does. Raises ValueError."""

    def begin_with_timestamp(self, data: bytes, /) -> bytes:
        """Return one byte per line: 1 if it begins with a timestamp (`EVENT_START`), else 0. Raises ValueError."""

    def begin_like(self, data: bytes, program: bytes, /) -> bytes:
        """Return one byte per line: 1 if the program (`beginnings.program_of`) matches its beginning, 0 if not.

        2 stands for a line that Python must decide about. Raises ValueError.
        """

    def event_offsets(
        self, data: bytes, marks: bytes, max_lines: int, max_bytes: int, count: int, /
    ) -> tuple[int, int]:
        """Return where the first `count` events end (all of `data` if there are fewer), and where the last one begins.

        `marks` has one byte per line, which is true if the line begins an event. An event ends before it would exceed a
        limit. Raises ValueError.
        """

    def join_events(
        self, data: bytes, marks: bytes, max_lines: int, max_bytes: int, inner_newline: bytes, /
    ) -> tuple[bytes, int, int]:
        """Join the lines of each event; `marks` and the limits are those of `event_offsets`.

        Return the events, one per line, without the blank lines at their ends; the number of lines that were appended
        to the one before; and the number of blank lines that were dropped. Raises ValueError.
        """

    def select_events(
        self, data: bytes, include: tuple[bytes, ...], exclude: tuple[bytes, ...], inner_newline: bytes, /
    ) -> tuple[bytes, int]:
        """Return the blank events, and those that contain a text to include but none to exclude, one per line.

        Without texts to include, all are included. The second result is the number of the other events. A text has 1 to
        255 bytes. Raises ValueError.
        """

    def redact(self, data: bytes, name: str, /) -> tuple[bytes, int, list[tuple[int, int]]]:
        """Replace what the built-in redaction `name` finds in events, one per line; return them, and how many pieces.

        Then follow the start and end of each event that was left as it is, because it needs what Python knows of
        characters. Raises ValueError.
        """

    def find_undecodable(self, data: bytes, start: int, end: int, /) -> int:
        """Return the index of the first byte from `start` on that is not UTF-8, or `end` if all bytes are."""

    def canonical_run(self, payload: bytes, start: int, end: int, /) -> tuple[int, int, tuple[int, int, int]]:
        """Return the end of the run of lines from `start` on that look exactly as the plain format writes them.

        Then follow the number of these lines, and when their events happened (model/event_times.py): a form of
        timestamps that only Python reads is `UNREAD`. Raises ValueError if the range is not inside the payload.
        """

    def record_run(self, payload: bytes, start: int, end: int, /) -> tuple[int, int, tuple[int, int, int]]:
        """Return the end of the run of lines from `start` on that are certainly objects with level and message.

        The rest is as above.
        """

    def scan_record(self, data: bytes, start: int, end: int, state: bytearray, /) -> bool:
        """Do as `scan_record` in protocol/lines/long_lines.py does. Raises ValueError for a false part or state."""

    def count_records(self, data: bytes, parts: int, /) -> tuple[dict[bytes, int], list[tuple[int, int]]]:
        """Count stored lines as `count_lines` in reading/counting/line_counts.py does, by the parts of their keys.

        Then follow the start and end of each line that Python must count. Raises ValueError.
        """

    def crc32_joined(self, first: int, second: int, size: int, /) -> int:
        """Return the CRC-32 of two consecutive pieces, given the CRC-32 of each and the size of the second piece."""

    def end_of_lines(self, data: bytes, start: int, count: int, /) -> int:
        """Return where `count` lines, at least one, from `start` on end; the end of the data if it has fewer."""

    def keep_freed_memory(self, size: int, /) -> None:
        """Let malloc keep up to `size` freed bytes instead of returning them to the system."""


_IS_WANTED: Final = os.environ.get("LOGFERRY_SPEEDUPS") != "0"


def _load() -> Compiled | None:
    if not _IS_WANTED:
        return None
    try:
        from logferry import _speedups  # type: ignore[attr-defined]  # it may be missing
    except ImportError:
        return None
    compiled: Compiled = _speedups
    return compiled if _speedups.interface == _INTERFACE else None


compiled: Compiled | None = _load()


def warn_if_slow() -> None:
    """Log that an installation lacks the compiled part, unless it is disabled. Call this once, when logging is set up.

    Nothing is wrong with a checkout that lacks it: somebody builds it there when it is wanted.
    """
    if compiled is None and _IS_WANTED and not is_checkout():
        import logging  # here because commands that only read begin without it

        logging.getLogger(__name__).warning(
            "this installation lacks its compiled part, so it takes several times as much CPU time; to add it, "
            "install a C compiler and Python's headers, then install logferry again (LOGFERRY_SPEEDUPS=0 hides this)"
        )


def is_checkout() -> bool:
    """Whether this package is used where it is developed, and not installed."""
    return os.path.exists(os.path.join(os.path.dirname(__file__), "..", "..", "tools", "build_speedups.py"))


@cache
def isal_zlib() -> Any | None:
    """Return the module that replaces zlib, or None. Imported on the first call: not every process compresses."""
    if not _IS_WANTED:
        return None
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return None


# The collector searches for cycles after this many new objects. The objects that a process keeps in flight (batches,
# claims, answers) have no cycles, and are gone by then.
_YOUNG_OBJECTS: Final = 20_000


def collect_garbage_from_here() -> None:
    """Let Python's garbage collector run, if it did not, and exempt all existing objects from it: the modules stay."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def collect_less_garbage() -> None:
    """Exempt all existing objects from Python's garbage collector, and let the collector run less often.

    Its runs take a tenth of a busy server's time. Call this once, when the modules are loaded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


# Twice a client's window, and half of what a server may hold for one busy client and its store.
_KEPT_BYTES: Final = 16 * 1024 * 1024


def keep_freed_memory() -> None:
    """Let this process keep some megabytes of freed memory for the next chunk, which is faster than the system's."""
    if compiled:
        compiled.keep_freed_memory(_KEPT_BYTES)
