"""Which names are to be followed: names and patterns in, paths out; and what is in a folder.

A folder is listed only when it has changed.

Patterns are those of a shell: `*`, `?`, `[a-z]` within a name, and `**` for any folders below. As in a shell a leading
dot is only matched by a dot, and `**` does not go through symbolic links to folders. A name that exists as it is
written is no pattern.
"""

import fnmatch
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

_MAGIC: Final = re.compile(r"[*?\[]")

# Compressed files of this kind can be read on, when what they were made of was not read to its end.
ARCHIVE: Final = ".gz"

# What logrotate and its like make of rotated files, with the bytes that each begins with.
_COMPRESSED: Final = {
    ".gz": b"\x1f\x8b",
    ".bz2": b"BZh",
    ".xz": b"\xfd7zXZ\x00",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".lz4": b"\x04\x22\x4d\x18",
    ".Z": b"\x1f\x9d",
}

# From each separator on which a date or a number begins, to the end of the name.
_STAMP: Final = re.compile(r"(?<=.)[.-](?=[0-9][0-9T:_.-]*\Z)")

# A folder that was changed this recently may change again within the same tick of the clock that its time comes from.
_RACY_NS: Final = 50_000_000


@dataclass
class Listing:
    """The names in a folder, each with the inode that its entry says; names of folders are apart, links among files."""

    modified_ns: int = -1
    names: dict[str, int] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    @cached_property
    def by_inode(self) -> dict[int, str]:
        """A name of each inode."""
        return {inode: name for name, inode in self.names.items()}

    @cached_property
    def rotated(self) -> dict[str, list[str]]:
        """For a name, the names here that are like those of its rotated files."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            for origin in origins(name):
                found.setdefault(origin, []).append(name)
        return found

    @cached_property
    def archives(self) -> dict[str, list[str]]:
        """For a name, the gzip files here that may be rotated ones of it; not those that stand beside the original."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            plain = name.removesuffix(ARCHIVE)
            if plain != name and plain not in self.names:
                for origin in origins(plain):
                    found.setdefault(origin, []).append(name)
        return found

    def rotated_or_archived(self, name: str) -> dict[str, int]:
        """Return the names here that are like those of its rotated files, compressed or not, with their inodes."""
        return {found: self.names[found] for found in (*self.rotated.get(name, ()), *self.archives.get(name, ()))}


def origins(name: str) -> Iterator[str]:
    """Give the names that a rotated file of this name may have had before.

    `app.log.1`, `app.log-20240115`, `app-2024-01-15.log` and `app.1.log` may have been `app.log`; what is compressed or
    edited has other names.
    """
    stem, dot, suffix = name.rpartition(".")
    for base, end in ((name, ""), (stem, dot + suffix)):
        for match in _STAMP.finditer(base):
            yield base[: match.start()] + end


def former_names(name: str) -> Iterator[str]:
    """Give the names that a rotated file of this name may have been followed under: its own, and lower numbers too."""
    yield from origins(name)
    yield name
    stem, _, _ = name.rpartition(".")
    yield from (f"{stem}.{lower}" for lower in range(rotation_number(name)))


def rotation_number(name: str) -> int:
    """Return how often a file was rotated if its name says so: the more often, the older it is."""
    number = name.rpartition(".")[2]
    return int(number) if number.isdecimal() and len(number) < 4 else 0  # longer ones are dates


class Folders:
    """Listings of folders; one that has not changed since is not read again."""

    def __init__(self, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._listings: dict[str, Listing] = {}
        self.generation = 0  # how often anything turned out to be new

    def listing(self, folder: str) -> Listing:
        """Return what is in a folder now; nothing when it cannot be read."""
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
        """Read a folder again when it is asked for the next time."""
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


class Discovery:
    """Finds the names that some patterns mean, again and again."""

    def __init__(self, patterns: Sequence[str], exclude: Sequence[str] = (), *, folders: Folders | None = None) -> None:
        self._patterns = patterns
        self._is_excluded = _exclusion(exclude)
        self._folders = folders or Folders()
        self.visited: set[str] = set()  # the folders where a new name could appear

    def find(self) -> list[str]:
        """Return all names now, each once, in the order of the patterns; a plain name even if nothing has it."""
        self.visited = set()
        found: dict[str, None] = {}
        for pattern in self._patterns:
            if is_pattern(pattern):
                found.update(dict.fromkeys(sorted(self._expand(pattern))))
            else:
                self.visited.add(os.path.dirname(pattern) or os.curdir)
                found[pattern] = None
        return [name for name in found if not self._is_excluded(name)]

    def _expand(self, pattern: str) -> Iterator[str]:
        parts = pattern.split("/")
        first = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
        root = "/".join(parts[:first])
        yield from self._below(root or ("/" if pattern.startswith("/") else ""), parts[first:])

    def _below(self, folder: str, parts: Sequence[str]) -> Iterator[str]:
        """Give the files below `folder` that the rest of a pattern means."""
        self.visited.add(folder or os.curdir)
        part, rest = parts[0], parts[1:]
        listing = self._folders.listing(folder or os.curdir)
        if part == "**":
            yield from self._below(folder, rest or ["*"])
            for name in listing.folders:
                if not name.startswith("."):
                    yield from self._below(_join(folder, name), parts)
            return
        matches = _matcher(part)
        if not rest:
            yield from (_join(folder, name) for name in listing.names if matches(name))
            return
        links = (name for name in listing.names if matches(name) and os.path.isdir(_join(folder, name)))
        for name in [*filter(matches, listing.folders), *links]:
            yield from self._below(_join(folder, name), rest)


def matching(patterns: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """Return the names that `patterns` mean and `exclude` does not, each once, in order."""
    return Discovery(patterns, exclude).find()


def is_pattern(name: str) -> bool:
    """Whether a name is to be matched with what is there, rather than taken as it is."""
    return bool(_MAGIC.search(name)) and not os.path.lexists(name)


def is_compressed(path: str, *, so_far: bool = False) -> bool:
    """Whether a file is an archive by its name and by its first bytes: there is nothing in it to follow.

    `so_far` asks whether it may become one: the first bytes of an archive that is just being made are not there yet.
    """
    if not path.endswith(tuple(_COMPRESSED)):
        return False
    try:
        with open(path, "rb") as file:
            begin = file.read(6)
    except OSError:
        return False
    return any(
        path.endswith(suffix) and (begin.startswith(magic) or (so_far and magic.startswith(begin)))
        for suffix, magic in _COMPRESSED.items()
    )


def _join(folder: str, name: str) -> str:
    return os.path.join(folder, name) if folder else name


def _matcher(pattern: str) -> Callable[[str], bool]:
    match = re.compile(fnmatch.translate(pattern)).match
    takes_hidden = pattern.startswith(".")
    return lambda name: (takes_hidden or not name.startswith(".")) and match(name) is not None


def _exclusion(patterns: Iterable[str]) -> Callable[[str], bool]:
    """A pattern without a slash is for the last part of a path, one with a slash for all of it, `*` any part of it."""
    paths = [re.compile(fnmatch.translate(pattern)).match for pattern in patterns if "/" in pattern]
    names = [re.compile(fnmatch.translate(pattern)).match for pattern in patterns if "/" not in pattern]

    def is_excluded(path: str) -> bool:
        name = os.path.basename(path)
        return any(match(name) for match in names) or any(match(path) for match in paths)

    return is_excluded
