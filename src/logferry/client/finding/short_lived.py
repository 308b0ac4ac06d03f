"""Notices files that came and went before anybody could open them, from the kernel's notifications.

Owns which new files nobody has looked at yet, under whatever names they have had. Must never touch the file system more
than to ask whether a name exists, and must never decide whether a file was wanted.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, NamedTuple

# More new files than this between two looks, or more names of one file, are not told apart.
_MAX_FILES: Final = 10_000
_MAX_NAMES: Final = 8


class Event(Enum):
    """What happened to an entry of a folder."""

    CREATED = auto()
    WRITTEN = auto()
    MOVED_AWAY = auto()
    MOVED_HERE = auto()
    DELETED = auto()


class EntryEvent(NamedTuple):
    """Something that happened to an entry. Both ends of a move have the same `cookie`."""

    event: Event
    path: str
    cookie: int = 0


@dataclass(slots=True)
class NewFile:
    """A file that nobody has looked at. Its `size` is 0 if it is not known.

    `names` are the names that it has had; each with what was open under that name before.
    """

    names: dict[str, object] = field(default_factory=dict)
    is_written: bool = False
    size: int = 0


class ShortLivedFiles:
    """Follows new files by their names until somebody has looked at them, or they are gone. For one thread."""

    def __init__(self, open_under: Callable[[str], object]) -> None:
        """`open_under` returns what is open under a name, which changes when a new file is opened."""
        self._open_under = open_under
        self._new: dict[str, NewFile] = {}  # by their present paths

    def take(self, events: Iterable[EntryEvent]) -> list[NewFile]:
        """Apply events in their order; return the files with content that are gone, and were never looked at."""
        gone: list[NewFile | None] = []
        moving: dict[int, NewFile | None] = {}
        for event, path, cookie in events:
            if event is Event.CREATED:
                self._add(path, NewFile())
            elif event is Event.WRITTEN:
                if (file := self._new.get(path)) is not None:
                    file.is_written = True
            elif event is Event.MOVED_AWAY:
                moving[cookie] = self._new.pop(path, None)
            elif event is Event.MOVED_HERE:
                gone.append(self._new.pop(path, None))
                # From a folder that is not watched: nobody knows what was written to it there.
                file = moving.pop(cookie, None) if cookie in moving else NewFile(is_written=True)
                if file is not None:
                    self._add(path, file)
            else:
                gone.append(self._new.pop(path, None))
        return [file for file in (*gone, *moving.values()) if file is not None and file.is_written]

    def note_size(self, path: str, size: int) -> None:
        """Note the size that a file had when it could not be opened any more."""
        if (file := self._new.get(path)) is not None:
            file.size, file.is_written = size, file.is_written or size > 0

    def note_look(self) -> None:
        """Note that all names were looked at: whatever exists or was opened has been seen."""
        for path, file in list(self._new.items()):
            was_opened = any(self._open_under(name) is not before for name, before in file.names.items())
            if was_opened or os.path.lexists(path):
                del self._new[path]

    def forget_all(self) -> None:
        """Forget the new files: events are missing."""
        self._new.clear()

    def _add(self, path: str, file: NewFile) -> None:
        if len(self._new) < _MAX_FILES:
            if len(file.names) < _MAX_NAMES:
                file.names[path] = self._open_under(path)
            self._new[path] = file
