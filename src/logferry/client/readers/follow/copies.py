"""Copies that are made of a followed file before that is truncated (copytruncate of logrotate): read on in its place.

Until the file is truncated its copy looks like a file of its own, and it may be seen long before it is whole. So a file
that is named like a rotated one, and has what a followed file begins with, is not read before it is clear what it is.
"""

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from logferry.client.files.identity import identity_of
from logferry.client.files.line_reader import Left
from logferry.client.finding.rotation_names import original_names
from logferry.client.readers.follow.file import Common, File
from logferry.errors import SourceError
from logferry.model.loss import Loss, LossKind

if TYPE_CHECKING:
    from logferry.client.readers.follow.name import FollowedName

logger = logging.getLogger(__name__)

# What looks like a copy and has not changed for this long, while nothing was truncated, is a file of its own.
COPY_SETTLE_S: Final = 10.0


def originals(file: File, common: Common) -> Iterator["FollowedName"]:
    """Give the followed names that a file, called as it is now, may be a copy of."""
    folder, name = os.path.split(file.content.path)
    for origin in original_names(name):
        other = common.names.get(os.path.join(folder, origin))
        if other is not None:
            yield other


def needs_vetting(file: File, common: Common) -> bool:
    """Whether a file of which nothing was read may be a copy."""
    return not file.offset and not file.is_archive and any(originals(file, common))


def vet(file: File, common: Common) -> bool:
    """Whether a file is to be read: it is not, or not known to be, a copy that is just being made. Raises OSError.

    Of the copy of a file that was truncated meanwhile only what was not read of that is to be read.
    """
    if not file.size():
        return False  # of an empty file nobody knows
    names = list(originals(file, common))
    for name in names:
        looks_alike = name.begins_with(file)
        name.notice()  # if the original was truncated by now, it takes the copy
        if common.files.get(file.identity) is not file:
            return False
        if looks_alike and not _has_settled(file, common):
            return False
        if looks_alike and file.name not in common.names:
            file.owner.drop(file)  # nobody has asked for it
            return False
    shipped = max((name.shipped_in(file) for name in names), default=0)
    if shipped:
        file.skip_to(shipped)
        reason = "shipped already, from the file that this one is a copy of"
        common.lost.append(Loss(file.source, 0, shipped, reason, kind=LossKind.SKIPPED))
    file.is_vetted = True
    return True


def copy_of(left: Left, original: File, common: Common) -> File | None:
    """Open the copy that was made of a file before that was truncated, if there is one."""
    folder, name = os.path.split(original.content.path)
    common.folders.forget(folder)
    for candidate in common.folders.listing(folder).rotated_or_archived(name):
        copy = _open_copy(os.path.join(folder, candidate), original, common)
        if copy is None:
            continue
        if left.is_continued_in(copy):
            for suspect in [file for file in common.files.values() if not file.is_vetted]:
                if suspect.identity == copy.identity or _is_same_copy(suspect, left, original, common):
                    suspect.owner.drop(suspect)
            return copy
        copy.close()
    return None


def _is_same_copy(suspect: File, left: Left, original: File, common: Common) -> bool:
    """Whether a suspect is a copy of the file too: it was compressed since, perhaps."""
    try:
        return original.owner in originals(suspect, common) and left.is_continued_in(suspect)
    except OSError:
        return False


def _open_copy(path: str, original: File, common: Common) -> File | None:
    """Open what may be a copy, unless it is known as something else."""
    try:
        identity = identity_of(os.stat(path))
        if identity == original.identity:
            return None
        known = original.owner.known(identity)
        if known is not None:
            known.owner.notice(known)  # the copy may have been written over it
            known = common.files.get(identity)
        if known is not None and (known.is_vetted or known.offset):
            return None
        copy = File(path, original.owner, common)
    except (OSError, SourceError):
        return None
    return copy


def _has_settled(file: File, common: Common) -> bool:
    size, now = file.size(), common.clock()
    if size != file.last_growth[0]:
        file.last_growth = (size, now)
    return now - file.last_growth[1] >= COPY_SETTLE_S
