"""Expands patterns to file names, and removes the excluded ones.

The patterns are those of a shell: `*`, `?`, `[a-z]` within a name, and `**` for any number of folders. As in a shell,
only a dot matches a leading dot, and `**` does not follow symbolic links to folders. A name that exists exactly as
written is not a pattern.

Must never open a file, and must list folders only through `FolderListings`.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from logferry.client.finding.listing import FolderListings

_MAGIC: Final = re.compile(r"[*?\[]")


class Discovery:
    """Finds the names that match a set of patterns, as often as it is called. For one thread."""

    def __init__(
        self, patterns: Sequence[str], exclude: Sequence[str] = (), *, folders: FolderListings | None = None
    ) -> None:
        self._patterns = patterns
        self._is_excluded = _exclusion(exclude)
        self._folders = folders or FolderListings()
        self.visited: set[str] = set()  # the folders in which a new match may appear

    def find(self) -> list[str]:
        """Return all names that match now, each once, in the order of the patterns.

        A name that is not a pattern is returned even if the file does not exist.
        """
        self.visited = set()
        found: dict[str, None] = {}
        for pattern in self._patterns:
            if is_pattern(pattern):
                found.update(dict.fromkeys(sorted(self._expand(pattern))))
            else:
                self.visited.add(os.path.dirname(pattern) or os.curdir)
                found[pattern] = None
        return [name for name in found if not self._is_excluded(name)]

    def asks_for(self, name: str) -> bool:
        """Whether a name matches, whether or not a file has it now."""
        return self.pattern_of(name) is not None

    def pattern_of(self, name: str) -> str | None:
        """Return the first pattern that a name matches, whether or not a file has it now; None if it matches none."""
        names = name.split("/")
        asking = (pattern for pattern in self._patterns if name == pattern or _match_all(pattern.split("/"), names))
        return None if self._is_excluded(name) else next(asking, None)

    def _expand(self, pattern: str) -> Iterator[str]:
        parts = pattern.split("/")
        first = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
        root = "/".join(parts[:first])
        yield from self._below(root or ("/" if pattern.startswith("/") else ""), parts[first:])

    def _below(self, folder: str, parts: Sequence[str]) -> Iterator[str]:
        """Yield the files below `folder` that match the remaining parts of a pattern."""
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
    """Return the names that match `patterns` and not `exclude`, each once, in order."""
    return Discovery(patterns, exclude).find()


def is_pattern(name: str) -> bool:
    """Whether a name is matched against existing files rather than taken literally."""
    return bool(_MAGIC.search(name)) and not os.path.lexists(name)


def _join(folder: str, name: str) -> str:
    return os.path.join(folder, name) if folder else name


def _match_all(parts: Sequence[str], names: Sequence[str]) -> bool:
    """Whether the parts of a pattern match the parts of a path, as `Discovery` expands them."""
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        goes_deeper = len(names) > 1 and not names[0].startswith(".") and _match_all(parts, names[1:])
        return goes_deeper or _match_all(parts[1:] or ["*"], names)
    matches = _matcher(parts[0]) if _MAGIC.search(parts[0]) else parts[0].__eq__
    return bool(matches(names[0])) and _match_all(parts[1:], names[1:])


def _matcher(pattern: str) -> Callable[[str], bool]:
    match = re.compile(fnmatch.translate(pattern)).match
    takes_hidden = pattern.startswith(".")
    return lambda name: (takes_hidden or not name.startswith(".")) and match(name) is not None


def _exclusion(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Match patterns without a slash against names, those with a slash against whole paths, where `*` crosses `/`."""
    paths = [re.compile(fnmatch.translate(pattern)).match for pattern in patterns if "/" in pattern]
    names = [re.compile(fnmatch.translate(pattern)).match for pattern in patterns if "/" not in pattern]

    def is_excluded(path: str) -> bool:
        name = os.path.basename(path)
        return any(match(name) for match in names) or any(match(path) for match in paths)

    return is_excluded
