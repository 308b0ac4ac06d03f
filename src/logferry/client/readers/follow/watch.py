"""What the kernel reports of the followed files: which folders are watched for it, and whether it reports all changes.

Owns the watcher. Where the kernel surely reports every change, nobody needs to look at every file all the time; this
module says when that is so. It must never say so too early: a change that is not reported is seen by looking alone.
"""

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import NamedTuple

from logferry.client.finding.inotify import FolderWatcher
from logferry.client.finding.listing import Folders
from logferry.client.finding.mounts import Mounts
from logferry.client.readers.follow.name import FollowedName
from logferry.client.readers.follow.registry import Registry


class ReportedChanges(NamedTuple):
    """What the kernel has reported."""

    names: Sequence[FollowedName] = ()  # whose files were written, or the like
    may_have_new_names: bool = False  # a name may have appeared, vanished or moved
    has_missed_some: bool = False  # there was more than the kernel could report


class ChangeWatch:
    """Watches the folders of the followed files, if there is a watcher. Used by the reading thread alone."""

    def __init__(self, watcher: FolderWatcher | None, registry: Registry, folders: Folders) -> None:
        self._watcher = watcher
        self._registry = registry
        self._folders = folders
        self._by_place: dict[str, FollowedName] = {}  # where a file really is
        self._revision = -1  # of the registry, when the folders were last chosen
        self._is_all_watched = False  # since then, by all that is known of places and mounts
        self._is_complete = False

    @property
    def fds(self) -> Sequence[int]:
        """Descriptors that become readable when something has changed."""
        return [self._watcher.fileno()] if self._watcher else []

    @property
    def is_complete(self) -> bool:
        """Whether the kernel reports every change, also of the files that have been found since the last sweep."""
        return self._is_complete and self._revision == self._registry.revision

    def take_changes(self) -> ReportedChanges:
        """Return what has changed since the last call; the listings of the folders that have changed are forgotten."""
        if self._watcher is None:
            return ReportedChanges()
        changes = self._watcher.read()
        for folder in changes.folders:
            self._folders.forget(folder)
        changed = [name for path in changes.paths if (name := self._by_place.get(path)) is not None]
        return ReportedChanges(changed, may_have_new_names=bool(changes.folders), has_missed_some=changes.overflow)

    def choose_folders(self, folders: Set[str]) -> bool:
        """Watch `folders`, and those where the files really are; return whether these were watched all the time."""
        before = self._revision
        if self._watcher is not None and self._revision != self._registry.revision:
            self._revision = self._registry.revision
            self._by_place = dict(self._places())
            self._watch(self._watcher, folders | {os.path.dirname(place) for place in self._by_place})
        return before == self._revision

    def note_sweep(self, *, was_watched: bool, has_links: bool) -> None:
        """Everything was looked at: note whether all changes since then are reported.

        What is written by another name of a file (a hard link) is reported for that one's folder.
        """
        self._is_complete = self._is_all_watched and was_watched and not has_links

    def close(self) -> None:
        """Stop watching."""
        if self._watcher:
            self._watcher.close()

    def _places(self) -> Iterator[tuple[str, FollowedName]]:
        for name in self._registry.names.values():
            for file in (*name.files, *name.resting):
                yield str(file.content.path), name

    def _watch(self, watcher: FolderWatcher, folders: Set[str]) -> None:
        wanted = {os.path.realpath(folder) for folder in folders}
        for folder in watcher.watched - wanted:
            watcher.unwatch(folder)
        for folder in wanted:
            watcher.watch(folder)  # again if need be: a folder that went away may have come back
        self._is_all_watched = wanted <= watcher.watched and self._are_all_reported(folders, wanted)

    def _are_all_reported(self, folders: Iterable[str], wanted: Set[str]) -> bool:
        """Whether no symbolic link leads to a file, and no other host writes one."""
        mounts = Mounts()
        return (
            all(mounts.is_local(folder) for folder in wanted)
            and not any(mounts.is_point(place) for place in self._by_place)
            and all(os.path.abspath(folder) in wanted for folder in folders)
            and all(map(self._is_in_its_place, self._registry.names.values()))
        )

    def _is_in_its_place(self, name: FollowedName) -> bool:
        if name.path in self._by_place or os.path.abspath(name.path) in self._by_place:
            return True
        return not (name.files or os.path.lexists(name.path))  # it will appear in a folder that is watched
