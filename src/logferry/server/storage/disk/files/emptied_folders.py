"""Removes folders that are empty, and those above them that are empty then: retention has emptied them, or the disk had
no room for the segment that they were made for.

Works from the folder of the segments down, by descriptors, and never follows a link: others may write into data
folders. The system refuses to remove a folder that is not empty, so nothing that appears meanwhile is lost. A folder
that stays does no harm, so no failure is reported.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def remove_emptied(root: Path, folder: str) -> list[Path]:
    """Remove a folder below `root` if it is empty, then those above it, but not `root`; return what was removed.

    If only the first folders of that path exist, as when the disk has refused the next one, begins with their last.
    """
    names = folder.split("/")
    removed: list[Path] = []
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        parents = [_held(os.open(root, _FLAGS), stack)]
        with contextlib.suppress(FileNotFoundError):
            for name in names[:-1]:
                parents.append(_held(os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=parents[-1]), stack))
        while parents:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(names[len(parents) - 1], dir_fd=parents[-1])
                removed.append(root.joinpath(*names[: len(parents)]))
            parents.pop()
    return removed


def _held(descriptor: int, stack: contextlib.ExitStack) -> int:
    stack.callback(os.close, descriptor)
    return descriptor
