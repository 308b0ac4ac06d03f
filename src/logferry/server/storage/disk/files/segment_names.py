"""The names of segment files: `<UTC date>-<n>.ndjson`, in the folder of their log below `segments`.

Only names: never reads or writes a file.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

FOLDER_NAME: Final = "segments"  # below the data folder

# What clients last said about themselves, beside the folder (server/clients/reporting/states_file.py).
CLIENT_STATES_NAME: Final = "clients.json"

_segment_name: Final = re.compile(r"(\d{4}-\d{2}-\d{2})-(\d{1,9})\.ndjson", re.ASCII)


# Folders below `segments`: that of an identity, that of a host, and those of a path (log_names.py).
MAX_DEPTH: Final = 26

# No name begins with a dot, and all are text: the ledger can record no other one.
_FOLDER: Final = rf"(?:(?!\.)[^/\0\ud800-\udfff]+/){{2,{MAX_DEPTH}}}"
_is_log_folder: Final = re.compile(_FOLDER).fullmatch
_is_segment_path: Final = re.compile(rf"{_FOLDER}[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}-[0-9]{{1,9}}\.ndjson").fullmatch


def is_segment_path(path: str) -> bool:
    """Whether a path below `segments` is one that a store gives to a segment: it leads out of no folder."""
    return _is_segment_path(path) is not None


def on_disk(path: str) -> str:
    """Return a path below `segments` as this process must write it: on the disk it is UTF-8, whatever the locale is."""
    return os.fsdecode(path.encode())


def is_log_folder(folder: str) -> bool:
    """Whether a path below `segments` is one that a store gives to the folder of a log."""
    return _is_log_folder(f"{folder}/") is not None


def folders_down_to(root: Path, folder: str) -> list[Path]:
    """Return `root` and the folders below it, down to `folder`, which is a path below `root`."""
    folders = [root]
    for name in folder.split("/"):
        folders.append(folders[-1] / name)
    return folders


class SegmentName(NamedTuple):
    """A segment's place in its folder: its UTC day as an ISO date, and its number on that day; later is greater."""

    day: str
    number: int

    def __str__(self) -> str:
        return f"{self.day}-{self.number}.ndjson"


def segment_name(file_name: str) -> SegmentName | None:
    """Parse the name of a segment file; return None for any other name."""
    match = _segment_name.fullmatch(file_name)
    return SegmentName(match[1], int(match[2])) if match else None


def next_name(last: SegmentName | None, is_taken: Callable[[SegmentName], bool], today: str) -> SegmentName:
    """Return the name of the segment after `last`, the last one that the ledger records, if any.

    A name that is taken by something that the ledger does not record is left out, whatever it is. Such names do not
    decide the day: one that lies in the future would hold all later segments there.
    """
    day = max(last.day if last else "", today)
    name = SegmentName(day, last.number + 1 if last and last.day == day else 1)
    while is_taken(name):
        name = SegmentName(day, name.number + 1)
    return name
