"""Notices unknown windows: times in which bytes may have been written to a file that nobody saw, and that are gone.

A file may be truncated, replaced or rotated away and gone while the client is stopped, frozen or killed, or between two
looks. Whether something was written cannot be known, but that it may have been can. Owns which file is accounted for:
one that is read to its end, whose content a copy holds, or that was rotated and stored to its end before. Nobody reads
warnings that come every night, so what is accounted for must never be reported.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from logferry.client.files.identity import identity_of
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.files.overwritten import OverwrittenSource
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.recognition.recognise import Recogniser, is_same_file
from logferry.client.state.checkpoint import Checkpoint
from logferry.client.state.known_losses import KnownLosses
from logferry.client.state.last_look import LastLook
from logferry.errors import SourceError
from logferry.model.loss import Loss, LossKind
from logferry.model.source import Source
from logferry.model.unknown_window import UnknownWindow
from logferry.printable import moment, printable
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# A file that had not changed for this long before the last look, and for longer than nobody looked, was in all
# likelihood finished: a file with a date in its name, which its writer or a clean-up deletes days later.
_FINISHED_S: Final = 86_400.0

# A closed file that had not changed for this long when it was deleted between two looks was in all likelihood finished.
_QUIET_S: Final = 60.0

# After a gap of this length between two looks at a name, more than one file may have had the name in between.
FREEZE_S: Final = 30.0

_SETTLE_INTERVAL_S: Final = 5.0

# Each file is logged this often, then only counted; of many files that are missing at a start, the first ones.
_LOGGED_OF_FILE: Final = 3
_LOGGED_AT_START: Final = 50


class UnknownWindows:
    """Notices unknown windows, and records and reports each once. Used by the reading thread only."""

    def __init__(
        self,
        registry: Registry,
        recogniser: Recogniser,
        *,
        last_look: LastLook,
        known: KnownLosses,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._checkpoints = recogniser.checkpoints
        self._folders = recogniser.folders
        self._last_look = last_look
        self._known = known
        self._clock = clock
        self._wall_clock = wall_clock
        self._settle_at = 0.0
        self._swept_at = wall_clock()  # when the last complete look at all names began
        self._has_begun = False
        self._missing: list[Checkpoint] = []  # sources of earlier runs that may only be out of reach
        self._limit = RepeatLimit(logger, first=_LOGGED_OF_FILE, clock=clock)

    # --- files of an earlier run --------------------------------------------------------------------------------------

    def begin(self, is_followed: Callable[[str], bool]) -> None:
        """After the first look at all names: judge the sources of earlier runs whose files were not found."""
        for source_id in self._registry.source_ids:
            self._end_window(source_id)
        self._send_again()
        if not self._last_look.before:  # an older version did not record when it looked
            self._settle_unfound(is_followed)
        else:
            self._missing = self._unfound(is_followed)
            self._judge_missing()
        self._has_begun = True
        self._note_look()

    def _send_again(self) -> None:
        """Report the windows that an earlier run could not report to the server."""
        for known in self._known:
            if known.is_window and not (known.is_recorded or known.is_over):
                source = Source(known.path, known.source, committed=known.start)
                values = (known.source, known.path, known.start, known.last_look, known.noticed_at, known.reason)
                self._send(source, UnknownWindow(*values))

    def _unfound(self, is_followed: Callable[[str], bool]) -> list[Checkpoint]:
        return [
            known
            for known in self._checkpoints
            if not (known.is_finished or known.is_settled or known.has_window)
            and known.head_bytes
            and known.id not in self._registry.source_ids
            and is_followed(known.path)
        ]

    def _settle_unfound(self, is_followed: Callable[[str], bool]) -> None:
        for known in self._unfound(is_followed):
            self._checkpoints.change(known.id, is_settled=True)

    def _judge_missing(self) -> None:
        """Report the missing sources whose files are gone; keep those that are out of reach for later."""
        missing, self._missing = self._missing, []
        gone: list[tuple[Source, UnknownWindow]] = []
        for known in missing:
            if known.id in self._registry.source_ids:
                continue
            reason = self._why_gone(known)
            if reason is None:
                self._missing.append(known)
            elif self._was_finished(known):
                self._checkpoints.change(known.id, is_settled=True)
            else:
                gone.append(self._window_of_missing(known, reason))
        if gone:
            self._report_missing(gone)

    def _window_of_missing(self, known: Checkpoint, reason: str) -> tuple[Source, UnknownWindow]:
        source = Source(known.path, known.id, known.device, known.inode, committed=known.committed)
        source.lines, source.crc32 = known.lines, known.crc32
        return source, self._window(source, known.committed, self._last_look.before, reason)

    def _report_missing(self, gone: Sequence[tuple[Source, UnknownWindow]]) -> None:
        self._report_all(gone, logged=_LOGGED_AT_START)
        for source, _ in gone:  # after they are on disk
            self._checkpoints.change(source.id, has_window=True)
        if len(gone) > _LOGGED_AT_START:
            logger.warning("%d more files are gone in the same way (`logferry status`)", len(gone) - _LOGGED_AT_START)

    def _was_finished(self, known: Checkpoint) -> bool:
        last_look = self._last_look.before
        quiet_s = last_look - known.seen_at
        return quiet_s >= max(_FINISHED_S, self._wall_clock() - last_look)

    def _why_gone(self, known: Checkpoint) -> str | None:
        """Return what has become of a file that is not read; None while it may be there, but out of reach."""
        try:
            status = os.stat(known.path)
        except (FileNotFoundError, NotADirectoryError):
            status = None
        except OSError:
            return None
        if self._may_exist(known):
            return None
        if status is None:
            return "it is gone: deleted, moved to another folder, or archived in a form that is not read"
        if identity_of(status) == known.identity:
            return "it was truncated or rewritten, and no copy beside it holds what it held"
        return "another file has its name, and no file beside it holds what it held"

    def _may_exist(self, known: Checkpoint) -> bool:
        """Whether the file of a checkpoint is there after all, or cannot be read, so that nothing can be said."""
        name = self._registry.names.get(known.path)
        if name is not None and any(os.path.lexists(path) for path, _ in name.unread):
            return True  # it may be in that archive; the log and the status say why the archive is not read
        for candidate in self._possible_places(known):
            try:
                file = SourceFile(candidate, max_line_bytes=1)
            except FileNotFoundError:
                continue
            except (OSError, SourceError):
                if os.path.isdir(candidate) or not self._is_of(candidate, known):
                    continue
                return True
            with contextlib.closing(file):
                if self._is_or_may_be(file, known):
                    return True
        return False

    @staticmethod
    def _is_or_may_be(file: SourceFile, known: Checkpoint) -> bool:
        try:
            return is_same_file(file, known)
        except OSError:
            return file.identity == known.identity

    def _possible_places(self, known: Checkpoint) -> set[Path]:
        """Return the path of a file, and other names of its inode beside it, or where links led when it was read."""
        path = Path(known.path)
        folders = {path.parent, Path(known.place or known.path).parent}
        names = [(folder, self._folders.listing(str(folder)).by_inode.get(known.inode)) for folder in folders]
        return {path, *(folder / name for folder, name in names if name)}

    def _is_of(self, path: Path, known: Checkpoint) -> bool:
        try:
            return identity_of(os.stat(path)) == known.identity
        except OSError:
            return False

    # --- files of this run --------------------------------------------------------------------------------------------

    def misses(self, name: FollowedName) -> bool:
        """Whether a file of an earlier run that had a name was not found, so that it may be found again."""
        shipped = self._checkpoints.of_path(name.path)
        return any(known.has_window for known in shipped) or any(known.path == name.path for known in self._missing)

    def note_found(self, source: Source) -> None:
        """Note that a file is read, perhaps one that was missing before."""
        source.has_window = False
        self._end_window(source.id)

    def _end_window(self, source_id: str) -> None:
        """Note that a file is there: when it is gone again, that is another unknown window."""
        self._known.note_found(source_id)
        known = self._checkpoints.of_source(source_id)
        if known is not None and known.has_window:
            self._checkpoints.change(source_id, has_window=False)

    def note_sweep(self, begun_at: float) -> None:
        """Note that all names were looked at since then, in Unix time."""
        self._swept_at = begun_at
        self._note_look()
        self._settle_now_and_then()
        if self._missing:
            self._judge_missing()

    def _note_look(self) -> None:
        """Write down the windows, then the look: after a kill in between, the next start judges the files again."""
        self._known.write_if_due()
        if self._has_begun:
            self._last_look.note(self._swept_at)

    def settle(self, file: FollowedFile) -> None:
        """Note whether a file was rotated and is stored to its end: then its deletion loses nothing."""
        source = file.source
        is_settled = not file.unacked and self._was_rotated(file) and file.content.has_writer() is not True
        if is_settled != source.is_settled:
            source.is_settled = is_settled
            if source.id in self._checkpoints:
                self._checkpoints.follow(source)

    def _was_rotated(self, file: FollowedFile) -> bool:
        is_unnamed = file.is_superseded or (not file.has_name and file.is_deleted)
        return is_unnamed or any(self._registry.originals(file))  # a rotated name may be followed itself

    def _settle_now_and_then(self) -> None:
        """Settle files, taking at most a hundredth of the time: there may be tens of thousands."""
        begin = self._clock()
        if begin >= self._settle_at:
            self._settle_all()
            end = self._clock()
            self._settle_at = end + max(_SETTLE_INTERVAL_S, 100 * (end - begin))

    def _settle_all(self) -> None:
        for name in list(self._registry.names.values()):
            for file in name.files:
                if file.unacked or not file.source.is_settled:
                    with contextlib.suppress(OSError):
                        self.settle(file)

    def note_truncated(self, name: FollowedName, overwritten: OverwrittenSource) -> None:
        """Report what may have been written before a file was truncated or rewritten, and is in no copy of it."""
        source = overwritten.source
        if not source.is_settled:
            reason = "it was truncated or rewritten, and no copy beside it holds what it held"
            self._report(source, max(overwritten.offset, overwritten.seen_size), self._looked_at(name), reason)

    def note_deleted(self, name: FollowedName, file: FollowedFile) -> None:
        """Report what may have been written before a file was deleted that was closed at that time."""
        is_quiet = self._clock() - file.quiet_since >= _QUIET_S and not file.unacked
        if not (file.source.is_settled or is_quiet):
            reason = "it was deleted while its descriptor was lent to other files"
            self._report(file.source, max(file.offset, file.seen_size), self._looked_at(name), reason)

    def note_replaced(self, name: FollowedName, before: FollowedFile) -> None:
        """Report, after a gap between two looks, that files may have come and gone: the earlier one is deleted."""
        looked_at = self._looked_at(name)
        if self._wall_clock() - looked_at >= FREEZE_S and before.content.is_pinned:
            reason = "it was rotated and deleted while nobody looked; files that had its name since may be gone too"
            self._report(before.source, before.seen_size, looked_at, reason)

    def _looked_at(self, name: FollowedName) -> float:
        return max(name.looked_ns / 1e9, self._swept_at)

    def _report(self, source: Source, offset: int, last_look: float, reason: str) -> None:
        self._report_all([(source, self._window(source, offset, last_look, reason))], logged=1)
        if source.id in self._checkpoints and source.id in self._registry.source_ids:
            self._checkpoints.follow(source)

    def _window(self, source: Source, offset: int, last_look: float, reason: str) -> UnknownWindow:
        return UnknownWindow(source.id, source.path, offset, last_look, self._wall_clock(), reason)

    def _report_all(self, found: Sequence[tuple[Source, UnknownWindow]], *, logged: int) -> None:
        """Record windows with one write, then log the first ones and send all, except those that are known."""
        new = {window.source for window in self._known.add_windows(window for _, window in found)}
        for place, (source, window) in enumerate(found):
            source.has_window = True
            if source.id in new:
                if place < logged:
                    self._log(window)
                self._send(source, window)

    def _log(self, window: UnknownWindow) -> None:
        self._limit.log(
            *(logging.WARNING, (window.path, window.reason)),
            "%s: what was written to it at byte %d and later may be lost: %s. It is stored up to there; "
            "last look %s, noticed %s. (`logferry status --acknowledge` after reading)",
            *(printable(window.path), window.offset, window.reason),
            *(moment(window.last_look), moment(window.noticed_at)),
        )

    def _send(self, source: Source, window: UnknownWindow) -> None:
        values = (source, window.offset, window.offset, window.reason)
        self._registry.losses.append(Loss(*values, kind=LossKind.UNSEEN, window=window))

    def close(self) -> None:
        """Write down what is known at the end of a run."""
        with contextlib.suppress(OSError):
            self._settle_all()
        self._known.close()
        self._last_look.close()
