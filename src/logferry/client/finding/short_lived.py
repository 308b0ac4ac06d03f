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


@dataclass(slots=True, eq=False)
class NewFile:
    """A file that nobody has looked at. Its `size` is 0 if it is not known; `names` are the paths that it has had."""

    names: list[str] = field(default_factory=list)
    is_written: bool = False
    size: int = 0


class Opened(NamedTuple):
    """A file that was opened: under which path, whether it had content so far, and whether it is at a path now."""

    path: str
    has_content: Callable[[], bool]
    is_at: Callable[[str], bool]


class ShortLivedFiles:
    """Follows new files by their names until somebody has looked at them, or they are gone. For one thread.

    Events say nothing of inodes, and they lag behind: a file may be opened before it is announced, and another one may
    have its name by then. What is opened is therefore matched with what was announced only when all events from before
    that are read.
    """

    def __init__(self, names_of: Callable[[str], Iterable[str]], is_followed: Callable[[str], bool]) -> None:
        """`names_of` returns under which other names a path may be opened, `is_followed` whether its file is known."""
        self._names_of = names_of
        self._is_followed = is_followed
        self._new: dict[str, NewFile] = {}  # by their present paths
        self._opened: list[Opened] = []  # since events were last taken

    def note_opened(self, opened: Opened) -> None:
        """Note that a file was opened. If it is new, the events that are taken until the next time announce it."""
        self._opened.append(opened)

    def take(self, events: Iterable[EntryEvent]) -> list[NewFile]:
        """Apply events in their order; return the files with content that are gone, and were never looked at."""
        gone = [file for file in self._apply(events) if file is not None]
        if self._opened:
            self._match(gone)
        return [file for file in gone if file.is_written]

    def _apply(self, events: Iterable[EntryEvent]) -> list[NewFile | None]:
        gone: list[NewFile | None] = []
        moving: dict[int, NewFile | None] = {}
        known: set[str] = set()  # the paths to which events moved files that are followed
        moving_known: set[int] = set()
        for event, path, cookie in events:
            if event is Event.CREATED:
                self._add(path, NewFile())
            elif event is Event.WRITTEN:
                if (written := self._new.get(path)) is not None:
                    written.is_written = True
            elif event is Event.MOVED_AWAY:
                moving[cookie] = self._new.pop(path, None)
                if moving[cookie] is None and (path in known or self._is_followed(path)):
                    moving_known.add(cookie)
                known.discard(path)
            elif event is Event.MOVED_HERE:
                gone.append(self._new.pop(path, None))
                if cookie in moving_known:
                    known.add(path)
                else:  # from a folder that is not watched, or under a name that nobody wanted, anything may be in it
                    self._add(path, moving.pop(cookie, None) or NewFile(is_written=True))
            else:
                gone.append(self._new.pop(path, None))
        return [*gone, *moving.values()]

    def _match(self, gone: list[NewFile]) -> None:
        """Remove the files that were opened from the new ones and from those that are gone, one for each opening."""
        here = {id(file): path for path, file in self._new.items()}
        named: dict[str, list[NewFile]] = {}
        for file in (*self._new.values(), *gone):
            for name in {name for path in file.names for name in (path, *self._names_of(path))}:
                named.setdefault(name, []).append(file)
        seen: set[int] = set()
        for opened in self._opened:
            found = self._best([file for file in named.get(opened.path, ()) if id(file) not in seen], here, opened)
            if found is not None:
                seen.add(id(found))
                if id(found) in here:
                    del self._new[here[id(found)]]
        self._opened.clear()
        gone[:] = [file for file in gone if id(file) not in seen]

    @staticmethod
    def _best(candidates: list[NewFile], here: dict[int, str], opened: Opened) -> NewFile | None:
        """Return the file that was opened: the one that is there, or else the first that is gone and like it."""
        for file in candidates:
            if id(file) in here and opened.is_at(here[id(file)]):
                return file
        has_content = opened.has_content()
        absent = [file for file in candidates if id(file) not in here] or candidates
        return min(absent, key=lambda file: file.is_written is not has_content, default=None)

    def note_size(self, path: str, size: int) -> None:
        """Note the size that a file had when it could not be opened any more."""
        if (file := self._new.get(path)) is not None:
            file.size, file.is_written = size, file.is_written or size > 0

    def note_look(self) -> None:
        """Note that all names were looked at: whatever exists has been seen, or its opening is matched later."""
        opened = {opened.path for opened in self._opened}
        for path, file in list(self._new.items()):
            is_undecided = opened and any(not opened.isdisjoint((name, *self._names_of(name))) for name in file.names)
            if not is_undecided and os.path.lexists(path):
                del self._new[path]

    def forget_all(self) -> None:
        """Forget the new files: events are missing."""
        self._new.clear()
        self._opened.clear()

    def _add(self, path: str, file: NewFile) -> None:
        if len(self._new) < _MAX_FILES:
            if len(file.names) < _MAX_NAMES:
                file.names.append(path)
            self._new[path] = file
