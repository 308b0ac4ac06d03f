"""The names of segment files: `<UTC date>-<n>.ndjson`, in the folder of their log below `segments`.

Only names: never reads or writes a file.
"""

import re
from typing import Final, NamedTuple

FOLDER_NAME: Final = "segments"  # below the data folder

_segment_name: Final = re.compile(r"(\d{4}-\d{2}-\d{2})-(\d{1,9})\.ndjson", re.ASCII)


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
