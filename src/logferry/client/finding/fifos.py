"""Finds out which of the configured names are FIFOs (named pipes), and opens them.

A FIFO is read like standard input: once, in order. The paths that a shell gives to process substitutions, such as
/dev/fd/63, are FIFOs too. Must never wait for a writer.
"""

import os
import stat
from collections.abc import Iterable, Sequence

from logferry.client.finding.foreign_links import foreign_link
from logferry.config import InputSettings
from logferry.errors import SourceError, cause_of


def is_fifo(path: str) -> bool:
    """Whether a path leads to a FIFO now."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def only_fifo(inputs: Sequence[InputSettings]) -> str | None:
    """Return the FIFO that is the only name of the only input, or None if the inputs are files.

    Raises SourceError for a FIFO among other names: a client that reads a FIFO can read nothing else.
    """
    fifos = [name for name in _names(inputs) if is_fifo(name)]
    if fifos and len(list(_names(inputs))) > 1:
        raise SourceError(fifos[0], "a FIFO must be the only input: ship it with another client, another --state-dir")
    return fifos[0] if fifos else None


def open_fifo(path: str, *, outlives_writers: bool) -> int:
    """Open a FIFO and return its descriptor, whether or not it has a writer yet. Raises SourceError.

    It ends when its last writer closes it, unless it `outlives_writers`: then the client counts as a writer itself, as
    far as it may write to the FIFO.
    """
    if reason := foreign_link(path):
        raise SourceError(path, reason)
    flags = os.O_NONBLOCK | os.O_CLOEXEC  # opening a FIFO would wait for the other end
    if outlives_writers:
        try:
            return _checked(path, os.open(path, os.O_RDWR | flags))
        except PermissionError:
            pass
    try:
        return _checked(path, os.open(path, os.O_RDONLY | flags))
    except OSError as error:
        raise SourceError(path, cause_of(error)) from error


def _checked(path: str, fd: int) -> int:
    """Return the descriptor of a FIFO. Raises SourceError if the path has led to something else meanwhile."""
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise SourceError(path, "it is not a FIFO any more")
    return fd


def _names(inputs: Iterable[InputSettings]) -> Iterable[str]:
    return (name for settings in inputs for name in settings.log_file)
