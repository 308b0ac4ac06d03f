"""A reader's report on one file, for the client's status."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileReport:
    """A reader's report on one file, or on a name without a file. Sizes and offsets are bytes of the file.

    `path` is the name that the reader follows, `name` the file's present name ("" if it was deleted). `state` is
    `following`, `held` (renamed or deleted, not acked completely), `parked` (quiet, its descriptor lent to another
    file) or `unreadable`; in a batch run `reading`, `finished` (read and acked) or `unreadable`. `problem` says why, or
    what failed last. `behind_since` is the Unix time since which the file has had unacked bytes, 0 if it has none.
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
