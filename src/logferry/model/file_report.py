"""What a reader reports of one file: for the status and for whoever wants to know."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileReport:
    """What a reader says of one file, or of one name that has none. Sizes and offsets are in bytes of the file.

    `path` is the name that is followed, `name` the one the file has now ("" when it is deleted). `state` is
    `following`, `held` (renamed or deleted, not all of it is acked), `parked` (quiet, its descriptor is lent to others)
    or `unreadable`; `problem` says why, or what failed last. `behind_since` is the Unix time since when there has been
    something that is not acked, 0 when there is nothing.
    """

    path: str
    name: str = ""
    source: str = ""
    device: int = 0
    inode: int = 0
    size: int = 0
    offset: int = 0
    committed: int = 0
    state: str = "following"
    problem: str = ""
    format: str = ""
    behind_since: float = 0.0
