"""Which lines of surpluses (surplus.py) are not stored in the segments of their log. Part of `logferry fsck`.

The surpluses of a log are compared together, so that its segments are read once for 64 MiB of them, however many there
are. Only reads; bounded in what it holds in memory.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logferry.server.storage.disk.content.segment_bytes import any_form, blocks
from logferry.server.storage.disk.files.regular import open_file, size_of
from logferry.server.storage.disk.files.segment_files import files_in

# Lines that are held in memory together. A larger surplus is not compared.
MAX_COMPARED_BYTES: Final = 64 * 1024 * 1024


@dataclass(slots=True)
class ComparedSurplus:
    """A surplus: how many whole lines it has, and how many of them, each counted once, no segment has.

    `error` says that it cannot be read, `is_too_large` that its lines were not looked for.
    """

    path: Path
    size: int = 0
    lines: int = 0
    missing: int = 0
    is_too_large: bool = False
    error: OSError | None = None
    _wanted: set[bytes] = field(default_factory=set)


def compare_surpluses(folder: Path, file_names: Sequence[str]) -> Iterator[ComparedSurplus]:
    """Compare surpluses in the folder of a log with its segments; leave out those that are gone meanwhile."""
    together: list[ComparedSurplus] = []
    for file_name in file_names:
        surplus = _measured(folder / file_name)
        if surplus is None:
            continue
        if sum(each.size for each in together) + surplus.size > MAX_COMPARED_BYTES:
            yield from _compared(folder, together)
            together = []
        together.append(surplus)
    yield from _compared(folder, together)


def _measured(path: Path) -> ComparedSurplus | None:
    try:
        size = size_of(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return ComparedSurplus(path, error=error)
    if size > MAX_COMPARED_BYTES:
        return ComparedSurplus(path, size, is_too_large=True)
    return ComparedSurplus(path, size)


def _compared(folder: Path, surpluses: Sequence[ComparedSurplus]) -> Sequence[ComparedSurplus]:
    read = [surplus for surplus in surpluses if _reads(surplus)]
    wanted: set[bytes] = set().union(*(surplus._wanted for surplus in read))
    try:
        _discard_stored(folder, wanted)
    except OSError as error:
        for surplus in read:
            surplus.error = error
    for surplus in read:
        surplus.missing = len(surplus._wanted & wanted)
        surplus._wanted.clear()
    return surpluses


def _reads(surplus: ComparedSurplus) -> bool:
    if surplus.is_too_large or surplus.error:
        return False
    try:
        with open(open_file(surplus.path), "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    surplus.lines += 1
                    surplus._wanted.add(line)
    except OSError as error:
        surplus.error = error
    return surplus.error is None


def _discard_stored(folder: Path, lines: set[bytes]) -> None:
    """Take out of `lines` what the segments in a folder have. Raises OSError."""
    for name in sorted(files_in(os.listdir(folder), "")):
        if not lines:
            return
        with any_form(folder / str(name)) as content:
            rest = b""
            for block in blocks(content, 0, content.size):
                *whole, rest = (rest + block).split(b"\n")
                lines.difference_update(line + b"\n" for line in whole)
