"""Maps the names of rotated log files to their original names, and back.

Owns the naming schemes of logrotate, savelog and the rotating handlers of logging libraries: numbers and dates, before
or after the suffix, and compressed copies. To support another scheme, extend this module and its tests. Works on names
only: must never access the file system.

A name is a hint, not proof: the content decides whether a file is a rotated one (client/recognition).
"""

import re
from collections.abc import Iterator
from typing import Final

from logferry.client.finding.compressed import READABLE_SUFFIXES

# A separator followed by a date or a number up to the end of the name.
_STAMP: Final = re.compile(r"(?<=.)[.-](?=[0-9][0-9T:_.-]*\Z)")

# A number with more digits is a date.
_MAX_NUMBER_DIGITS: Final = 3


def original_names(name: str) -> Iterator[str]:
    """Yield the names that a file may have had before it was rotated to `name`.

    `app.log.1`, `app.log-20240115`, `app-2024-01-15.log` and `app.1.log` may all have been `app.log`. For an archive,
    pass the name `without_archive_suffix`.
    """
    stem, dot, suffix = name.rpartition(".")
    for base, end in ((name, ""), (stem, dot + suffix)):
        for match in _STAMP.finditer(base):
            yield base[: match.start()] + end


def former_names(name: str) -> Iterator[str]:
    """Yield the names under which a file that is now called `name` may have been followed.

    These are its original names, `name` itself, and those with lower numbers: `app.log.3` was once `app.log.2`.
    """
    yield from original_names(name)
    yield name
    stem, _, _ = name.rpartition(".")
    yield from (f"{stem}.{lower}" for lower in range(rotation_number(name)))


def rotation_number(name: str) -> int:
    """Return how often a file was rotated according to its name, else 0. Higher numbers are older files."""
    number = name.rpartition(".")[2]
    return int(number) if number.isdecimal() and len(number) <= _MAX_NUMBER_DIGITS else 0


def is_archive_name(name: str) -> bool:
    """Whether a file with this name may be a compressed log file in which the client can continue."""
    return name.endswith(READABLE_SUFFIXES)


def without_archive_suffix(name: str) -> str:
    """Return the name that an archive had before it was compressed; any other name unchanged."""
    return name.rpartition(".")[0] if is_archive_name(name) else name
