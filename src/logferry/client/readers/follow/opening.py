"""Opens the files of a followed name: the one that has it, and those that were rotated since somebody last looked.

Owns how a file becomes a followed one: it is recognised by the checkpoints, suspected or not, and put where it belongs
in the order of its name. Must never decide whether a file that is open already is still what it was.
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from logferry.client.files.fd_pool import DescriptorPool
from logferry.client.files.identity import FileIdentity
from logferry.client.finding.compressed import is_compressed
from logferry.client.readers.follow.file import FollowedFile
from logferry.client.readers.follow.name import FollowedName
from logferry.client.readers.follow.registry import Registry
from logferry.client.recognition.recognise import Recogniser
from logferry.client.recognition.rotated import MAX_LISTINGS, RotatedFile, RotatedFiles
from logferry.errors import SourceError

logger = logging.getLogger(__name__)

# A file that was written this recently may change again without a change of its time stamp.
RACY_NS: Final = 20_000_000


class FileOpener:
    """Opens files and puts them into the registry. Used by the reading thread alone."""

    def __init__(
        self, registry: Registry, recogniser: Recogniser, descriptors: DescriptorPool, clock: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._recogniser = recogniser
        self._rotated_files = RotatedFiles(recogniser)
        self._folders = recogniser.folders
        self._descriptors = descriptors
        self._clock = clock

    def new_file(self, name: FollowedName, path: str) -> FollowedFile:
        """Open a file, outside the registry. Raises OSError or SourceError."""
        return FollowedFile(path, name.path, descriptors=self._descriptors, folders=self._folders, now=self._clock())

    def open(
        self, name: FollowedName, path: str, identity: FileIdentity, *, before: FollowedFile | None = None
    ) -> FollowedFile | None:
        """Open a file as the newest one, or as the newest before another one; None when it is open already.

        Raises FileNotFoundError also when another one has the path by now: what was renamed since is found first.
        """
        file = self.new_file(name, path)
        if file.identity != identity:
            file.close()
            raise FileNotFoundError(f"{path} is another file now")
        if self._registry.find(identity) is not None:
            file.close()
            return None
        self._recogniser.recognise(file, live=self._registry.source_ids)
        file.is_suspect = self.may_be_copy(file)
        self._registry.add(file, before=before)
        return file

    def may_be_copy(self, file: FollowedFile) -> bool:
        """Whether a file of which nothing was read may be a copy of a followed one."""
        return not file.offset and not file.is_archive and any(self._registry.originals(file))

    def open_rotated_since_last_run(self, name: FollowedName) -> None:
        """Open the files that had the name while no client was running, oldest first."""
        for _ in range(MAX_LISTINGS):
            if self._open_rotated(name, self._rotated_files.since_last_run(Path(name.path))):
                return
            self._folders.forget(os.path.dirname(name.path))

    def open_rotated_since(
        self,
        name: FollowedName,
        since_ns: int,
        *,
        certain_ns: int | None = None,
        before: FollowedFile | None = None,
    ) -> None:
        """Open files that had the name since, and perhaps before another file of it had; see RotatedFiles.since."""
        for _ in range(MAX_LISTINGS):
            known = {file.identity for file in (*name.files, *name.resting)}
            self._folders.forget(os.path.dirname(name.path))
            new = self._rotated_files.since(
                Path(name.path), since_ns, known, certain_ns=certain_ns, live=self._registry.source_ids
            )
            if self._open_rotated(name, new, before=before):
                return

    def _open_rotated(
        self, name: FollowedName, rotated: Sequence[RotatedFile], *, before: FollowedFile | None = None
    ) -> bool:
        """Open files that had the name while nobody looked, oldest first; they are read to their end first.

        They come before a file that has the name since, if one is given. False when one of them has another name by
        now.
        """
        for _, path, identity in rotated:
            if str(path) in self._registry.names and not is_compressed(str(path)):
                continue  # followed by itself
            try:
                file = self.open(name, str(path), identity, before=before)
            except FileNotFoundError:
                return False
            except (OSError, SourceError) as error:
                logger.warning("cannot read the rotated file %s: %s", path, error)
                continue
            if file is not None and not file.is_at_end:
                logger.info("%s was rotated meanwhile; it is read to its end first", path)
        return True

    def remember_files(self, name: FollowedName) -> None:
        """See to it that files are known after a restart, whatever they are called then, shipped or not.

        The oldest first: a file that is not known yet is found then because it is newer than those that are.
        """
        for file in list(name.files):
            if self._recogniser.is_remembered(file.source) or not (file.seen_size or file.is_archive):
                continue
            if file.is_suspect:
                return
            try:
                self._recogniser.remember(file)
            except OSError as error:
                self._registry.note_failure(file, error)
                return
