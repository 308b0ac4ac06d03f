"""Opens the files of a followed name: the file that has it, and those that were rotated since the last check.

Owns how a file becomes a followed one: the checkpoints recognise it, it may become a suspect, and it takes its place in
the order of the name's files. Must never decide whether a file that is already open is still the same.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from logferry.client.files.archives.archive import open_content
from logferry.client.files.content.fd_pool import DescriptorPool
from logferry.client.files.identity import FileIdentity, identity_of
from logferry.client.finding.compressed import is_compressed
from logferry.client.finding.links import places_of
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.follow.succession import Successions
from logferry.client.recognition.recognise import Recogniser, modified_ns_if_same
from logferry.client.recognition.rotated import MAX_LISTINGS, RotatedFile, RotatedFiles
from logferry.errors import SourceError, cause_of
from logferry.printable import printable

logger = logging.getLogger(__name__)

# A file that was written this recently may change again without a change of its modification time.
RACY_NS: Final = 20_000_000


class FileOpener:
    """Opens files and adds them to the registry. Used by the reading thread only."""

    def __init__(
        self,
        registry: Registry,
        recogniser: Recogniser,
        successions: Successions,
        descriptors: DescriptorPool,
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._recogniser = recogniser
        self._successions = successions
        self._rotated_files = RotatedFiles(recogniser)
        self._folders = recogniser.folders
        self._descriptors = descriptors
        self._clock = clock

    def new_file(self, name: FollowedName, path: str, *, place: str = "") -> FollowedFile:
        """Open a file without adding it to the registry. Raises OSError or SourceError.

        A file that had the name before had the real path `place` then; by default, that of the name now.
        """
        return FollowedFile(
            *(path, name.path),
            place=place or name.place,
            descriptors=self._descriptors,
            folders=self._folders,
            now=self._clock(),
        )

    def open(
        self,
        name: FollowedName,
        path: str,
        identity: FileIdentity,
        *,
        place: str = "",
        before: FollowedFile | None = None,
    ) -> FollowedFile | None:
        """Open a file as the newest one, or as the newest before another file; None if it is open already.

        Raises FileNotFoundError also when another file has the path by now: the caller must find renamed files first.
        """
        file = self.new_file(name, path, place=place)
        if file.identity != identity:
            file.close()
            raise FileNotFoundError(f"{path} is another file now")
        if self._registry.find(identity) is not None:
            file.close()
            return None
        try:
            self._recogniser.recognise(file, live=self._registry.source_ids)
        except BaseException:
            file.close()
            raise
        self._registry.add(file, before=before)
        self.suspect(file)
        return file

    def recognise_copy(self, file: FollowedFile) -> None:
        """Recognise a file that was suspected by the sources that have ended since. Raises OSError."""
        before = file.source
        self._recogniser.recognise_copy(file, live=self._registry.source_ids)
        if file.source is not before:
            self._registry.forget_source(before)
            self._registry.note_source(file)

    def suspect(self, file: FollowedFile) -> None:
        """Do not read a file yet if it may be a copy or a successor of a followed one. Raises OSError."""
        if file.offset or file.is_archive:
            file.is_suspect = False
        else:
            names = self._registry.lookalikes(file) if file.seen_size else self._registry.originals(file)
            is_named_like_copy = any(names)
            file.is_suspect = is_named_like_copy or self._successions.may_succeed(file, self._clock())
            file.suspected_at = self._clock()

    def open_rotated_since_last_run(self, name: FollowedName) -> None:
        """Open the files that had the name while no client was running, oldest first."""
        for _ in range(MAX_LISTINGS):
            try:
                if self._open_rotated(name, self._rotated_files.since_last_run(Path(name.path))):
                    return
                reason = "they are renamed all the time"
            except OSError as error:
                reason = cause_of(error)
            self._folders.forget(os.path.dirname(name.path))
        logger.error("cannot look for the rotated files of %s: %s", printable(name.path), reason)

    def open_rotated_since(
        self,
        name: FollowedName,
        since_ns: int,
        *,
        certain_ns: int | None = None,
        before: FollowedFile | None = None,
        place: str = "",
    ) -> None:
        """Open the files that had the name since then, to be read before `before` if given; see RotatedFiles.since.

        If the name leads to another `place` than it did, a link has changed, perhaps several times. If files are
        renamed all the time, note that the search must be repeated.
        """
        place = place or name.place
        between = self._rotated_files.led_to_between(name.place, place)
        places = [*places_of(name.path), place, name.place]
        since_ns = min(since_ns, name.unsearched_ns or since_ns)
        name.unsearched_ns = 0
        for _ in range(MAX_LISTINGS):
            for folder in map(os.path.dirname, places):
                self._folders.forget(folder)
            known = {file.identity for file in (*name.files, *name.resting)}
            with contextlib.suppress(OSError):
                new = self._rotated_files.since(
                    *(list(map(Path, dict.fromkeys(places))), since_ns, known),
                    present=place,
                    certain_ns=certain_ns,
                    live=self._registry.source_ids,
                    between=between,
                )
                if self._open_rotated(name, new, before=before):
                    return
        name.unsearched_ns = since_ns

    def open_copies_of_unseen(self, name: FollowedName, file: FollowedFile) -> None:
        """Open the copies of what a file held since the last check, if it was empty then.

        Nothing in the file itself shows that it held anything that was copied and truncated; only its copies do.
        """
        if name.unsearched_ns:
            self.open_rotated_since(name, name.unsearched_ns, before=file)
            return
        folder, base = os.path.split(name.place)
        looked_ns = name.looked_ns - RACY_NS
        with contextlib.suppress(OSError):  # of a folder that is gone; so are the copies in it
            has_changed = os.stat(folder or os.curdir).st_mtime_ns >= looked_ns
            if has_changed and self._folders.listing(folder or os.curdir).rotated_or_archived(base):
                self.open_rotated_since(name, looked_ns, before=file)

    def _open_rotated(
        self, name: FollowedName, rotated: Sequence[RotatedFile], *, before: FollowedFile | None = None
    ) -> bool:
        """Open the files that had the name between two checks, oldest first, to be read to their end first.

        They come before the file `before`, if given, unless that was rotated before them. Returns False when one of
        them was renamed again in the meantime.
        """
        for found in rotated:
            _, path, identity, place = found
            if self._registry.at(str(path)) not in (None, name) and not is_compressed(str(path)):
                continue  # followed under its own name
            try:
                successor = before and self._first_after(name, found, before)
                file = self.open(name, str(path), identity, place=str(place), before=successor)
            except FileNotFoundError:
                return False
            except (OSError, SourceError) as error:
                self._note_unread(name, str(path), error)
                continue
            if name.unread:
                name.note_unread(str(path), "")
            if file is not None and not file.is_at_end:
                logger.info("%s was rotated in the meantime; reading it to its end first", path)
        return True

    def _first_after(self, name: FollowedName, found: RotatedFile, before: FollowedFile) -> FollowedFile | None:
        """Return the first file, from `before` on, that must be read after a rotated file. Raises OSError.

        A file that was rotated itself may be older than others that were written and rotated before the client looked.
        """
        for file in name.files[name.files.index(before) :]:
            self._registry.find_name(file)
            path = file.content.path
            if file.content.is_pinned or str(path) == file.place:
                return file  # still has the name, or no name by which its age could be compared
            if found.age < RotatedFile(file.modified_ns(), path, file.identity, found.place).age:
                return file
        return None

    def retry_unread(self, name: FollowedName) -> None:
        """Open the rotated files that could not be read before, if they are there and can be read now."""
        for path, _ in name.unread:
            try:
                status = os.stat(path)
                with contextlib.closing(open_content(Path(path))) as content:
                    content.pread(1, 0)
            except FileNotFoundError:
                name.note_unread(path, "")
                continue
            except (OSError, SourceError):
                continue
            name.note_unread(path, "")
            file = RotatedFile(status.st_mtime_ns, Path(path), identity_of(status), Path(name.place))
            if self._was_followed(file):
                self._open_rotated(name, [file], before=name.newest)
            else:
                self.open_rotated_since(name, file.modified_ns, before=name.newest)

    def _was_followed(self, file: RotatedFile) -> bool:
        known = self._recogniser.checkpoints.of_identity(*file.identity)
        return any(modified_ns_if_same(file.path, checkpoint) is not None for checkpoint in known)

    def _note_unread(self, name: FollowedName, path: str, error: OSError | SourceError) -> None:
        """Report a rotated file that cannot be opened: once in the log, and in the status as long as it is there."""
        reason = error.reason if isinstance(error, SourceError) else cause_of(error)
        if name.note_unread(path, reason):
            self._registry.revision += 1
            logger.warning("cannot read the rotated file %s: %s", printable(path), reason)

    def remember_files(self, name: FollowedName) -> None:
        """Save what recognises the files after a restart, under whatever name, whether or not they were shipped.

        Oldest first: after a restart, a file that is not saved yet is found because it is newer than those that are.
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
