"""The journal of a segment, from which a lost ledger can be made again (rebuild.py): `<segment>.journal` beside it.

Layout: a line for each entry, `<CRC-32 of the rest as 8 hexadecimal digits> <JSON list>`. The first item is the kind:

    ["j", version, store id, path of the segment]
    ["g", identity's folder, host, path]                            the log of the segment (log_names.py)
    ["s", source, client, host, path]                               before the first other entry of a source
    ["e", source, start, end, lines, crc32, position, bytes]        an extent; one with the same start replaces it
    ["p", source, committed, lines, crc32]                          how far a source is stored
    ["l", source, start, end, reason, is lost]                      a loss
    ["w", source, start, last look, noticed, reason]                an unknown window
    ["t", bytes, lines, crc32]                                      what the segment holds; ends what was added together

Entries are appended after the ledger has recorded them and before they are acked, and are not synced: a crash of the
machine may cost the end, and the next start completes it from the ledger (journals.py). A line that does not have its
CRC-32 is ignored. Bytes without an extent are lines of the plain protocol. A later version is not read. A new segment
has its entries in a journal that it shares with others (shared_journal.py); JournalFiles reads both.
"""

import contextlib
import errno
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from logferry.server.storage.disk.files.regular import open_file, open_sized
from logferry.server.storage.log_names import LogName
from logferry.server.storage.records import ExtentRow, LossRow, SourceRow, WindowRow

VERSION: Final = 1
_SUFFIX: Final = ".journal"

# The longest entry is a source whose path has 4096 characters, of twelve bytes each in JSON.
MAX_LINE_BYTES: Final = 64 * 1024

MAX: Final = 2**63 - 1

_APPENDING: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT

_crc32: Final = zlib.crc32

# What json.dumps does with a string, at a tenth of the cost: a thousand new segments have ten thousand strings.
_quoted: Final = json.encoder.encode_basestring_ascii

# The types of the items after the kind. Every number is from 0 to 2^63 - 1.
_SHAPES: Final[dict[str, tuple[type, ...]]] = {
    "j": (int, str, str),
    "g": (str, str, str),
    "s": (str, str, str, str),
    "e": (str, int, int, int, int, int, int),
    "p": (str, int, int, int),
    "l": (str, int, int, str, int),
    "w": (str, int, int, int, str),
    "t": (int, int, int),
    "x": (str,),
}


class Total(NamedTuple):
    """What a segment holds."""

    bytes: int
    lines: int
    crc32: int


class State(NamedTuple):
    """How far a source is stored."""

    committed: int
    lines: int
    crc32: int


class Origin(NamedTuple):
    """Whose a source is."""

    client: str
    host: str
    path: str


@dataclass(slots=True)
class Journal:
    """What entries of a journal say. Extents name no segment: their `segment` is 0."""

    sources: dict[str, Origin] = field(default_factory=dict)
    extents: dict[tuple[str, int], ExtentRow] = field(default_factory=dict)
    states: dict[str, list[State]] = field(default_factory=dict)
    losses: dict[LossRow, None] = field(default_factory=dict)
    windows: dict[WindowRow, None] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[list[Any]]) -> "Journal":
        """Return what entries say; those that begin or end something are left out."""
        journal = cls()
        for entry in entries:
            _add(journal, entry)
        return journal


def journal_path(segment: Path) -> Path:
    """Return where the journal of a segment is."""
    return segment.with_name(journal_name(segment.name))


def journal_name(segment: str) -> str:
    """Return the name of the journal of a segment."""
    return segment + _SUFFIX


def segment_of_journal(file_name: str) -> str:
    """Return the name of the segment that a journal belongs to; "" if the name is not that of a journal."""
    return file_name.removesuffix(_SUFFIX) if file_name.endswith(_SUFFIX) else ""


def open_journal(root: Path, segment: str) -> tuple[int, int]:
    """Open the journal of a segment below `root` to append to it, and return its size, too. Raises OSError."""
    return open_sized(journal_name(f"{root}/{segment}"), _APPENDING)  # making a Path takes longer than opening the file


# --- writing


def begin_entry(store_id: str, segment: str) -> bytes:
    """Return the first entry of a journal."""
    return _line(f'"j",{VERSION},{_quoted(store_id)},{_quoted(segment)}')


def log_entry(log: LogName) -> bytes:
    """Return the entry that says which log a segment belongs to."""
    return _line(f'"g",{_quoted(log.identity)},{_quoted(log.host)},{_quoted(log.path)}')


def source_entry(source: str, origin: Origin) -> bytes:
    """Return the entry that says whose a source is."""
    return _line(f'"s",{_quoted(source)},{",".join(map(_quoted, origin))}')


def extent_entry(source: str, row: ExtentRow) -> bytes:
    """Return the entry of an extent."""
    return _line(f'"e",{_quoted(source)},{row.start},{row.end},{row.lines},{row.crc32},{row.position},{row.bytes}')


def state_entry(source: str, row: SourceRow | State) -> bytes:
    """Return the entry that says how far a source is stored."""
    return _line(f'"p",{_quoted(source)},{row.committed},{row.lines},{row.crc32}')


def loss_entry(row: LossRow) -> bytes:
    """Return the entry of a loss."""
    return _line(f'"l",{_quoted(row.source)},{row.start},{row.end},{_quoted(row.reason)},{int(row.is_lost)}')


def window_entry(row: WindowRow) -> bytes:
    """Return the entry of an unknown window."""
    numbers = f"{row.start},{row.last_look},{row.noticed}"
    return _line(f'"w",{_quoted(row.source)},{numbers},{_quoted(row.reason)}')


def total_entry(size: int, lines: int, crc32: int) -> bytes:
    """Return the entry that ends what was added together."""
    return _line(f'"t",{size},{lines},{crc32}')


def settled_entry(segment: str) -> bytes:
    """Return the entry of the shared journal after which it has nothing about a segment."""
    return _line(f'"x",{_quoted(segment)}')


def _line(items: str) -> bytes:
    data = f"[{items}]".encode()
    return b"%08x %s\n" % (_crc32(data), data)


# A thread that reads lines lets others run after this many: about 200 us of work (telemetry/pieces.py).
LINES_PER_PIECE: Final = 32

NOTHING: Final = total_entry(0, 0, 0)  # what a new segment holds


# --- reading


def journal_lines(segment: Path, *, size: int = MAX) -> Iterator[bytes]:
    """Yield the lines of the journal of a segment, of its first `size` bytes; none if there is none. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), open(open_file(journal_path(segment)), "rb") as file:
        while line := file.readline(min(MAX_LINE_BYTES, size)):
            size -= len(line)
            yield line


def refuse_later_version(entry: list[Any]) -> None:
    """Raise OSError if an entry begins a journal of a later version, which is not to be written anew."""
    if entry[0] == "j" and entry[1] != VERSION:
        raise OSError(errno.EBADMSG, "a later version wrote it", entry[3])


def journal_total(segment: Path) -> Total | None:
    """Return the last total in the journal of a segment, from its end alone. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), open(open_file(journal_path(segment)), "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 256))
        for line in reversed(file.read(256).splitlines(keepends=True)):
            if (entry := parsed(line)) and entry[0] == "t":
                return Total(*entry[1:])
        return last_total(journal_lines(segment))
    return None


def last_total(lines: Iterable[bytes]) -> Total | None:
    """Return what lines say last that a segment holds; None if they do not, or are of a later version."""
    total = None
    for line in lines:
        entry = parsed(line)
        if entry and entry[0] == "j" and entry[1] != VERSION:
            return None
        if entry and entry[0] == "t":
            total = Total(*entry[1:])
    return total


def is_intact(line: bytes) -> bool:
    """Whether a line is as it was written."""
    try:
        return line.endswith(b"\n") and line[8:9] == b" " and int(line[:8], 16) == _crc32(line[9:-1])
    except ValueError:
        return False


def parsed(line: bytes) -> list[Any] | None:
    """Return the entry of a line, with its kind; None if it is damaged or is not an entry."""
    if not is_intact(line):
        return None
    try:
        entry = json.loads(line[9:-1])
    except (ValueError, RecursionError):
        return None
    return entry if _is_entry(entry) else None


def _is_entry(entry: Any) -> bool:
    if type(entry) is not list or not entry or type(entry[0]) is not str:
        return False
    shape = _SHAPES.get(entry[0])
    if shape is None or len(entry) != len(shape) + 1:
        return False
    return all(_is_item(item, kind) for item, kind in zip(entry[1:], shape, strict=True))


def _is_item(item: Any, kind: type) -> bool:
    return type(item) is kind and (not isinstance(item, int) or 0 <= item <= MAX)


def _add(journal: Journal, entry: list[Any]) -> None:
    kind, source, *rest = entry
    match kind:  # what begins or ends something says nothing more
        case "s":
            journal.sources[source] = Origin(*rest)
        case "e":
            start, end, lines, crc32, position, size = rest
            journal.extents[source, start] = ExtentRow(start, end, lines, crc32, 0, position, size)
        case "p":
            journal.states[source] = [*journal.states.get(source, ())[-3:], State(*rest)]
        case "l":
            start, end, reason, is_lost = rest
            journal.losses[LossRow(source, start, end, reason, bool(is_lost))] = None
        case "w":
            start, last_look, noticed, reason = rest
            journal.windows[WindowRow(source, start, last_look, noticed, reason)] = None
