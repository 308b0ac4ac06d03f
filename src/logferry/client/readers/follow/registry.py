"""Which files are followed: every open one by its identity and by its source, and the name that each is read under.

Owns the membership: a file is in the registry, in the list of its name, and open or to be opened again, or it is none
of that. So whoever finds out that a file is gone, or is a copy of another one, says so here. Also owns what is reported
of all files together: losses, and the revision. Must never open a file, nor decide what is to be read.
"""

import logging
from collections.abc import Iterator

from logferry.client.files.fd_pool import Gone
from logferry.client.files.identity import FileIdentity
from logferry.client.readers.follow.copies import paths_of_originals
from logferry.client.readers.follow.file import FollowedFile, Standing
from logferry.client.readers.follow.name import FollowedName
from logferry.errors import SourceError, cause_of
from logferry.model.loss import Loss
from logferry.model.source import Source

logger = logging.getLogger(__name__)


class Registry:
    """The names and files of a reader. The reading thread writes; the status thread reads `names` and `revision`."""

    def __init__(self) -> None:
        self.names: dict[str, FollowedName] = {}
        self.attention: dict[FollowedName, bool] = {}  # to be looked at in any case; whether by time alone it changes
        self.losses: list[Loss] = []
        self.revision = 0
        self._by_identity: dict[FileIdentity, FollowedFile] = {}
        self._by_source: dict[str, FollowedFile] = {}  # by id, as far as the file is open or can be opened

    # --- asking -------------------------------------------------------------------------------------------------------

    def owner(self, file: FollowedFile) -> FollowedName:
        """Return the name that a file is read under."""
        return self.names[file.followed_path]

    def of_source(self, source: Source) -> FollowedFile | None:
        """Return the file that a source is read from."""
        file = self._by_source.get(source.id)
        return file if file is not None and file.source is source else None

    @property
    def source_ids(self) -> dict[str, FollowedFile]:
        """The ids of all sources that are read."""
        return self._by_source

    def with_identity(self, identity: FileIdentity) -> FollowedFile | None:
        """Return the file of that identity, as far as it is remembered."""
        return self._by_identity.get(identity)

    def find(self, identity: FileIdentity) -> FollowedFile | None:
        """Return the file of that identity; one that was closed since may have had its inode taken by another."""
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
        """Give the names whose file a file, called as it is now, may be a copy of."""
        for path in paths_of_originals(file.content.path):
            if (name := self.names.get(path)) is not None:
                yield name

    def heir(self, file: FollowedFile) -> FollowedName | None:
        """Return the name that a renamed file is called by now, if that is another one that is followed."""
        name = self.names.get(file.name)
        return name if name is not None and name.path != file.followed_path else None

    # --- files come and go --------------------------------------------------------------------------------------------

    def add(self, file: FollowedFile, *, before: FollowedFile | None = None) -> None:
        """Read a file under its name, after all others of that name or just before one of them."""
        self.owner(file).add(file, before=before)
        self._by_identity[file.identity] = file
        self.note_source(file)

    def note_source(self, file: FollowedFile) -> None:
        """Note that a file is another source than before."""
        self._by_source[file.source.id] = file
        self.revision += 1

    def forget_source(self, source: Source) -> None:
        """Nothing more can be read of a source."""
        self._by_source.pop(source.id, None)

    def hand_over(self, file: FollowedFile, heir: FollowedName) -> None:
        """Go on with a file under the name that it is called by now."""
        self.owner(file).remove(file)
        file.followed_path = heir.path
        self.revision += 1
        heir.add(file)
        heir.seen = None
        self.attention[heir] = True

    def forget(self, file: FollowedFile) -> None:
        """Close a file for good: no more of its source will be read."""
        self.owner(file).remove(file)
        file.source.is_finished = True
        self._release(file)
        self.revision += 1

    def forget_copy(self, file: FollowedFile) -> None:
        """Close a file that is a copy of another one, and is read in place of what was copied, or not at all."""
        name = self.owner(file)
        self.forget(file)
        name.seen = None

    def lose(self, file: FollowedFile) -> None:
        """A file that was closed is not there any more."""
        if file.standing is not Standing.RESTING and file.seen_size > file.offset:
            reason = "deleted before it was read, while its descriptor was lent to other files"
            self.losses.append(Loss(file.source, file.offset, file.seen_size, reason))
        self.forget(file)

    def close(self, name: FollowedName) -> None:
        """Close all files of a name; a later run can go on with them."""
        for file in (*name.files, *name.resting):
            self._release(file)
        name.files.clear()
        name.resting = ()
        self.attention.pop(name, None)

    def _release(self, file: FollowedFile) -> None:
        if self._by_identity.get(file.identity) is file:  # its inode may be another file's by now
            del self._by_identity[file.identity]
        self.forget_source(file.source)
        file.become(Standing.RELEASED)
        file.overwritten.clear()  # nothing of it is to be looked after any more
        file.close()

    # --- what is noted ------------------------------------------------------------------------------------------------

    def find_name(self, file: FollowedFile) -> None:
        """Find out what a file is called now."""
        if file.find_name():
            self.revision += 1

    def note_attention(self, name: FollowedName) -> bool:
        """Note whether a name is to be looked at in any case: time alone may change something, or files rest."""
        may_change_by_time = name.may_change_by_time
        needs_it = may_change_by_time or bool(name.resting)
        if needs_it:
            self.attention[name] = may_change_by_time
        else:
            self.attention.pop(name, None)
        return needs_it

    def note_problem(self, name: FollowedName, problem: str) -> None:
        """Note why a name cannot be read now, and log it once."""
        if problem == name.problem:
            return
        name.problem = problem
        self.revision += 1
        if problem and (name.is_literal or problem != "gone"):
            logger.warning("cannot read %s: %s", name.path, problem)

    def note_failure(self, file: FollowedFile, error: SourceError | OSError) -> None:
        """A file cannot be read now; or never again, if its descriptor was lent to others when it was deleted."""
        if isinstance(error, Gone) or isinstance(error.__cause__, Gone):
            self.lose(file)
            return
        name = self.owner(file)
        reason = error.reason if isinstance(error, SourceError) else cause_of(error)
        if reason != name.file_problem:
            logger.error("cannot read %s: %s", file.path, reason)
            self.revision += 1
        name.file_problem = reason
