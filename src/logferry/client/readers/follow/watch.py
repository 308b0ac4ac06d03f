"""Takes change notifications for the followed files from the kernel: chooses the folders to watch.

Owns the watcher, and the knowledge whether the kernel reports every change; where it does, the reader need not sweep
all the time. Must never claim that too early: only a sweep finds a change that was not reported.
"""

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import partial
from typing import NamedTuple

from logferry.client.files.identity import FileIdentity, identity_of
from logferry.client.finding.inotify import FolderWatcher
from logferry.client.finding.listing import FolderListings
from logferry.client.finding.mounts import Mounts
from logferry.client.finding.short_lived import NewFile, Opened, ShortLivedFiles
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry


class ReportedChanges(NamedTuple):
    """What the kernel has reported."""

    names: Sequence[FollowedName] = ()  # their files were written to, or the like
    may_have_new_names: bool = False  # a name may have appeared, vanished or moved
    has_missed_some: bool = False  # the kernel's queue overflowed
    gone: Sequence[NewFile] = ()  # new files that are gone, and that nobody has looked at


class ChangeWatch:
    """Watches the folders of the followed files, if there is a watcher. Used by the reading thread only."""

    def __init__(self, watcher: FolderWatcher | None, registry: Registry, folders: FolderListings) -> None:
        self._watcher = watcher
        self._registry = registry
        self._folders = folders
        self._by_place: dict[str, FollowedName] = {}  # by the real path of each file
        self._new_files = ShortLivedFiles(self._written, self._is_followed)
        self._as_written: dict[str, list[str]] = {}  # folders as the inputs write them, by their real paths
        self._revision = -1  # of the registry, when the folders were last chosen
        self._is_all_watched = False  # since then, as far as paths and mounts show
        self._is_complete = False

    @property
    def fds(self) -> Sequence[int]:
        """Descriptors that become readable when something has changed."""
        return [self._watcher.fileno()] if self._watcher else []

    @property
    def is_complete(self) -> bool:
        """Whether the kernel reports every change, and no file has come or gone since the folders were chosen."""
        return self._is_complete and self._revision == self._registry.revision

    def take_changes(self) -> ReportedChanges:
        """Return what has changed since the last call, and forget the listings of the folders that have changed."""
        if self._watcher is None:
            return ReportedChanges()
        changes = self._watcher.read()
        for folder in changes.folders:
            self._folders.forget(folder)
        changed = [name for path in changes.paths if (name := self._by_place.get(path)) is not None]
        if changes.overflow:
            self._new_files.forget_all()
            changes.entry_events.clear()
        return ReportedChanges(
            changed,
            may_have_new_names=bool(changes.folders),
            has_missed_some=changes.overflow,
            gone=self._new_files.take(changes.entry_events),
        )

    def names_of(self, file: NewFile) -> Iterator[str]:
        """Yield the names that a file has had, as the inputs write them."""
        return (name for path in file.names for name in self._written(path))

    def _written(self, path: str) -> Iterator[str]:
        folder, name = os.path.split(path)
        for written in self._as_written.get(folder, ()):
            yield name if written == os.curdir else os.path.join(written, name)

    def _is_followed(self, path: str) -> bool:
        return path in self._by_place or any(written in self._registry.names for written in self._written(path))

    def note_opened(self, file: FollowedFile) -> None:
        """Note that a file was opened."""
        if self._watcher is not None:
            path = file.followed_path if file.has_name else str(file.path)
            self._new_files.note_opened(Opened(path, lambda: file.has_been_seen, partial(_is_at, file.identity)))

    def note_vanished(self, path: str, size: int) -> None:
        """Note the size that a file had just before it could not be opened any more."""
        folder, name = os.path.split(path)
        self._new_files.note_size(os.path.join(os.path.realpath(folder), name), size)

    def choose_folders(self, folders: Set[str]) -> bool:
        """Watch `folders` and the real folders of the files; return whether exactly these were watched before."""
        before = self._revision
        if self._watcher is not None and self._revision != self._registry.revision:
            self._revision = self._registry.revision
            self._by_place = dict(self._places())
            self._as_written = {}
            for folder in folders:
                self._as_written.setdefault(os.path.realpath(folder), []).append(folder)
            self._watch(self._watcher, folders | {os.path.dirname(place) for place in self._by_place})
        return before == self._revision

    def note_sweep(self, *, was_watched: bool, has_links: bool) -> None:
        """Note after a sweep whether the kernel reports all changes from now on.

        The kernel reports a write through a hard link only to the folder of that link.
        """
        self._is_complete = self._is_all_watched and was_watched and not has_links
        self._new_files.note_look()

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
            watcher.watch(folder)  # even if watched before: a folder that vanished may have come back
        self._is_all_watched = wanted <= watcher.watched and self._are_all_reported(folders, wanted)

    def _are_all_reported(self, folders: Iterable[str], wanted: Set[str]) -> bool:
        """Whether no file is reached through a symbolic link, and no other host can write to one."""
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
        return not (name.files or os.path.lexists(name.path))  # a missing file will appear in a watched folder


def _is_at(identity: FileIdentity, path: str) -> bool:
    try:
        return identity_of(os.stat(path)) == identity
    except OSError:
        return False
