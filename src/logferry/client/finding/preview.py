"""What the inputs of a configuration mean on this machine, now: how many files, and what can never be a log file."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from logferry.client.finding.listing import matching
from logferry.config import STANDARD_INPUT, InputSettings


@dataclass(frozen=True, slots=True)
class InputNow:
    """The files that an input has now, those of them that may not be read, and those that an earlier input has too."""

    settings: InputSettings
    files: Sequence[str]
    unreadable: Sequence[str]
    taken: Sequence[str]


def survey(inputs: Iterable[InputSettings]) -> list[InputNow]:
    """Look at the files of all inputs."""
    found: list[InputNow] = []
    seen: set[str] = set()
    for settings in inputs:
        names = [name for name in settings.log_file if name != STANDARD_INPUT]
        files = [name for name in matching(names, settings.exclude) if os.path.exists(name)]
        unreadable = [name for name in files if not os.access(name, os.R_OK)]
        found.append(InputNow(settings, files, unreadable, [name for name in files if name in seen]))
        seen.update(files)
    return found


def unfit(inputs: Iterable[InputSettings]) -> list[str]:
    """Return what is wrong with names that are there, but are no files: waiting will not make them log files."""
    names = (name for settings in inputs for name in settings.log_file if name != STANDARD_INPUT)
    return [f"log_file: {_complaint(name)}" for name in names if os.path.exists(name) and not os.path.isfile(name)]


def _complaint(name: str) -> str:
    if os.path.isdir(name):
        return f"{name!r} is a directory; '{name.rstrip('/')}/*' means the files in it"
    return f"{name!r} is not a regular file"
