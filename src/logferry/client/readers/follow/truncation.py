"""Handles files that were truncated or rewritten in place, and the copies that were made of them before.

Owns the consequences: the source continues in the copy, or its unread bytes are lost; suspects are read, skipped or
left alone as copies.py judges. Must never check whether a name leads to another file: checking.py does.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from itertools import chain

from logferry.client.files.archives.archive import open_content
from logferry.client.files.content.fd_pool import FileGone
from logferry.client.files.identity import FileIdentity, identity_of
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.files.overwritten import OverwrittenSource
from logferry.client.finding.listing import FolderListings
from logferry.client.readers.follow.followed.copies import IsCopy, Read, SkipTo, Verdict, Wait, is_same_copy, judge
from logferry.client.readers.follow.followed.file import FollowedFile, Standing
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.follow.opening import RACY_NS, FileOpener
from logferry.client.readers.follow.repetition import Repetitions
from logferry.client.readers.follow.succession import Continues, Restores, Succession, Successions
from logferry.client.readers.follow.windows import UnknownWindows
from logferry.client.recognition.rotated import named_with_appendix, rotated_paths
from logferry.errors import SourceError
from logferry.model.loss import Loss, LossKind

logger = logging.getLogger(__name__)


class Truncations:
    """Acts on files that have started over, and on suspects. Used by the reading thread only."""

    def __init__(
        self,
        registry: Registry,
        opener: FileOpener,
        successions: Successions,
        folders: FolderListings,
        windows: UnknownWindows,
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._windows = windows
        self._opener = opener
        self._successions = successions
        self._repetitions = Repetitions(registry)
        self._folders = folders
        self._clock = clock

    # --- files that have started over ---------------------------------------------------------------------------------

    def notice(self, file: FollowedFile) -> None:
        """Check whether a file was truncated, and act on it if so."""
        try:
            if file.detect_rewrite():
                self._act_on(file)
        except OSError as error:
            self._registry.note_failure(file, error)

    def act(self, name: FollowedName) -> bool:
        """Act on all files of a name that have started over; return whether that succeeded for all of them."""
        is_fine = True
        for file in list(name.files):
            if not file.overwritten:
                continue
            try:
                self._act_on(file)
            except (OSError, SourceError) as error:
                self._registry.note_failure(file, error)
                is_fine = False
        return is_fine

    def _act_on(self, file: FollowedFile) -> None:
        """Save what a file held before it started over, as far as copies hold it.

        The file may have started over several times since the last check: then some copies hold bytes that the client
        never saw in the file.
        """
        name = self._registry.owner(file)
        since_ns = name.looked_ns - RACY_NS
        name.unsearched_ns = min(since_ns, name.unsearched_ns or since_ns)  # the first step may fail, and be repeated
        while file.overwritten:
            self._read_on_in_copy(name, file, file.overwritten[0])
            del file.overwritten[0]
        self._opener.suspect(file)
        self._opener.remember_files(name)  # an archive of what the file holds now may exist by now, too
        self._opener.open_rotated_since(name, since_ns, before=file)

    def _read_on_in_copy(self, name: FollowedName, file: FollowedFile, overwritten: OverwrittenSource) -> None:
        """Continue in the copy of a truncated file, or record what is lost."""
        self._registry.note_source(file)
        file.source.path = name.path
        try:
            found = self._take_over_copy(name, file, overwritten)
        except FileGone as error:  # the copy is gone; note_failure would take FileGone to mean the original
            raise FileNotFoundError(error.errno, error.strerror, error.filename) from None
        if found is None:
            is_copied = self._is_copied(file, overwritten)  # may raise: nothing has changed so far
            name.note_truncated(overwritten, self._clock())
            self._registry.end_source(overwritten.source)
            self._registry.losses.extend(overwritten.lost())
            overwritten.source.read_until = overwritten.seen_size
            if not is_copied:
                self._windows.note_truncated(name, overwritten)
            return
        copy, losses = found
        logger.info("%s was copied to %s and truncated; the copy is read to its end first", name.path, copy.path)
        self._registry.losses.extend(losses)
        self._registry.add(copy, before=file)

    def _take_over_copy(
        self, name: FollowedName, file: FollowedFile, overwritten: OverwrittenSource
    ) -> tuple[FollowedFile, list[Loss]] | None:
        """Return the copy, positioned where the original was read to, and the losses it implies; None without a copy.

        Raises OSError when the copy cannot be read, after closing it.
        """
        copy = self._find_copy(name, file, overwritten)
        if copy is None:
            return None
        losses = []
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(copy.close)
            copy.take_over(overwritten)
            if not copy.is_archive and (size := copy.size()) < overwritten.seen_size:
                reason = "written after a copy was made, and truncated before it was read"
                losses.append(Loss(overwritten.source, size, overwritten.seen_size, reason, kind=LossKind.OVERWRITTEN))
            name.input.prepare(copy)
            on_failure.pop_all()
        return copy, losses

    def _find_copy(self, name: FollowedName, original: FollowedFile, source: OverwrittenSource) -> FollowedFile | None:
        """Open the copy that was made of a file before the file was truncated; return None if there is none."""
        tried = {original.identity}
        place = original.content.path
        for path in chain(rotated_paths(place, self._folders), named_with_appendix(place, self._folders)):
            copy = self._open_candidate(name, str(path), tried)
            if copy is None:
                continue
            with contextlib.ExitStack() as unless_copy:
                unless_copy.callback(copy.close)
                if source.is_continued_in(copy):
                    unless_copy.pop_all()
                    self._forget_copies(copy, original, source)
                    return copy
        return None

    def _is_copied(self, original: FollowedFile, source: OverwrittenSource) -> bool:
        """Whether any file beside the original, even one that is read under its own name, holds what it held."""
        for path in rotated_paths(original.content.path, self._folders):
            try:
                copy = SourceFile(path, max_line_bytes=1, content=open_content(path))
            except (OSError, SourceError):
                continue
            with contextlib.closing(copy), contextlib.suppress(OSError):
                if copy.identity != original.identity and source.is_continued_in(copy):
                    return True
        return False

    def _open_candidate(self, name: FollowedName, path: str, tried: set[FileIdentity]) -> FollowedFile | None:
        """Open a file that may be the copy, unless it was tried before or is already known to be another file."""
        try:
            identity = identity_of(os.stat(path))
            if identity in tried:
                return None
            if self._is_another_file(identity):
                tried.add(identity)
                return None
            file = self._opener.new_file(name, path)
        except (OSError, SourceError):
            return None
        if file.identity != identity:  # renamed at this moment: it comes again under its new name
            file.close()
            return None
        tried.add(identity)
        return file

    def _is_another_file(self, identity: FileIdentity) -> bool:
        """Whether a file is known to be none of the copies that are looked for: it is read, or was read, itself."""
        known = self._registry.find(identity)
        if known is not None and known.standing is not Standing.RESTING:
            self.notice(known)  # the copy may have overwritten it
            known = self._registry.with_identity(identity)
        return known is not None and bool(known.offset or not known.is_suspect)

    def _forget_copies(self, copy: FollowedFile, original: FollowedFile, source: OverwrittenSource) -> None:
        """Forget the suspects that are the copy now being read, or other copies of the same file."""
        for suspect in self._registry.suspects():
            if suspect is not original and is_same_copy(suspect, copy, source, original_path=original.place):
                self._registry.forget_copy(suspect)

    # --- suspects -----------------------------------------------------------------------------------------------------

    def decide_on_suspects(self, name: FollowedName) -> bool:
        """Decide which suspects of a name are read, as far as that is clear yet; return whether no check failed.

        Each suspect is compared with its originals before those are checked for truncation: a truncated original would
        no longer look like its copy. A truncated original takes over its copy, which is then no longer a suspect.
        """
        # One that is empty now and has content when it is judged would not look like its original: it has another turn.
        suspects = [file for file in name.files if file.is_suspect and not self._is_empty(file)]
        looks_alike = {file: self._looks_like_an_original(file) for file in suspects}
        for file in suspects:
            self._notice_originals(file)
        is_fine = True
        for file in [file for file in suspects if file.standing is not Standing.RELEASED]:
            if self._may_be_looked_for(file):
                continue
            try:
                self._follow_verdict(file, self._judge(file, looks_alike=looks_alike[file]))
            except OSError as error:
                self._registry.note_failure(file, error)
                is_fine = False
        return is_fine

    def _is_empty(self, suspect: FollowedFile) -> bool:
        try:
            return not suspect.size()
        except OSError:
            return False

    def _may_be_looked_for(self, suspect: FollowedFile) -> bool:
        """Whether the search for the copy of an original has no result yet: the suspect may be that copy."""
        return any(file.overwritten for name in self._registry.lookalikes(suspect) for file in name.files)

    def _looks_like_an_original(self, suspect: FollowedFile) -> bool:
        return any(name.begins_with(suspect) for name in self._registry.lookalikes(suspect))

    def _notice_originals(self, suspect: FollowedFile) -> None:
        for name in self._registry.lookalikes(suspect):
            if name.newest is not None:
                self.notice(name.newest)

    def _judge(self, suspect: FollowedFile, *, looks_alike: bool) -> Verdict | Succession:
        now = self._clock()
        succession = self._successions.judge(suspect, now)
        if succession is not None and not isinstance(succession, Wait):
            return succession
        originals = self._registry.lookalikes(suspect)
        repeated = self._repetitions.original_of(suspect)
        verdict = judge(
            suspect,
            looks_alike=looks_alike or succession is not None or repeated is not None,
            is_followed=self._registry.at(suspect.name) is not None,
            truncated=[overwritten for name in originals for overwritten in name.truncated_lately(now)],
            now=now,
        )
        if repeated is None or not isinstance(verdict, Read):
            return verdict
        return self._repetitions.judge(suspect, repeated) or verdict

    def _follow_verdict(self, file: FollowedFile, verdict: Verdict | Succession) -> None:
        match verdict:
            case Continues(predecessor):
                self._registry.succeed(predecessor, file)
                logger.info("%s holds all of the file that it has replaced; reading on in it", file.path)
                file.is_suspect = False
            case Restores(overwritten):
                self._registry.continue_in(file, overwritten)
                logger.info("%s holds again what it held before it was truncated; reading on in it", file.path)
                self._windows.note_found(file.source)
                file.is_suspect = False
            case Wait():
                pass
            case IsCopy():
                logger.info("not reading %s: it looks like a copy of a followed file", file.path)
                self._registry.forget_copy(file)
            case SkipTo(offset):
                file.skip_to(offset)
                file.source.asked_from = offset
                reason = "shipped already, from the file that this one is a copy of"
                self._registry.losses.append(Loss(file.source, 0, offset, reason, kind=LossKind.SKIPPED))
                file.is_suspect = False
            case Read():
                self._opener.recognise_copy(file)
                self._windows.note_found(file.source)
                file.is_suspect = False
