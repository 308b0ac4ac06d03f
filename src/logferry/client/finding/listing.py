"""What is in a folder at one moment: its names with their inodes, found by name, by inode, or as rotated files.

Owns the cache of listings: a folder is read again only when its time of modification says that it has changed. Must
never open a file.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from logferry.client.finding.rotation_names import is_archive_name, original_names, without_archive_suffix

# A folder that was changed this recently may change again within the same tick of the clock that its time comes from.
_RACY_NS: Final = 50_000_000


@dataclass
class Listing:
    """The entries of a folder: `names` with the inode of each, symbolic links included, and `folders` apart."""

    modified_ns: int = -1
    names: dict[str, int] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    @cached_property
    def by_inode(self) -> dict[int, str]:
        """Map each inode to one of its names."""
        return {inode: name for name, inode in self.names.items()}

    @cached_property
    def rotated(self) -> dict[str, list[str]]:
        """Map a name to the names here that its rotated files may have."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            for original in original_names(name):
                found.setdefault(original, []).append(name)
        return found

    @cached_property
    def archives(self) -> dict[str, list[str]]:
        """Map a name to the archives here that its rotated files may have become.

        An archive that stands beside the file that it was made from is left out.
        """
        found: dict[str, list[str]] = {}
        for name in filter(is_archive_name, self.names):
            plain = without_archive_suffix(name)
            if plain not in self.names:
                for original in original_names(plain):
                    found.setdefault(original, []).append(name)
        return found

    def rotated_or_archived(self, name: str) -> dict[str, int]:
        """Return the names here that the rotated files of `name` may have, compressed or not, with their inodes."""
        return {found: self.names[found] for found in (*self.rotated.get(name, ()), *self.archives.get(name, ()))}


class FolderListings:
    """Listings of folders. A folder that has not changed is not read again. For one thread."""

    def __init__(self, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._listings: dict[str, Listing] = {}
        self.generation = 0  # how often a folder had changed

    def listing(self, folder: str) -> Listing:
        """Return what is in a folder now; an empty listing when the folder cannot be read."""
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
        """Read a folder again the next time, whether or not it seems to have changed."""
        self._listings.pop(folder, None)


def _list(folder: str) -> Listing:
    listing = Listing()
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:
                continue  # gone since
            if is_folder:
                listing.folders.append(entry.name)
            else:
                listing.names[entry.name] = entry.inode()
    return listing
