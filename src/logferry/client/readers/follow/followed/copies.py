"""Judges copies that are made of a followed file before the file is truncated (logrotate's copytruncate).

Until the file is truncated, its copy looks like a separate file, and the reader may find the copy long before it is
complete. So a file that has a rotated name and begins like a followed file is a suspect: it is not read until it is
clear what it is. Owns that judgement. Must only return a verdict, never act on it: truncation.py does.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logferry.client.files.overwritten import OverwrittenSource
from logferry.client.finding.rotation_names import original_names
from logferry.client.readers.follow.followed.file import FollowedFile

# A file that looks like a copy and has not changed for this long, while nothing was truncated, is a separate file.
COPY_SETTLE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Read:
    """The file is not a copy: read it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It is too early to decide: judge the file again later."""


@dataclass(frozen=True, slots=True)
class IsCopy:
    """The file is a copy of a followed file that is read itself: do not read the copy."""


@dataclass(frozen=True, slots=True)
class SkipTo:
    """The file is a copy of a truncated file whose bytes up to `offset` were read: read the copy from `offset`."""

    offset: int


Verdict = Read | Wait | IsCopy | SkipTo


def judge(
    suspect: FollowedFile, *, looks_alike: bool, is_followed: bool, truncated: Iterable[OverwrittenSource], now: float
) -> Verdict:
    """Judge a suspect. Raises OSError.

    `looks_alike`: just before the check for truncation, a followed file began with all bytes of the suspect.
    `is_followed`: the suspect's own name is followed. `truncated`: what was read of the originals before their recent
    truncations.
    """
    if not suspect.size():
        return Wait()  # an empty file may become anything
    suspect.weigh(now, longest_step_s=COPY_SETTLE_S / 4)
    if looks_alike and suspect.unchanged_s < COPY_SETTLE_S:
        return Wait()
    if looks_alike and not is_followed:
        return IsCopy()
    shipped = max((overwritten.bytes_read_of(suspect) for overwritten in truncated), default=0)
    return SkipTo(shipped) if shipped else Read()


def paths_of_originals(path: Path) -> Iterator[str]:
    """Yield the paths of the files that a file at `path` may be a copy of."""
    folder, name = os.path.split(path)
    for origin in original_names(name):
        yield os.path.join(folder, origin)


def is_same_copy(suspect: FollowedFile, copy: FollowedFile, source: OverwrittenSource, *, original_path: str) -> bool:
    """Whether a suspect is `copy`, the copy found of a truncated file, or another copy or an archive of that file."""
    if suspect.identity == copy.identity:
        return True
    try:
        return original_path in paths_of_originals(suspect.content.path) and source.is_continued_in(suspect)
    except OSError:
        return False
