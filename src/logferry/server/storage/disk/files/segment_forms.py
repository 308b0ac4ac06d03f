"""The files that a segment may have: the plain one, and a compressed one with `.gz` or `.zst` behind the same name.

Usually it has one of them, the one that the ledger records. A change from one to the other has both for a moment, and a
crash may leave both, or the one that the ledger does not record: a start finds these, and segment_forms.py settles
them. What is being written ends in `.new`, and is nobody's until it is renamed.

Somebody may have compressed a segment by hand, and kept the result beside it. A compressed file of the store begins as
no other program lets one begin. Never writes.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from logferry.server.storage.disk.files.regular import open_file
from logferry.server.storage.disk.files.segment_names import SegmentName, segment_name
from logferry.server.storage.records import Compression

SUFFIXES: Final[dict[Compression, str]] = {"": "", "gzip": ".gz", "zstd": ".zst"}

UNFINISHED: Final = ".new"

# How a compressed file begins. RFC 1952: deflate, an extra field of 24 bytes, no time, of no particular system.
# RFC 8878: a skippable frame of 24 bytes. Both begin with a mark (content/members.py).
MARK: Final = b"LF\x14\x00"
OPENINGS: Final[dict[Compression, bytes]] = {
    "gzip": b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x18\x00",
    "zstd": b"\x5b\x2a\x4d\x18\x18\x00\x00\x00",
}


def stored_path(segment: Path, compression: Compression) -> Path:
    """Return the file of a segment that is compressed in this way; `segment` is that of the plain file."""
    return segment.with_name(segment.name + SUFFIXES[compression]) if compression else segment


def unfinished_path(segment: Path, compression: Compression) -> Path:
    """Return where the file of a segment is written."""
    return segment.with_name(f"{segment.name}{SUFFIXES[compression]}{UNFINISHED}")


def forms_of(segment: Path) -> list[Compression]:
    """Return which files a segment has by their names, whatever they are."""
    return [compression for compression in SUFFIXES if os.path.lexists(stored_path(segment, compression))]


def has_file(segment: str) -> bool:
    """Whether a segment has any file by its names. For each new segment: making a Path would take longer than this."""
    return any(os.path.lexists(segment + suffix) for suffix in SUFFIXES.values())


def own_forms_of(segment: Path, recorded: Compression) -> list[Compression]:
    """Return which files of a segment are the store's: the recorded one, and those that begin like one."""
    return [form for form in forms_of(segment) if form in ("", recorded) or is_own(segment, form)]


def is_own(segment: Path, form: Compression) -> bool:
    """Whether a compressed file of a segment begins as the store lets it begin."""
    begin = OPENINGS[form] + MARK
    with contextlib.suppress(OSError), open(open_file(stored_path(segment, form)), "rb") as file:
        return file.read(len(begin)) == begin
    return False


def segment_form(file_name: str) -> tuple[SegmentName, Compression] | None:
    """Parse the name of a segment's file; return None for any other name."""
    for compression, suffix in reversed(SUFFIXES.items()):
        if file_name.endswith(suffix) and (name := segment_name(file_name[: len(file_name) - len(suffix)])):
            return name, compression
    return None


def segment_of_unfinished(file_name: str) -> SegmentName | None:
    """Return the segment whose file was being written under a name; None for any other name."""
    found = segment_form(file_name.removesuffix(UNFINISHED)) if file_name.endswith(UNFINISHED) else None
    return found[0] if found else None
