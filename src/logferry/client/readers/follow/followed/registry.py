"""The followed files: each by its identity and by its source, and the name that it is read under.

Owns membership: a file is in the registry, in the list of its name, and open or to be reopened; or it is none of these.
So a module that finds a file gone, or a copy of another file, removes the file here. Also owns what is reported for all
files together: the losses and the revision. Must never open a file to read it, nor decide what is read.
"""

import logging
import os
from collections.abc import Callable, Iterator

from logferry.client.files.content.fd_pool import FileGone
from logferry.client.files.identity import FileIdentity
from logferry.client.files.overwritten import OverwrittenSource
from logferry.client.finding.rotation_names import shorter_names
from logferry.client.readers.follow.followed.copies import paths_of_originals
from logferry.client.readers.follow.followed.file import FollowedFile, Standing
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.errors import SourceError, cause_of
from logferry.model.loss import Loss
from logferry.model.source import Source

logger = logging.getLogger(__name__)


class Registry:
    """The names and files of a reader. The reading thread writes; the status thread reads `names` and `revision`."""

    def __init__(self) -> None:
        self.names: dict[str, FollowedName] = {}
        self.attention: dict[FollowedName, bool] = {}  # to check in every poll; whether time alone may change something
        self.losses: list[Loss] = []
        self.revision = 0
        self._by_place: dict[str, FollowedName] = {}  # names that lead elsewhere through links, by their real paths
        self.on_deleted: Callable[[FollowedName, FollowedFile], None] = lambda name, file: None
        self.on_added: Callable[[FollowedFile], None] = lambda file: None
        self._by_identity: dict[FileIdentity, FollowedFile] = {}
        self._by_source: dict[str, FollowedFile] = {}  # by source ID; only files that are open or can be reopened

    # --- queries ------------------------------------------------------------------------------------------------------

    def owner(self, file: FollowedFile) -> FollowedName:
        """Return the name that a file is read under."""
        return self.names[file.followed_path]

    def at(self, path: str) -> FollowedName | None:
        """Return the name that is followed at a path: it is this path, or leads there through links."""
        return self.names.get(path) or self._by_place.get(path)

    def of_source(self, source: Source) -> FollowedFile | None:
        """Return the file that a source is read from, or None."""
        file = self._by_source.get(source.id)
        return file if file is not None and file.source is source else None

    @property
    def source_ids(self) -> dict[str, FollowedFile]:
        """The IDs of all sources that are being read."""
        return self._by_source

    def with_identity(self, identity: FileIdentity) -> FollowedFile | None:
        """Return the registered file with this identity, without checking that the file still exists."""
        return self._by_identity.get(identity)

    def find(self, identity: FileIdentity) -> FollowedFile | None:
        """Return the file with this identity, or None if its inode belongs to another file by now."""
        file = self._by_identity.get(identity)
        if file is None or file.has_name or file.content.is_open:
            return file
        self.find_name(file)
        try:
            if file.is_still():
                return file
        except OSError:
            return file  # it cannot be opened now
        self.lose(file)
        return None

    def suspects(self) -> list[FollowedFile]:
        """Return all files that may be copies of others."""
        return [file for file in self._by_identity.values() if file.is_suspect]

    def originals(self, file: FollowedFile) -> Iterator[FollowedName]:
        """Yield the names whose files a file may be a copy of, by its current path."""
        for path in paths_of_originals(file.content.path):
            if (name := self.at(path)) is not None:
                yield name

    def lookalikes(self, file: FollowedFile) -> Iterator[FollowedName]:
        """Yield `originals`, and the names that the file's name only begins with: it may be a copy all the same."""
        yield from self.originals(file)
        yield from self.namesakes(file)

    def namesakes(self, file: FollowedFile) -> Iterator[FollowedName]:
        """Yield the names that the file's name only begins with: nothing in it says that it was rotated."""
        originals = list(self.originals(file))
        folder, base = os.path.split(file.content.path)
        for shorter in shorter_names(base):
            if (name := self.at(os.path.join(folder, shorter))) is not None and name not in originals:
                yield name

    def heir(self, file: FollowedFile) -> FollowedName | None:
        """Return the followed name that a renamed file has now, if it is not the name that the file is read under."""
        name = self.at(file.name)
        return name if name is not None and name.path != file.followed_path else None

    # --- names come and go --------------------------------------------------------------------------------------------

    def add_name(self, name: FollowedName) -> None:
        """Follow a name."""
        self.names[name.path] = name
        self._note_place(name)

    def remove_name(self, name: FollowedName) -> None:
        """Close all files of a name, and stop following it."""
        self.close(name)
        self._forget_place(name)
        del self.names[name.path]

    def move(self, name: FollowedName, place: str) -> None:
        """Note that a name leads to another place than before."""
        self._forget_place(name)
        name.place = place
        self._note_place(name)

    def _note_place(self, name: FollowedName) -> None:
        if name.place != name.path:
            self._by_place.setdefault(name.place, name)

    def _forget_place(self, name: FollowedName) -> None:
        if self._by_place.get(name.place) is name:
            del self._by_place[name.place]

    # --- files come and go --------------------------------------------------------------------------------------------

    def add(self, file: FollowedFile, *, before: FollowedFile | None = None) -> None:
        """Register a file under its name, to be read after all other files of the name or just before one of them."""
        self.owner(file).add(file, before=before)
        self._by_identity[file.identity] = file
        self.note_source(file)
        self.on_added(file)

    def note_source(self, file: FollowedFile) -> None:
        """Note that a file has a new source."""
        self._by_source[file.source.id] = file
        file.source.is_ended = False
        self.revision += 1

    def forget_source(self, source: Source) -> None:
        """Note that nothing more can be read of a source."""
        self._by_source.pop(source.id, None)

    def end_source(self, source: Source) -> None:
        """Note that the file of a source has other content now, and that no other file holds what it held."""
        self.forget_source(source)
        source.is_ended = True

    def hand_over(self, file: FollowedFile, heir: FollowedName) -> None:
        """Continue a renamed file under its new name, which is followed too."""
        self.owner(file).remove(file)
        file.followed_path = heir.path
        self.revision += 1
        heir.add(file)
        heir.seen = None
        self.attention[heir] = True

    def succeed(self, file: FollowedFile, successor: FollowedFile) -> None:
        """Continue the source of a file in another one, which holds all that was read of it, and close the file.

        Raises OSError when the successor cannot be read now, and then changes nothing.
        """
        self.continue_in(successor, file.progress())
        self.owner(file).remove(file)
        self._release(file)

    def continue_in(self, file: FollowedFile, progress: OverwrittenSource) -> None:
        """Continue a source in a file that was not read yet. Raises OSError, and then changes nothing."""
        before = file.source
        file.take_over(progress)
        self.forget_source(before)
        self.note_source(file)

    def forget(self, file: FollowedFile) -> None:
        """Close a file for good: nothing more of its source will be read."""
        self.owner(file).remove(file)
        file.source.is_finished = True
        self._release(file)
        self.revision += 1

    def forget_copy(self, file: FollowedFile) -> None:
        """Close a suspect that is a copy: another copy of the same file is read, or its original."""
        name = self.owner(file)
        self.forget(file)
        name.seen = None

    def lose(self, file: FollowedFile) -> None:
        """Forget a file that was deleted while it was closed, and record its unread bytes as lost."""
        if file.standing is not Standing.RESTING and file.seen_size > file.offset:
            reason = "deleted before it was read, while its descriptor was lent to other files"
            self.losses.append(Loss(file.source, file.offset, file.seen_size, reason))
        if file.standing is not Standing.RESTING:
            self.on_deleted(self.owner(file), file)
        self.forget(file)

    def close(self, name: FollowedName) -> None:
        """Close all files of a name; a later run can resume them."""
        for file in (*name.files, *name.resting):
            self._release(file)
        name.files.clear()
        name.resting = ()
        self.attention.pop(name, None)

    def _release(self, file: FollowedFile) -> None:
        if self._by_identity.get(file.identity) is file:  # another file may have its inode by now
            del self._by_identity[file.identity]
        if self._by_source.get(file.source.id) is file:  # a successor may continue its source
            self.forget_source(file.source)
        file.become(Standing.RELEASED)
        file.overwritten.clear()  # otherwise Truncations would act on a released file
        file.close()

    # --- observations -------------------------------------------------------------------------------------------------

    def find_name(self, file: FollowedFile) -> None:
        """Look up a file's current name."""
        if file.find_name():
            self.revision += 1

    def note_attention(self, name: FollowedName) -> bool:
        """Note and return whether every poll must check a name: time alone may change something, or files rest."""
        may_change_by_time = name.may_change_by_time
        needs_it = may_change_by_time or bool(name.resting)
        if needs_it:
            self.attention[name] = may_change_by_time
        else:
            self.attention.pop(name, None)
        return needs_it

    def note_problem(self, name: FollowedName, problem: str) -> None:
        """Note why a name cannot be read now, and log the reason when it changes."""
        if problem == name.problem:
            return
        name.problem = problem
        self.revision += 1
        if problem and (name.is_literal or problem != "gone"):
            logger.warning("cannot read %s: %s", name.path, problem)

    def note_failure(self, file: FollowedFile, error: SourceError | OSError) -> None:
        """Note that a file cannot be read now, or never again if it was deleted while its descriptor was lent out."""
        if isinstance(error, FileGone) or isinstance(error.__cause__, FileGone):
            self.lose(file)
            return
        name = self.owner(file)
        reason = error.reason if isinstance(error, SourceError) else cause_of(error)
        if reason != name.file_problem:
            logger.error("cannot read %s: %s", file.path, reason)
            self.revision += 1
        name.file_problem = reason
