"""The continuous reader: follows names and patterns, thousands if need be, for ever.

Owns when the file system is checked, and which name is read next. Names take turns, one chunk each, so no name starves
however fast another grows. Must never wait.

The engine calls `poll` every poll interval, also while the server is away, so that files rotated in the meantime are
opened and held until they are read. Where the kernel reports changes (watch.py), the engine calls `poll` immediately,
and `poll` checks only what has changed; sweeps over everything take at most a hundredth of the time. Where the kernel
surely reports every change, a sweep every few seconds is enough, and no other `poll` is needed in between.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from logferry.client.files.content.fd_pool import DescriptorPool
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.inotify import FolderWatcher
from logferry.client.net.waiting.wakeup import Wakeup
from logferry.client.readers.base import losses_if_unreachable
from logferry.client.readers.follow.abandonment import ROTATED_QUIET_S, Abandonment
from logferry.client.readers.follow.beginning import Beginning
from logferry.client.readers.follow.checking import NameChecker
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.held import HeldFiles
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.follow.names import FollowedNames
from logferry.client.readers.follow.opening import FileOpener
from logferry.client.readers.follow.reclaim import Reclaimer, Unreclaimed
from logferry.client.readers.follow.short_lived_reports import ShortLivedReports
from logferry.client.readers.follow.succession import Successions
from logferry.client.readers.follow.truncation import Truncations
from logferry.client.readers.follow.turns import NameReader
from logferry.client.readers.follow.watch import ChangeWatch
from logferry.client.readers.follow.windows import FREEZE_S, UnknownWindows
from logferry.client.recognition.recognise import Recogniser
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.state.known_losses import KnownLosses
from logferry.client.state.last_look import LastLook
from logferry.config import InputSettings
from logferry.errors import SourceError, cause_of
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source
from logferry.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

# Sweeps take at most this share of the time, or as long as one sweep per poll interval takes.
_SWEEP_SHARE: Final = 0.01

# ... but the next sweep comes after this time at the latest, however long a slow or stopped machine took for one: a
# regular pause must be shorter than a freeze. It comes sooner after a sweep that found something new: opening files
# took its time, and storms of rotations go on.
MAX_SWEEP_PAUSE_S: Final = FREEZE_S * 2 / 3
_MAX_PAUSE_AFTER_NEWS_S: Final = 1.0

# How often to retry the rotated files that could not be read.
RETRY_UNREAD_S: Final = 10.0

# How often to sweep where the kernel reports all changes; it misses only folders that move because a parent is renamed.
_WATCHED_SWEEP_S: Final = 5.0


class FollowReader:
    """Follows names for ever, as `tail -F` does, but reads every file that had a name to its end first.

    One thread constructs, polls, reads and closes the reader. The status thread reads `report` and `revision`. The
    reload thread calls `reconfigure`, which only stores the new inputs. Any thread may call `stop`.
    """

    def __init__(
        self,
        inputs: Sequence[InputSettings],
        *,
        recogniser: Recogniser | None = None,
        metrics: Metrics | None = None,
        max_held_bytes: int = 0,
        max_open_files: int | None = None,
        watcher: FolderWatcher | None = None,
        last_look: LastLook | None = None,
        known_losses: KnownLosses | None = None,
        rotated_quiet_s: float = ROTATED_QUIET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to follow. Raises SourceError when a name is a directory or the like.

        Without a `recogniser`, the reader knows nothing of earlier runs. `max_held_bytes` bounds the unacked bytes of
        renamed and deleted files; 0 means no bound. Without a `watcher`, only sweeps find changes. `last_look` says
        when an earlier run looked, and `known_losses` keeps the unknown windows.
        """
        self._clock = clock
        recogniser = recogniser or Recogniser(Checkpoints(None))
        folders = recogniser.folders
        self._registry = registry = Registry()
        successions = Successions(registry, recogniser)
        self._opener = FileOpener(registry, recogniser, successions, DescriptorPool(max_open_files), clock)
        self._windows = windows = UnknownWindows(
            registry,
            recogniser,
            last_look=last_look or LastLook(None),
            known=known_losses or KnownLosses(None),
            clock=clock,
        )
        registry.on_deleted = windows.note_deleted
        truncations = Truncations(registry, self._opener, successions, folders, windows, clock)
        abandonment = Abandonment(registry, clock, rotated_quiet_s)
        self._checker = NameChecker(registry, self._opener, truncations, abandonment, windows, clock)
        self._name_reader = NameReader(registry, truncations, abandonment, clock)
        self._held = HeldFiles(registry, metrics or Metrics(), clock, max_bytes=max_held_bytes)
        self._watch = ChangeWatch(watcher, registry, folders)
        self._checker.on_vanished = self._watch.note_vanished
        registry.on_added = self._note_added
        self._ready: dict[FollowedName, None] = {}  # in the order of their turns
        self._next_sweep = self._next_sweep_if_watched = self._next_retry = clock()
        self._new_inputs: Sequence[InputSettings] | None = None  # the reload thread sets them, `poll` takes them
        self._names = FollowedNames(inputs, registry, folders)
        self._short_lived = ShortLivedReports(self._names, registry, metrics or Metrics(), known_losses, clock)
        self._reclaimer = Reclaimer(registry, self._names, self._opener, recogniser)
        self._start(recogniser)
        self._request = Wakeup()  # to take the new inputs; created last, because a wrong name raises above

    def _start(self, recogniser: Recogniser) -> None:
        self._find_names()
        beginning = Beginning(self._registry, self._names, self._opener, recogniser)
        beginning.open_rotated()
        self._sweep()
        self._windows.begin(self._names.is_followed)
        beginning.skip_to_ends()

    def _note_added(self, file: FollowedFile) -> None:
        self._watch.note_opened(file)
        self._windows.note_found(file.source)

    # --- the Reader protocol ------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """See Reader: following never ends."""
        return False

    @property
    def is_busy(self) -> bool:
        """See Reader: whether the end of a long line is being searched for."""
        return any(name.is_scanning for name in self._ready)

    @property
    def wake_fds(self) -> Sequence[int]:
        """See Reader."""
        return (self._request.fileno(), *self._watch.fds)

    @property
    def patience_s(self) -> float:
        """See Reader: the kernel reports changes, but not that time has passed."""
        may_change_by_time = self._held or self._ready or any(self._registry.attention.values())
        if not self._watch.is_complete or may_change_by_time:
            return 0.0
        return max(0.0, self._next_sweep_if_watched - self._clock())

    @property
    def problems(self) -> Sequence[str]:
        """See Reader: files that cannot be read now are retried for ever."""
        return ()

    @property
    def is_draining(self) -> bool:
        """See Reader: unread lines stay in the files."""
        return False

    def stop(self) -> None:
        """See Reader."""

    @property
    def revision(self) -> int:
        """See Reader."""
        return self._registry.revision

    def reconfigure(self, inputs: Sequence[InputSettings]) -> None:
        """Use other inputs, with other names or other settings, from the next `poll` on. Safe in any thread."""
        self._new_inputs = inputs
        self._request.set()

    def poll(self) -> None:
        """See Reader."""
        self._take_new_inputs()
        may_have_new_names = self._take_changes()
        is_complete = self._watch.is_complete
        if may_have_new_names or self._clock() >= (self._next_sweep_if_watched if is_complete else self._next_sweep):
            self._find_names()
            self._sweep()
        else:
            for name in list(self._registry.attention):
                self._check(name)
        self._held.update()

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """Return the next chunk: from the name whose turn it is, or from the next name that has one."""
        for name in list(self._ready):
            del self._ready[name]
            chunk = self._name_reader.read(name, max_lines=max_lines)
            if chunk is not None or name.is_scanning:
                self._ready[name] = None  # behind the others
            if chunk is not None:
                return chunk
        return None

    def take_losses(self) -> list[Loss]:
        """See Reader."""
        losses, self._registry.losses = self._registry.losses, []
        return losses

    def rewind(self, source: Source, offset: int | None, *, one_by_one_until: int = 0) -> None:
        """See Reader."""
        file = self._registry.of_source(source)
        try:
            if file is not None:
                file.rewind(offset, one_by_one_until=one_by_one_until)
        except OSError:
            file = None
        if file is None:
            file = self._reclaim(source, offset)
        if file is None:
            return
        file.source.path = source.path
        source.sent_back_because = None  # a later loss has a reason of its own
        self._registry.note_source(file)
        name = self._registry.owner(file)
        name.revive(file, self._clock())
        self._ready[name] = None

    def _reclaim(self, source: Source, offset: int | None) -> FollowedFile | None:
        """Open the file of a source again; without one, its bytes are lost unless nobody needs them."""
        found = self._reclaimer.reclaim(source) if offset is not None else Unreclaimed.GONE
        if isinstance(found, FollowedFile):
            if self._go_back(found, offset):
                return found
            found = Unreclaimed.GONE
        if found is Unreclaimed.GONE or source.sent_back_because is None:
            self._registry.losses += losses_if_unreachable(source, offset)
            source.is_finished = True
        return None

    def _go_back(self, found: FollowedFile, offset: int | None) -> bool:
        """Read a file that was opened again from `offset`; forget the file and return False if that fails."""
        try:
            found.rewind(offset)
        except OSError as error:
            logger.error("cannot read %s again: %s", found.path, cause_of(error))
            self._registry.forget(found)
            return False
        logger.info("reading %s again from byte %d", found.path, offset)
        return True

    def duplicate(self, source: Source) -> SourceFile | None:
        """See Reader."""
        file = self._registry.of_source(source)
        try:
            return file.duplicate() if file is not None else None
        except (OSError, SourceError) as error:
            logger.error("cannot open %s a second time: %s", source.path, error)
            return None

    def report(self) -> Iterator[FileReport]:
        """See Reader. It yields piece by piece, so that the caller can let other threads run."""
        for name in list(self._registry.names.values()):
            yield from name.reports()

    def close(self) -> None:
        """Release all files."""
        self._windows.close()
        for name in self._registry.names.values():
            self._registry.close(name)
        self._request.close()
        self._watch.close()

    # --- checking the file system -------------------------------------------------------------------------------------

    def _take_new_inputs(self) -> None:
        if self._new_inputs is None:
            return
        self._request.clear()
        inputs, self._new_inputs = self._new_inputs, None
        self._names.replace_inputs(inputs)
        self._sweep_soon()

    def _find_names(self) -> None:
        for name in self._names.find():
            self._names.drop(name)
            self._ready.pop(name, None)

    def _take_changes(self) -> bool:
        """Check the names with reported changes; return whether a name may have appeared, vanished or moved."""
        changes = self._watch.take_changes()
        if changes.has_missed_some:
            self._sweep_soon()
        for file in changes.gone:
            self._short_lived.report(file, self._watch.names_of(file))
        for name in changes.names:
            self._check(name)
        return changes.may_have_new_names

    def _sweep(self) -> None:
        """Check every name, in depth only if its file has changed or needs attention."""
        begin, begun_at, has_links, revision = self._clock(), time.time(), False, self._registry.revision
        for name in list(self._registry.names.values()):
            try:
                status = os.stat(name.path)
                seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
                has_links |= status.st_nlink > 1
            except OSError:
                seen = None
            if seen is None or seen != name.seen or name in self._registry.attention:
                self._check(name)
        # True only if the folders were watched before this sweep began; otherwise changes during it were not reported.
        was_watched = self._watch.choose_folders(self._names.folders)
        self._watch.note_sweep(was_watched=was_watched, has_links=has_links)
        self._windows.note_sweep(begun_at)
        self._retry_unread()
        end = self._clock()
        max_pause_s = MAX_SWEEP_PAUSE_S if self._registry.revision == revision else _MAX_PAUSE_AFTER_NEWS_S
        self._next_sweep = end + min((end - begin) / _SWEEP_SHARE, max_pause_s)
        self._next_sweep_if_watched = max(self._next_sweep, begin + _WATCHED_SWEEP_S)

    def _retry_unread(self) -> None:
        """Open the rotated files that could not be read, as far as they can be read by now."""
        if self._clock() >= self._next_retry:
            self._next_retry = self._clock() + RETRY_UNREAD_S
            for name in [name for name in self._registry.names.values() if name.unread]:
                self._opener.retry_unread(name)
                self._check(name)

    def _sweep_soon(self) -> None:
        self._next_sweep = self._next_sweep_if_watched = self._clock()

    def _check(self, name: FollowedName) -> None:
        if self._checker.check(name):
            self._ready.setdefault(name)
        self._held.note(name)
