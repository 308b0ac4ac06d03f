"""Previews what the inputs of a configuration match on this machine now; for `check-config`, and before a start.

Owns the check for names that can never become log files. Must never change or open anything.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from logferry.client.finding.fifos import is_fifo
from logferry.client.finding.foreign_links import foreign_link
from logferry.client.finding.patterns import matching
from logferry.config import STANDARD_INPUT, InputSettings
from logferry.printable import quoted


@dataclass(frozen=True, slots=True)
class InputPreview:
    """The `files` that an input matches now: those that are `unreadable`, and those that an earlier input ships."""

    settings: InputSettings
    files: Sequence[str]
    unreadable: Sequence[str]
    claimed_earlier: Sequence[str]
    foreign: Sequence[str] = ()  # links to files of other users, which root does not follow


def preview(inputs: Iterable[InputSettings]) -> list[InputPreview]:
    """Find the files of each input. A file that matches several inputs belongs to the first of them."""
    found: list[InputPreview] = []
    seen: set[str] = set()
    for settings in inputs:
        names = [name for name in settings.log_file if name != STANDARD_INPUT]
        files = [name for name in matching(names, settings.exclude) if os.path.exists(name)]
        unreadable = [name for name in files if not os.access(name, os.R_OK)]
        claimed, foreign = [name for name in files if name in seen], list(filter(foreign_link, files))
        found.append(InputPreview(settings, files, unreadable, claimed, foreign))
        seen.update(files)
    return found


def not_log_files(inputs: Sequence[InputSettings]) -> list[str]:
    """Return a message for each configured name that exists but is not a file, so that waiting for it is useless."""
    names = [name for settings in inputs for name in settings.log_file if name != STANDARD_INPUT]
    if len(names) == 1 and is_fifo(names[0]):
        return []
    return [f"log_file: {_reason(name)}" for name in names if os.path.exists(name) and not os.path.isfile(name)]


def _reason(name: str) -> str:
    if os.path.isdir(name):
        return f"{quoted(name)} is a directory; '{name.rstrip('/')}/*' means the files in it"
    if is_fifo(name):
        return f"{quoted(name)} is a FIFO, which must be the only input of its client"
    return f"{quoted(name)} is not a regular file"
