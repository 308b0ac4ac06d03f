"""What the inputs of a configuration mean on this machine at this moment; for `check-config`, and before a start.

Owns which names are rejected because they can never become log files. Must never change or open anything.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from logferry.client.finding.patterns import matching
from logferry.config import STANDARD_INPUT, InputSettings
from logferry.printable import quoted


@dataclass(frozen=True, slots=True)
class InputPreview:
    """The `files` that an input matches now; which of them are `unreadable`, and which an earlier input ships."""

    settings: InputSettings
    files: Sequence[str]
    unreadable: Sequence[str]
    claimed_earlier: Sequence[str]


def preview(inputs: Iterable[InputSettings]) -> list[InputPreview]:
    """Find the files of each input. A file that several inputs match belongs to the first of them."""
    found: list[InputPreview] = []
    seen: set[str] = set()
    for settings in inputs:
        names = [name for name in settings.log_file if name != STANDARD_INPUT]
        files = [name for name in matching(names, settings.exclude) if os.path.exists(name)]
        unreadable = [name for name in files if not os.access(name, os.R_OK)]
        found.append(InputPreview(settings, files, unreadable, [name for name in files if name in seen]))
        seen.update(files)
    return found


def not_log_files(inputs: Iterable[InputSettings]) -> list[str]:
    """Return one complaint for each configured name that exists and is not a file: to wait for it is useless."""
    names = (name for settings in inputs for name in settings.log_file if name != STANDARD_INPUT)
    return [f"log_file: {_complaint(name)}" for name in names if os.path.exists(name) and not os.path.isfile(name)]


def _complaint(name: str) -> str:
    if os.path.isdir(name):
        return f"{quoted(name)} is a directory; '{name.rstrip('/')}/*' means the files in it"
    return f"{quoted(name)} is not a regular file"
