"""Lists folders: the names in a folder with their inodes, looked up by name, by inode, or as rotated files.

Owns the cache of listings: a folder is read again only when its modification time has changed. Must never open a
file.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from logferry.client.finding.rotation_names import is_archive_name, original_names, without_archive_suffix

# A folder that changed this recently may change again within the same tick of the clock behind its modification time.
_RACY_NS: Final = 50_000_000


@dataclass
class Listing:
    """The entries of a folder: `names`, including symbolic links, with their inodes, and the names of `folders`."""

    modified_ns: int = -1
    names: dict[str, int] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    @cached_property
    def by_inode(self) -> dict[int, str]:
        """Map each inode to one of its names."""
        return {inode: name for name, inode in self.names.items()}

    @cached_property
    def rotated(self) -> dict[str, list[str]]:
        """Map each original name to the names in this folder that its rotated files may have."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            for original in original_names(name):
                found.setdefault(original, []).append(name)
        return found

    @cached_property
    def archives(self) -> dict[str, list[str]]:
        """Map each original name to the archives in this folder that its rotated files may have become.

        An archive is left out while the file that it was made from is still beside it.
        """
        found: dict[str, list[str]] = {}
        for name in filter(is_archive_name, self.names):
            plain = without_archive_suffix(name)
            if plain not in self.names:
                for original in original_names(plain):
                    found.setdefault(original, []).append(name)
        return found

    def rotated_or_archived(self, name: str) -> dict[str, int]:
        """Return the names, with inodes, that the rotated files of `name` may have here, compressed or not."""
        return {found: self.names[found] for found in (*self.rotated.get(name, ()), *self.archives.get(name, ()))}


class FolderListings:
    """Returns listings of folders, and reads a folder again only after it has changed. For one thread."""

    def __init__(self, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._listings: dict[str, Listing] = {}
        self.generation = 0  # the number of changes that were seen in any folder

    def listing(self, folder: str) -> Listing:
        """Return the current listing of a folder; an empty one when the folder cannot be read."""
        try:
            modified_ns = os.stat(folder).st_mtime_ns
            known = self._listings.get(folder)
            if known is not None and known.modified_ns == modified_ns:
                return known
            listing = _list(folder)
        except OSError:
            if self._listings.pop(folder, None) is not None:
                self.generation += 1
            return Listing()
        self.generation += 1
        if abs(self._clock_ns() - modified_ns) > _RACY_NS:
            listing.modified_ns = modified_ns
        self._listings[folder] = listing
        return listing

    def forget(self, folder: str) -> None:
        """Discard the cached listing of a folder, so that the next call reads the folder again."""
        self._listings.pop(folder, None)


def _list(folder: str) -> Listing:
    listing = Listing()
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:
                continue  # deleted meanwhile
            if is_folder:
                listing.folders.append(entry.name)
            else:
                listing.names[entry.name] = entry.inode()
    return listing
