"""One followed name and the files that have it or had it: each is read to its end, the oldest first, as `tail -F` with
a memory.

A file that lost the name is held open until its last byte is acked and nobody writes to it any more; as long as it can
be found under another name it is still looked at, for late writes. When the file that has the name was truncated, its
copy beside it (copytruncate of logrotate) is read on in its place.
"""

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Final

from logferry.client.files.fd_pool import Gone
from logferry.client.files.identity import FileIdentity, identity_of
from logferry.client.files.line_reader import Left
from logferry.client.finding.compressed import is_compressed
from logferry.client.readers.follow.copies import copy_of, needs_vetting, vet
from logferry.client.readers.follow.file import Common, File
from logferry.client.readers.input_rules import Input
from logferry.client.recognition.rotated import MAX_LISTINGS, RotatedFile
from logferry.errors import SourceError, cause_of
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss, LossKind

logger = logging.getLogger(__name__)

# When nobody has a renamed file open for writing, a line without an end is taken for a line after this time.
_UNWRITTEN_QUIET_S: Final = 2.0

# What was read of a file that was truncated is known for this long, and of so many: its copy may appear later.
_COPY_EXPECTED_S: Final = 60.0
_MOST_FORMER: Final = 4

_SUSPECTED: Final = "it looks like a copy that is being made of a followed file"

# So many files that had the name are looked at for late writes.
_MAX_RESTING: Final = 32

# A file that was written this recently may change again without a change of its time stamp.
_RACY_NS: Final = 20_000_000


class FollowedName:
    """A name and its files. What is to be read is read by `read`; everything else happens in `look`."""

    # There may be tens of thousands of them, most with a single file: an empty deque would take 760 bytes.
    __slots__ = (
        "_common",
        "_former",
        "_holder",
        "_looked_ns",
        "_unreadable",
        "behind_since",
        "files",
        "input",
        "is_literal",
        "path",
        "problem",
        "resting",
        "seen",
    )

    def __init__(self, path: str, wanted: Input, common: Common, *, is_literal: bool = True) -> None:
        """A name that was found by a pattern is forgotten when its last file is gone."""
        self.path = path
        self.input = wanted
        self.is_literal = is_literal
        self.files: list[File] = []  # oldest first; the last one has the name, or had it last
        self.resting: list[File] = []  # read and acked to the end, closed, still to be found
        self.seen: tuple[int, int, int, int] | None = None  # device, inode, size and time of the name's file
        self.problem = ""  # why the name cannot be opened now
        self._unreadable = ""  # why a file of it cannot be read now
        self.behind_since = 0.0  # Unix time
        self._common = common
        self._holder: FileIdentity | None = None  # the file that has the name
        self._looked_ns = time.time_ns()  # of the last look, in Unix time
        self._former: tuple[tuple[float, Left], ...] = ()  # what was truncated lately, with no copy of it, and when

    def take_over(self, wanted: Input) -> None:
        """Follow it for this input from now on; what its lines become is decided again if that has other settings."""
        if wanted.settings != self.input.settings:
            for file in (*self.files, *self.resting):
                file.prepared_for = None
        self.input = wanted

    # --- looking ------------------------------------------------------------------------------------------------------

    def _ask_for_attention(self) -> bool:
        """Say whether this name is to be looked at in any case: time alone may change something, or files rest."""
        is_urgent = bool(
            len(self.files) > 1
            or self._unreadable
            or any(file.is_pending or not file.is_vetted or file.is_superseded for file in self.files)
        )
        needs_it = is_urgent or bool(self.resting)
        if needs_it:
            self._common.attention[self] = is_urgent
        else:
            self._common.attention.pop(self, None)
        return needs_it

    def look(self) -> bool:
        """Look who has the name now; let go of what is done. Return whether there may be something to read."""
        before, had_attention, now_ns = self.seen, self in self._common.attention, time.time_ns()
        self._holder = None
        try:
            status = os.stat(self.path)
            self._holder = identity_of(status)
            self.seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if abs(now_ns - status.st_mtime_ns) < _RACY_NS:
                self.seen = None
            self.report(self._attend(self._holder))
        except FileNotFoundError:
            self.seen = None
            self.report("waiting for it to appear" if self.is_literal else "gone")
        except SourceError as error:
            self.report(error.reason)
            self.seen = None  # whatever makes it readable may not change it
        except OSError as error:
            self.report(cause_of(error))
            self.seen = None
        self._look_at_files()
        self._look_at_resting()
        self._looked_ns = now_ns
        needs_attention = self._ask_for_attention()
        return self.seen is None or self.seen != before or needs_attention or had_attention

    def _look_at_files(self) -> None:
        self._take_stock()
        now = self._common.clock()
        for file in list(self.files):
            is_newest = file is self.files[-1]
            file.supersede(now, is_superseded=not is_newest or file.content.is_pinned)
            if not is_newest or len(self.files) == 1:
                self._seek_name(file)
        if self.files and self._holder is None:
            self._hand_over(self.files[-1])
        self._note_backlog()

    def _take_stock(self) -> None:
        """Look at what the files hold now."""
        now = self._common.clock()
        for file in list(self.files):
            if file not in self.files:
                continue  # it turned out to be a copy
            file.has_name = file.identity == self._holder
            before = file.seen_size
            try:
                size = file.size()
                if size != before:
                    file.quiet_since = now
                if not before < size == file.seen_size:  # else it was seen to be what it was, and longer
                    self._notice(file)
                self._is_vetted(file)
            except OSError as error:
                self._fail(file, error)
        self._remember_files()

    def _is_vetted(self, file: File) -> bool:
        return file.is_vetted or vet(file, self._common)

    def _remember_files(self) -> None:
        """See to it that files are known after a restart, whatever they are called then, shipped or not.

        The oldest first: a file that is not known yet is found then because it is newer than those that are.
        """
        recogniser = self._common.recogniser
        for file in list(self.files):
            if recogniser.is_remembered(file.source) or not (file.seen_size or file.is_archive):
                continue
            if not file.is_vetted:
                return
            try:
                recogniser.remember(file)
            except OSError as error:
                self._fail(file, error)
                return

    def _hand_over(self, file: File) -> None:
        """The file was renamed, and nothing has its name: if its new name is followed too, it is read under that."""
        heir = self._common.names.get(file.name)
        if heir is not None and heir is not self:
            self.files.remove(file)
            heir.adopt(file)

    def _note_backlog(self) -> None:
        is_behind = any(file.unacked for file in self.files)
        if not is_behind:
            self.behind_since = 0.0
        elif not self.behind_since:
            self.behind_since = time.time()

    def _look_at_resting(self) -> None:
        for file in list(self.resting):
            self._seek_name(file)
            try:
                if file.state() == file.rested:
                    continue
                is_still = file.is_still()
            except Gone:
                is_still = False
            except OSError:
                continue  # out of reach for now
            self.resting.remove(file)
            if is_still:
                self.files.insert(0, file)
                file.quiet_since = self._common.clock()
            else:
                self._forget(file)

    def _seek_name(self, file: File) -> None:
        if file.seek_name():
            self._common.revision += 1

    def _fail(self, file: File, error: SourceError | OSError) -> None:
        """A file cannot be read now; or never again, if its descriptor was lent to others when it was deleted."""
        if isinstance(error, Gone) or isinstance(error.__cause__, Gone):
            self.lose(file)
        else:
            self._tell_unreadable(file, error)

    def lose(self, file: File) -> None:
        """A file that was closed is not there any more."""
        if file in self.resting:
            self.resting.remove(file)
            self._forget(file)
            return
        if file.seen_size > file.offset:
            reason = "deleted before it was read, while its descriptor was lent to other files"
            self._common.lost.append(Loss(file.source, file.offset, file.seen_size, reason))
        self.files.remove(file)
        self._forget(file)

    # --- opening ------------------------------------------------------------------------------------------------------

    def open_rotated(self, rotated: list[RotatedFile], *, before: File | None = None) -> bool:
        """Open files that had the name while nobody looked, oldest first; they are read to their end first.

        They come before a file that has the name since, if one is given.

        False when one of them has another name by now.
        """
        for _, path, identity in rotated:
            if str(path) in self._common.names and not is_compressed(str(path)):
                continue  # followed by itself
            try:
                file = self._append(str(path), identity, before=before)
            except FileNotFoundError:
                return False
            except (OSError, SourceError) as error:
                logger.warning("cannot read the rotated file %s: %s", path, error)
                continue
            if file is not None and not file.is_at_end:
                logger.info("%s was rotated meanwhile; it is read to its end first", path)
        return True

    def skip_to_end(self) -> None:
        """Begin at the end of the file that has the name, if nothing of it was read before."""
        file = self.files[-1] if self.files else None
        if file is not None and not file.offset:
            file.skip_to_end()
            if file.offset:
                reason = "not asked for (--start-at end)"
                self._common.lost.append(Loss(file.source, 0, file.offset, reason, kind=LossKind.SKIPPED))

    def _attend(self, identity: FileIdentity) -> str:
        """Make the file that has the name now the last one; return why it is not to be read, if so."""
        file = self.known(identity)
        if file is None:
            return self._open(identity)
        if file.owner is not self:
            return ""  # it had another name before, and is read under that until it is done
        if not file.content.has_its_name():
            file.content.path, file.content.is_pinned = Path(os.path.realpath(self.path)), False
        if self.files and file is self.files[-1]:
            return ""
        if file in self.resting:
            self.resting.remove(file)
        else:
            self.files.remove(file)
        self.files.append(file)  # it got its name back
        file.quiet_since = self._common.clock()
        return ""

    def _open(self, identity: FileIdentity) -> str:
        if is_compressed(self.path, or_unfinished=True):
            return "compressed: it is not followed"
        if self.files:
            logger.info("%s is a new file now; the old one is read to its end first", self.path)
            self._take_stock()  # what is known is not taken for something new when it is compressed
        if self.files:
            looked_ns = self._looked_ns - _RACY_NS
            try:
                written_ns = self.files[-1].modified_ns()
            except OSError as error:
                written_ns = looked_ns
                self._fail(self.files[-1], error)
            self._open_rotated_since(min(written_ns, looked_ns), certain_ns=max(written_ns, looked_ns))
        self._append(self.path, identity)
        return ""

    def _open_rotated_since(self, since_ns: int, *, certain_ns: int | None = None, before: File | None = None) -> None:
        """Open files that had the name since, and perhaps before another file of it had; see RotatedFiles.since."""
        for _ in range(MAX_LISTINGS):
            known = {file.identity for file in (*self.files, *self.resting)}
            self._common.folders.forget(os.path.dirname(self.path))
            new = self._common.rotated_files.since(
                Path(self.path), since_ns, known, certain_ns=certain_ns, live=self._common.sources
            )
            if self.open_rotated(new, before=before):
                return

    def _append(self, path: str, identity: FileIdentity, *, before: File | None = None) -> File | None:
        """Open a file as the newest one, or as the newest before another one; None when it is open already.

        Raises FileNotFoundError also when another one has the path by now: what was renamed since is found first.
        """
        file = File(path, self, self._common)
        if file.identity != identity:
            file.close()
            raise FileNotFoundError(f"{path} is another file now")
        if self.known(identity) is not None:
            file.close()
            return None
        self._common.recogniser.recognise(file, live=self._common.sources)
        file.is_vetted = not needs_vetting(file, self._common)
        self._take(file)
        self.files.insert(self.files.index(before) if before is not None else len(self.files), file)
        return file

    def known(self, identity: FileIdentity) -> File | None:
        """Return the file of that identity; one that was closed since may have had its inode taken by another."""
        file = self._common.files.get(identity)
        if file is None or file.has_name or file.content.is_open:
            return file
        self._seek_name(file)
        try:
            if file.is_still():
                return file
        except OSError:
            return file  # it cannot be opened now
        file.owner.lose(file)
        return None

    def _take(self, file: File) -> None:
        file.owner = self
        self._common.files[file.identity] = file
        self._common.sources[file.source.id] = file
        self._common.revision += 1

    def adopt(self, file: File) -> None:
        """Go on with a file that another name had before."""
        file.owner = self
        self._common.revision += 1
        self.files.append(file)
        self.seen = None
        self._common.attention[self] = True

    # --- reading ------------------------------------------------------------------------------------------------------

    @property
    def is_scanning(self) -> bool:
        """Whether a long line is being searched for its end."""
        return any(file.is_scanning for file in self.files)

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """Return the next chunk, from the oldest file that has one."""
        chunk = self._read_oldest(max_lines)
        self._ask_for_attention()
        return chunk

    def _read_oldest(self, max_lines: int | None) -> Chunk | None:
        self._retire()
        is_fine = True
        for file in list(self.files):
            if file not in self.files:
                continue  # it turned out to be a copy
            try:
                if not self._is_vetted(file):
                    continue
                chunk = self._read(file, max_lines)
            except (SourceError, OSError) as error:
                self._fail(file, error)
                is_fine = False
                continue
            if chunk is not None:
                file.quiet_since = self._common.clock()
                return chunk
        if is_fine:
            self._unreadable = ""
        return None

    def _read(self, file: File, max_lines: int | None) -> Chunk | None:
        self.input.prepare(file)
        quiet_s = self._common.clock() - file.quiet_since
        is_final = file is self.files[0] and self._is_abandoned(file)
        is_settled = quiet_s >= self.input.settings.multiline_timeout
        chunk = file.read(max_lines=max_lines, is_final=is_final, is_settled=is_settled)
        self._common.lost.extend(file.lost)
        file.lost.clear()
        if file.left:  # it started over: what it holds now comes next, after what is left of what it held
            copies = self._look_after_all(file)
            self.input.prepare(file)
            chunk = next((copy.read(max_lines=max_lines) for copy in copies), None) or file.read(max_lines=max_lines)
        return chunk

    def notice(self, file: File | None = None) -> None:
        """Find out now whether a file was truncated: the one that has the name, if none is given."""
        for noticed in [file] if file else list(self.files)[-1:]:
            try:
                if noticed in self.files:
                    self._notice(noticed)
            except OSError as error:
                self._fail(noticed, error)

    def _notice(self, file: File) -> None:
        if not file.notice():
            self._look_after_all(file)

    def _look_after_all(self, file: File) -> list[File]:
        """Do what can be done for what a file held before it started over; return the copies of it that there are.

        It may have started over more than once since the last look: then there are copies of what nobody has seen.
        """
        copies = [copy for left in file.left if (copy := self._look_after(left, file)) is not None]
        file.left.clear()
        file.is_vetted = not needs_vetting(file, self._common)
        self._remember_files()  # what it holds now may be compressed by now, too
        self._open_rotated_since(self._looked_ns - _RACY_NS, before=file)
        return copies

    def _look_after(self, left: Left, file: File) -> File | None:
        """Read on in the copy of a file that was truncated, or say what is lost."""
        self._common.sources[file.source.id] = file
        file.source.path = self.path
        self._common.revision += 1
        copy = copy_of(left, file, self._common)
        if copy is None:
            self._former = (*self._former, (self._common.clock(), left))[-_MOST_FORMER:]
            self._common.sources.pop(left.source.id, None)
            self._common.lost.extend(left.lost())
            left.source.read_until = left.seen
            return None
        logger.info("%s was copied to %s and truncated; the copy is read to its end first", self.path, copy.path)
        copy.take_over(left)
        if not copy.is_archive and copy.size() < left.seen:
            reason = "written after a copy was made, and truncated before it was read"
            self._common.lost.append(Loss(left.source, copy.size(), left.seen, reason, kind=LossKind.OVERWRITTEN))
        self.input.prepare(copy)
        self._take(copy)
        self.files.insert(self.files.index(file), copy)
        return copy

    # --- copies -------------------------------------------------------------------------------------------------------

    def begins_with(self, file: File) -> bool:
        """Whether the newest file of the name begins with all that another one has."""
        newest = self.files[-1] if self.files else None
        if newest is None or newest is file:
            return False
        try:
            return file.is_beginning_of(newest)
        except OSError:
            return True  # nobody knows now

    def shipped_in(self, file: File) -> int:
        """Return how much of a file was read already, of a file of this name that was truncated lately."""
        lately = self._common.clock() - _COPY_EXPECTED_S
        return max((left.shipped_in(file) for since, left in self._former if since > lately), default=0)

    def drop(self, file: File) -> None:
        """Let go of a file that turned out to be a copy of another one, and is read in place of what was copied."""
        self.files.remove(file)
        self.seen = None
        self._forget(file)

    # --- letting go ---------------------------------------------------------------------------------------------------

    def _is_abandoned(self, file: File) -> bool:
        """Whether a file has lost its name, and nobody will write to it any more, or what is written will be found."""
        if not file.is_superseded:
            return False
        quiet_s = self._common.clock() - max(file.quiet_since, file.superseded_at)
        try:
            has_writer = file.content.has_writer()
            if has_writer and file.content.is_pinned:
                return False  # it could not be opened again, and is not gone from the disk before its writer is
            if has_writer is False and (file.is_deleted or quiet_s >= _UNWRITTEN_QUIET_S):
                return True
        except OSError:
            pass
        return quiet_s >= self._common.rotated_quiet_s

    def _retire(self) -> None:
        """Close abandoned files that are read and stored to their end; until then they may have to be read again."""
        for file in [file for file in self.files if file.is_superseded]:
            if self._is_abandoned(file) and self._is_done(file):
                self.files.remove(file)
                self._let_go(file)

    def _is_done(self, file: File) -> bool:
        try:
            is_read = file.is_at_end and file.is_unchanged()  # it may have been truncated
        except OSError as error:
            self._fail(file, error)
            return False
        return is_read and file.source.committed >= file.offset

    def _let_go(self, file: File) -> None:
        self._seek_name(file)
        for problem in file.problems:
            logger.error("%s: %s", file.path, problem)
        heir = self._common.names.get(file.name)
        if file.content.is_pinned or file.is_archive or not file.is_marked:
            self._forget(file)
        elif heir is not None and heir is not self:
            heir.adopt(file)  # its late writes are read there
        else:
            with contextlib.suppress(OSError):
                file.rested = file.state()
            file.close()
            self.resting.append(file)
            if len(self.resting) > _MAX_RESTING:
                self._forget(self.resting.pop(0))
        self._common.revision += 1

    def revive(self, file: File) -> None:
        """A file that is read again is no longer done."""
        if file in self.resting:
            self.resting.remove(file)
            self.files.insert(0, file)
        file.quiet_since = self._common.clock()

    def give_up(self, file: File, reason: str) -> int:
        """Let go of a file with all that was not read of it; return how many bytes that is."""
        unread = file.seen_size - file.offset
        if unread > 0:
            self._common.lost.append(Loss(file.source, file.offset, file.seen_size, reason, kind=LossKind.DROPPED))
        self.files.remove(file)
        self._forget(file)
        return unread

    def _forget(self, file: File) -> None:
        file.source.is_finished = True
        self._release(file)
        self._common.revision += 1

    def _release(self, file: File) -> None:
        if self._common.files.get(file.identity) is file:  # its inode may be another file's by now
            del self._common.files[file.identity]
        self._common.sources.pop(file.source.id, None)
        file.close()

    @property
    def held(self) -> list[File]:
        """The files that lost the name and are not acked to their end."""
        return [file for file in self.files if file.unacked and file.identity != self._holder]

    def close(self) -> None:
        """Release all files."""
        for file in (*self.files, *self.resting):
            self._release(file)
        self.files.clear()
        self.resting.clear()
        self._common.attention.pop(self, None)

    # --- telling ------------------------------------------------------------------------------------------------------

    def report(self, problem: str) -> None:
        """Note why the name cannot be read now; told once."""
        if problem == self.problem:
            return
        self.problem = problem
        self._common.revision += 1
        if problem and (self.is_literal or problem != "gone"):
            logger.warning("cannot read %s: %s", self.path, problem)

    def _tell_unreadable(self, file: File, error: SourceError | OSError) -> None:
        """Note why a file cannot be read, although it is there; told once."""
        reason = error.reason if isinstance(error, SourceError) else cause_of(error)
        if reason != self._unreadable:
            logger.error("cannot read %s: %s", file.path, reason)
            self._common.revision += 1
        self._unreadable = reason

    def reports(self) -> list[FileReport]:
        """Say how far each file is. Safe in any thread."""
        files = list(self.files)
        if not files:
            return [FileReport(self.path, state="unreadable", problem=self.problem)]
        problem = self._unreadable or self.problem
        return [
            file.report(behind_since=self.behind_since, problem=problem or ("" if file.is_vetted else _SUSPECTED))
            for file in files
        ]
