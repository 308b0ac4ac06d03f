"""Copies that are made of a followed file before that is truncated (copytruncate of logrotate): what becomes of them.

Until the file is truncated its copy looks like a file of its own, and it may be seen long before it is whole. So a file
that is named like a rotated one, and has what a followed file begins with, is a suspect: it is not read before it is
clear what it is. Owns that judgement. Must only say what it thinks, and never act: the reader does.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logferry.client.files.overwritten import OverwrittenSource
from logferry.client.finding.rotation_names import original_names
from logferry.client.readers.follow.file import FollowedFile

# What looks like a copy and has not changed for this long, while nothing was truncated, is a file of its own.
COPY_SETTLE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Read:
    """The file is not a copy: read it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not decided yet: judge it again later."""


@dataclass(frozen=True, slots=True)
class IsCopy:
    """The file is a copy of a followed one that is read itself: do not read it."""


@dataclass(frozen=True, slots=True)
class SkipTo:
    """The file is a copy of one that was truncated, and was read from there up to `offset`: read on from there."""

    offset: int


Verdict = Read | Wait | IsCopy | SkipTo


def judge(
    suspect: FollowedFile, *, looks_alike: bool, is_followed: bool, truncated: Iterable[OverwrittenSource], now: float
) -> Verdict:
    """Say what becomes of a suspect. Raises OSError.

    `looks_alike`: a followed file began with all that the suspect has, and was then still there, not truncated.
    `is_followed`: somebody has asked for the suspect under the name that it has. `truncated`: what was read of the
    originals before they were truncated lately.
    """
    if not suspect.size():
        return Wait()  # of an empty file nobody knows
    if looks_alike and suspect.unchanged_s(now) < COPY_SETTLE_S:
        return Wait()
    if looks_alike and not is_followed:
        return IsCopy()
    shipped = max((overwritten.bytes_read_of(suspect) for overwritten in truncated), default=0)
    return SkipTo(shipped) if shipped else Read()


def paths_of_originals(path: Path) -> Iterator[str]:
    """Give the paths of the files that one, called as it is now, may be a copy of."""
    folder, name = os.path.split(path)
    for origin in original_names(name):
        yield os.path.join(folder, origin)


def is_same_copy(suspect: FollowedFile, copy: FollowedFile, source: OverwrittenSource, *, original_path: str) -> bool:
    """Whether a suspect is the copy that was found of a truncated file, or another one of it: compressed, perhaps."""
    if suspect.identity == copy.identity:
        return True
    try:
        return original_path in paths_of_originals(suspect.content.path) and source.is_continued_in(suspect)
    except OSError:
        return False
