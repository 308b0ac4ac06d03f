"""Which sources that are no longer read are forgotten, once there are too many of them.

The client remembers them for `verify`. Sources whose files may still exist are never forgotten.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from itertools import islice
from operator import attrgetter
from typing import Final

from logferry.client.files.identity import identity_of
from logferry.client.finding.listing import FolderListings
from logferry.client.state.checkpoint import Checkpoint

# The client remembers at most this many sources that are no longer read: enough for years of daily files.
MAX_IDLE: Final = 20_000


def forget_at(idle: int) -> int:
    """Return the number of idle sources that triggers the next search for sources to forget; searches are expensive."""
    return max(idle, MAX_IDLE) + MAX_IDLE // 10


def ids_to_forget(idle: Iterable[Checkpoint], *, is_superseded: Callable[[Checkpoint], bool]) -> list[str]:
    """Return the ids of the oldest idle sources beyond MAX_IDLE that nobody can need: their files are gone.

    `is_superseded` says that a later source has the file of a checkpoint.
    """
    by_age = sorted(idle, key=attrgetter("seen_at"))
    folders = FolderListings()
    gone = (known.id for known in by_age if is_superseded(known) or not _may_exist(known, folders))
    return list(islice(gone, max(0, len(by_age) - MAX_IDLE)))


def _may_exist(checkpoint: Checkpoint, folders: FolderListings) -> bool:
    """Whether a source's file still exists under its path, or possibly under another name in the same folder."""
    with contextlib.suppress(OSError):
        status = os.stat(checkpoint.path)
        if identity_of(status) == checkpoint.identity:
            return True
    return any(checkpoint.inode in folders.listing(os.path.dirname(place)).by_inode for place in checkpoint.places)
