"""Where a followed name leads: through symbolic links, and to which files a link may have led in the meantime.

A rotation happens where the file is: `/var/log/containers/x.log` leads to the folder of a pod, and the rotated files
are there. Programs also rotate by pointing a link such as `current.log` to another file; then the names of these files
differ only in a number, a date or an ID. Owns both searches. Must never open a file.
"""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from logferry.client.finding.listing import FolderListings
from logferry.client.finding.rotation_names import original_names

# The kernel follows at most 40 links in a row.
_MAX_LINKS: Final = 40

# At most this many files are considered when a link has changed.
_MAX_CANDIDATES: Final = 1000

_WORD: Final = re.compile(r"[A-Za-z0-9]+")
_ID: Final = re.compile(r"\w*[0-9]\w*|[A-Za-z]|[A-Fa-f]{6,}|" + "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec")
_IDS: Final = re.compile(r"#(?:[-_.:]?#)+")


def place_of(path: str, real_folders: dict[str, str] | None = None) -> str:
    """Return the real path that `path` leads to, whether or not it exists; `path` itself if no link is on the way.

    `real_folders` keeps the real paths of folders between calls; links to folders may change, so not for long.
    """
    if os.path.islink(path):
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    known = {} if real_folders is None else real_folders
    if folder not in known:
        known[folder] = os.path.realpath(folder)
    return path if known[folder] == folder else os.path.join(known[folder], name)


def places_of(path: str) -> list[str]:
    """Return `path` and, if that is a symbolic link, what each link leads to: rotated files may be beside each."""
    places = [path]
    while os.path.islink(places[-1]) and len(places) < _MAX_LINKS:
        try:
            target = os.readlink(places[-1])
        except OSError:
            break  # the link has just been removed or replaced
        folder, name = os.path.split(os.path.join(os.path.dirname(places[-1]), target))
        places.append(os.path.join(os.path.realpath(folder), name))
    return places


def led_to_between(former: str, present: str, folders: FolderListings) -> list[str]:
    """Return the existing files that a link may have led to after it led to the file that was at `former`, in no order.

    Each folder or file name on the way is like that of `former` or `present`; `present` is left out. `former` is not:
    another file may have taken that path before the link changed.
    """
    if former == present:
        return []
    before, now = former.split("/"), present.split("/")
    ways = [(before, now)] if len(before) == len(now) else [(before, before), (now, now)]
    found = (path for way in ways for path in _alike("", *way, folders))
    return [path for path in dict.fromkeys(islice(found, _MAX_CANDIDATES)) if path != present]


def _alike(folder: str, before: Sequence[str], now: Sequence[str], folders: FolderListings) -> Iterator[str]:
    """Yield the paths below `folder` whose parts are those of two paths, or like them where these differ."""
    if len(before) == 1:
        for name in folders.listing(folder or os.curdir).names:
            if is_like(name, before[0]) or is_like(name, now[0]):
                yield os.path.join(folder, name)
        return
    parts = {before[0]}
    if before[0] != now[0]:
        listing = folders.listing(folder or os.curdir)
        alike = (name for name in listing.folders if is_like(name, before[0]) or is_like(name, now[0]))
        parts = {before[0], now[0], *alike}
    for part in sorted(parts):
        yield from _alike(os.path.join(folder, part) if part or folder else "/", before[1:], now[1:], folders)


def is_like(name: str, other: str) -> bool:
    """Whether two names differ only in numbers, dates, single letters or IDs, or in how often they were rotated."""
    if _shape(name) == _shape(other):
        return True
    originals = {other, *original_names(other)}
    return name in originals or not originals.isdisjoint(original_names(name))


def _shape(name: str) -> str:
    words = _WORD.sub(lambda word: "#" if _ID.fullmatch(word[0]) else word[0], name)
    return _IDS.sub("#", words)
