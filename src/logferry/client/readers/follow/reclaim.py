"""Finds the file of a source again that the reader no longer holds, because a server lacks some of its bytes.

Owns that search: under the name of the source, under the name that the file has now, and in its copies and archives.
The content decides. Must never take a file for a source whose bytes it does not have.
"""

import os
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final

from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.follow.names import FollowedNames
from logferry.client.readers.follow.opening import FileOpener
from logferry.client.recognition.recognise import Recogniser, has_content
from logferry.client.state.checkpoint import Checkpoint
from logferry.errors import SourceError
from logferry.model.source import Source


class Unreclaimed(Enum):
    """Why a source is not read again."""

    GONE = auto()  # none of the files has its bytes: they are lost
    NOT_NEEDED = auto()  # its name is not followed, or the client ships the same bytes as another source


_NOT_NEEDED: Final = Unreclaimed.NOT_NEEDED


class Reclaimer:
    """Finds files again. Used by the reading thread only."""

    def __init__(self, registry: Registry, names: FollowedNames, opener: FileOpener, recogniser: Recogniser) -> None:
        self._registry = registry
        self._names = names
        self._opener = opener
        self._recogniser = recogniser

    def reclaim(self, source: Source) -> FollowedFile | Unreclaimed:
        """Open the file of a source, and register it as the first one to read of its name."""
        checkpoint = self._recogniser.checkpoints.of_source(source.id)
        if checkpoint is None:
            return Unreclaimed.GONE
        name = self._names.named(source.path)
        if name is None:
            return _NOT_NEEDED
        for path in self._candidates(checkpoint):
            found = self._try(name, path, source, checkpoint)
            if found is not None:
                return found
        return Unreclaimed.GONE

    def _candidates(self, checkpoint: Checkpoint) -> Iterator[str]:
        for folder, base in map(os.path.split, checkpoint.places):
            listing = self._recogniser.folders.listing(folder)
            first = [name for name in (listing.by_inode.get(checkpoint.inode), base) if name]
            for name in dict.fromkeys([*first, *listing.rotated_or_archived(base)]):
                yield os.path.join(folder, name)

    def _try(
        self, name: FollowedName, path: str, source: Source, checkpoint: Checkpoint
    ) -> FollowedFile | Unreclaimed | None:
        try:
            file = self._opener.new_file(name, path)
        except (OSError, SourceError):
            return None
        try:
            if not checkpoint.head_bytes or not has_content(file, checkpoint):
                file.close()
                return None
            other = self._registry.find(file.identity)
            if other is not None:
                file.close()
                is_same_content = other.source is not source and not other.source.asked_from
                return _NOT_NEEDED if is_same_content else None
            self._take(name, file, source)
        except (OSError, SourceError):
            file.close()
            return None
        return file

    def _take(self, name: FollowedName, file: FollowedFile, source: Source) -> None:
        file.resume(source)
        source.device, source.inode = file.identity
        self._recogniser.remember(file)
        if name.path not in self._registry.names:  # last: a step before may fail, and the caller closes the file then
            self._registry.add_name(name)
        self._registry.add(file, before=next(iter(name.files), None))
