"""Takes the files of a state folder as what they are: files that a crash, a disk or another program may have damaged.

Owns what the values of a state file may be; small_files.py reads the files. A reader catches UNREADABLE, says what is
wrong with the file, and goes on as if the file were not there, or without the damaged part. Whatever such a file holds
must never end the client with a traceback, nor make it wait or take memory without a bound.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from logferry.errors import UnreadableState, cause_of
from logferry.permissions import advice

# What reading damaged content may raise.
UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)

# Devices, inodes and counters have 64 bits without a sign; offsets have 63.
_MAX_NUMBER: Final = 2**64 - 1
MAX_OFFSET: Final = 2**63 - 1

# The latest time that a file system can state is before this one. NaN, which JSON knows, is not.
_MAX_TIME: Final = 2.0**64

_MAX_CHARS: Final = 64 * 1024
_SHOWN_CHARS: Final = 80


def cannot_read(path: Path, error: OSError) -> UnreadableState:
    """Return the error for a state file that may be intact, with what somebody can do."""
    what = advice(path, error) or "; the file is left as it is: mend what keeps it from being read"
    return UnreadableState(f"cannot read {path}: {cause_of(error)}{what}, or use another folder with --state-dir")


def set_aside(path: Path) -> Path | None:
    """Rename a damaged file to `.damaged`; return its new path, None if that failed."""
    aside = path.with_name(f"{path.name}.damaged")
    with suppress(OSError):
        path.replace(aside)
        return aside
    return None


def shortly(value: object) -> str:
    """Return what a file has in place of something else, for a message: a forged file must not make it long."""
    return repr(value)[:_SHOWN_CHARS]


def check_values(part: Any, *, limits: Mapping[str, int] | None = None) -> None:
    """Check the type and the range of every field of a dataclass whose values come from a file.

    `limits` has the largest number for fields that have one of their own. Raises TypeError or ValueError.
    """
    for each in fields(part):
        value = getattr(part, each.name)
        if each.type is float:
            check_time(each.name, value)
        elif each.type is int:
            _check_number(each.name, value, (limits or {}).get(each.name, _MAX_NUMBER))
        elif each.type is str:
            check_text(each.name, value)
        elif each.type is bool and type(value) is not bool:
            raise TypeError(f"{each.name} is not true or false")


def check_time(name: str, value: object) -> None:
    """Check a time or a duration in seconds. Raises TypeError or ValueError."""
    if type(value) is not float and type(value) is not int:
        raise TypeError(f"{name} is not a time")
    if not 0 <= value <= _MAX_TIME:
        raise ValueError(f"{name} is not a time")


def check_offset(name: str, value: object) -> None:
    """Check an offset in a file, or a number of lines. Raises TypeError or ValueError."""
    _check_number(name, value, MAX_OFFSET)


def check_text(name: str, value: object) -> None:
    """Check a text, which may be a file name. Raises TypeError or ValueError."""
    if type(value) is not str:
        raise TypeError(f"{name} is not a text")
    if len(value) > _MAX_CHARS or "\0" in value:
        raise ValueError(f"{name} is too long, or holds a NUL")
    os.fsencode(value)  # half a character, which no name has: a ValueError


def _check_number(name: str, value: object, most: int) -> None:
    if type(value) is not int:
        raise TypeError(f"{name} is not a number")
    if not 0 <= value <= most:
        raise ValueError(f"{name} is out of range")
