"""Which file to read next in continuous mode: names and patterns are followed for ever, thousands of them if need be.

`poll` looks at the file system; it is called every poll interval, also while the server is away, so that files that
are rotated meanwhile are opened and held until they are read. Where the kernel tells of changes (watcher.py) it is
called at once, and looks only where something has changed; everything is looked at now and then, as often as a
hundredth of the time allows. Where the kernel surely tells of every change, that is every few seconds, and nobody needs
to call in between.

Names take turns: each gives one chunk, then the next has its turn, so none starves however fast another grows.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path
from typing import Final

from logferry.client.files.fd_pool import Descriptors
from logferry.client.files.line_reader import SourceFile
from logferry.client.finding.inotify import FolderWatcher
from logferry.client.finding.mounts import Mounts
from logferry.client.finding.patterns import Discovery, is_pattern
from logferry.client.net.wakeup import Wakeup
from logferry.client.readers.base import out_of_reach
from logferry.client.readers.follow.file import ROTATED_QUIET_S, Common, File
from logferry.client.readers.follow.name import FollowedName
from logferry.client.readers.input_rules import Input
from logferry.client.recognition.recognise import Recogniser
from logferry.client.recognition.rotated import MAX_LISTINGS, RotatedFiles
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import InputSettings
from logferry.errors import SourceError
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source
from logferry.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

# Looking at everything takes at most this part of the time, or as much as one look every poll interval takes.
_SWEEP_SHARE: Final = 0.01

# Where the kernel tells of all changes, only a folder is missed that moves because one above it was renamed.
_TOLD_SWEEP_S: Final = 5.0

# So many names are told one by one when they are found.
_NAMES_TOLD: Final = 20

# Bytes of a rotated file are there for a moment at every rotation; held for this long they are worth a word.
_HELD_TOLD_S: Final = 10.0


class FollowReader:
    """Follows names for ever, as `tail -F` does, but reads every file that had a name to its end first."""

    def __init__(
        self,
        inputs: Sequence[InputSettings],
        *,
        recogniser: Recogniser | None = None,
        metrics: Metrics | None = None,
        max_held_bytes: int = 0,
        max_open_files: int | None = None,
        watcher: FolderWatcher | None = None,
        rotated_quiet_s: float = ROTATED_QUIET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to follow. Raises SourceError when a name is a directory or the like.

        Without a `recogniser` nothing is known of earlier runs. `max_held_bytes` bounds what renamed and deleted files
        may hold, 0 does not; without a `watcher` changes are only seen by looking.
        """
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._max_held_bytes = max_held_bytes
        recogniser = recogniser or Recogniser(Checkpoints(None))
        self._folders = recogniser.folders
        rotated_files = RotatedFiles(recogniser)
        self._common = Common(
            Descriptors(max_open_files), self._folders, recogniser, rotated_files, clock, rotated_quiet_s
        )
        self._names = self._common.names
        self._ready: dict[FollowedName, None] = {}  # in the order of their turns
        self._next_sweep = clock()
        self._next_sweep_if_told = clock()
        self._held: dict[FollowedName, None] = {}  # names with files that are held
        self._held_since = clock()
        self._has_told_held = False
        self._watcher = watcher
        self._by_place: dict[str, FollowedName] = {}  # where a file really is, for the watcher's words
        self._watched_revision = -1
        self._is_all_watched = False  # since then, by all that is known of places and mounts
        self._generation = -1
        self._is_told = False  # of every change, by the watcher
        self._new_inputs: Sequence[InputSettings] | None = None
        self._request = Wakeup()  # to look at those
        self._set_inputs(inputs)
        self._reject_what_is_no_file()
        self._find_names()
        for name in list(self._names.values()):
            any(self._open_rotated(name) for _ in range(MAX_LISTINGS))
        self._sweep()
        for name in self._names.values():
            if name.input.settings.start_at == "end":
                name.skip_to_end()

    @property
    def is_finished(self) -> bool:
        """Following never ends by itself."""
        return False

    @property
    def is_busy(self) -> bool:
        """Whether a long line is being searched for its end."""
        return any(name.is_scanning for name in self._ready)

    @property
    def wake_fds(self) -> Sequence[int]:
        """See Reader."""
        return (self._request.fileno(), *([self._watcher.fileno()] if self._watcher else []))

    @property
    def patience_s(self) -> float:
        """See Reader: the kernel tells of what happens, but not of time that goes by."""
        if not self._is_surely_told or self._held or self._ready or any(self._common.attention.values()):
            return 0.0
        return max(0.0, self._next_sweep_if_told - self._clock())

    @property
    def problems(self) -> Sequence[str]:
        """See Reader: who follows files waits until they can be read."""
        return ()

    @property
    def is_draining(self) -> bool:
        """See Reader: what is not read stays in the files."""
        return False

    def stop(self) -> None:
        """See Reader."""

    @property
    def revision(self) -> int:
        """See Reader."""
        return self._common.revision

    def reconfigure(self, inputs: Sequence[InputSettings]) -> None:
        """Follow other names, or follow them otherwise, from the next poll on. Safe in any thread."""
        self._new_inputs = inputs
        self._request.set()

    def poll(self) -> None:
        """See Reader."""
        if self._new_inputs is not None:
            self._request.clear()
            inputs, self._new_inputs = self._new_inputs, None
            self._set_inputs(inputs)
            self._sweep_soon()
        has_news = self._take_news()
        if has_news or self._clock() >= (self._next_sweep_if_told if self._is_surely_told else self._next_sweep):
            self._find_names()
            self._sweep()
        else:
            for name in list(self._common.attention):
                self._look(name)
        self._mind_held()

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """Return the next chunk: of the name whose turn it is, or of the next that has one."""
        for name in list(self._ready):
            del self._ready[name]
            chunk = name.read(max_lines=max_lines)
            if chunk is not None or name.is_scanning:
                self._ready[name] = None  # behind the others
            if chunk is not None:
                return chunk
        return None

    def take_losses(self) -> list[Loss]:
        """See Reader."""
        lost, self._common.lost = self._common.lost, []
        return lost

    def send_back(self, source: Source, offset: int | None, one_by_one_until: int) -> None:
        """See Reader."""
        file = self._common.sources.get(source.id)
        if file is None or file.source is not source:
            self._common.lost += out_of_reach(source, offset)
            return
        try:
            file.read_again(offset, one_by_one_until=one_by_one_until)
        except OSError:
            self._common.lost += out_of_reach(source, offset)
            return
        file.source.path = source.path
        self._common.sources[file.source.id] = file
        name = file.owner
        name.revive(file)
        self._ready[name] = None

    def duplicate(self, source: Source) -> SourceFile | None:
        """See Reader."""
        file = self._common.sources.get(source.id)
        try:
            return file.twin() if file is not None and file.source is source else None
        except (OSError, SourceError) as error:
            logger.error("cannot open %s once more: %s", source.path, error)
            return None

    def report(self) -> list[FileReport]:
        """See Reader."""
        return [report for name in list(self._names.values()) for report in name.reports()]

    def close(self) -> None:
        """Release all files."""
        for name in self._names.values():
            name.close()
        self._request.close()
        if self._watcher:
            self._watcher.close()

    # --- which names --------------------------------------------------------------------------------------------------

    def _set_inputs(self, inputs: Iterable[InputSettings]) -> None:
        self._inputs = [
            (Input(settings), Discovery(settings.log_file, settings.exclude, folders=self._folders))
            for settings in inputs
        ]
        self._generation = -1

    def _reject_what_is_no_file(self) -> None:
        """Waiting is right for a file that is missing or forbidden, but a directory will not become a log file."""
        for wanted, _ in self._inputs:
            for path in wanted.settings.log_file:
                if os.path.exists(path) and not os.path.isfile(path):
                    raise SourceError(path, "is a directory" if os.path.isdir(path) else "not a regular file")

    def _find_names(self) -> None:
        """Follow the names that are there now; stop following what nobody asks for any more."""
        are_inputs_new = self._generation < 0
        if not self._may_find_others():
            return
        found: dict[str, tuple[Input, bool]] = {}
        for wanted, discovery in self._inputs:
            literal = {path for path in wanted.settings.log_file if not is_pattern(path)}
            for path in discovery.find():
                found.setdefault(path, (wanted, path in literal))
        new = [path for path in found if path not in self._names]
        for path in new:
            wanted, is_literal = found[path]
            self._names[path] = FollowedName(path, wanted, self._common, is_literal=is_literal)
        self._tell_new(new)
        for path, name in list(self._names.items()):
            if path in found:
                name.take_over(found[path][0])
            elif (name.files or name.resting) and not (are_inputs_new and os.path.isfile(path)):
                continue  # gone when the folder was listed, perhaps for a moment only: its files are read to their end
            else:
                self._drop(name)
        self._common.revision += 1

    def _may_find_others(self) -> bool:
        """Whether a folder where names can appear has changed since they were last looked for."""
        for _, discovery in self._inputs:
            for folder in discovery.visited:
                self._folders.listing(folder)
        before, self._generation = self._generation, self._folders.generation
        return before != self._generation or any(not discovery.visited for _, discovery in self._inputs)

    def _open_rotated(self, name: FollowedName) -> bool:
        """Open what was rotated while no client ran; False when files were renamed in this very moment."""
        is_complete = name.open_rotated(self._common.rotated_files.since_last_run(Path(name.path)))
        if not is_complete:
            self._folders.forget(os.path.dirname(name.path))
        return is_complete

    def _tell_new(self, paths: list[str]) -> None:
        for path in paths[:_NAMES_TOLD]:
            logger.info("following %s", path)
        if len(paths) > _NAMES_TOLD:
            logger.info("following %d files more", len(paths) - _NAMES_TOLD)

    def _drop(self, name: FollowedName) -> None:
        """Nobody follows a name any more: it is configured away, or it is gone and so are its files."""
        if name.files:
            logger.info("%s is not followed any more", name.path)
        name.close()
        self._ready.pop(name, None)
        del self._names[name.path]

    def _watch(self) -> None:
        """Let the kernel tell of changes in the folders where names can appear, and where their files really are."""
        if self._watcher is None or self._watched_revision == self._common.revision:
            return
        self._watched_revision = self._common.revision
        self._by_place = {
            str(file.content.path): name for name in self._names.values() for file in (*name.files, *name.resting)
        }
        folders = {folder for _, discovery in self._inputs for folder in discovery.visited}
        folders |= {os.path.dirname(place) for place in self._by_place}
        wanted = {os.path.realpath(folder) for folder in folders}
        for folder in self._watcher.watched - wanted:
            self._watcher.unwatch(folder)
        for folder in wanted:
            self._watcher.watch(folder)  # again if need be: a folder that went away may have come back
        self._is_all_watched = self._tells_all(folders, wanted)

    def _tells_all(self, folders: Iterable[str], wanted: Set[str]) -> bool:
        """Whether the watcher tells of every change: no symbolic link leads to a file, and no other host writes one."""
        if self._watcher is None or not wanted <= self._watcher.watched:
            return False
        mounts = Mounts()
        return (
            all(mounts.is_local(folder) for folder in wanted)
            and not any(mounts.is_point(place) for place in self._by_place)
            and all(os.path.abspath(folder) in wanted for folder in folders)
            and all(map(self._is_in_its_place, self._names.values()))
        )

    def _is_in_its_place(self, name: FollowedName) -> bool:
        if name.path in self._by_place or os.path.abspath(name.path) in self._by_place:
            return True
        return not (name.files or os.path.lexists(name.path))  # it will appear in a folder that is watched

    # --- looking ------------------------------------------------------------------------------------------------------

    def _take_news(self) -> bool:
        """Look at the files that have grown; return whether a name may have appeared, vanished or moved."""
        if self._watcher is None:
            return False
        changes = self._watcher.read()
        for folder in changes.folders:
            self._folders.forget(folder)
        if changes.overflow:
            self._sweep_soon()
        for path in changes.paths:
            name = self._by_place.get(path)
            if name is not None:
                self._look(name)
        return bool(changes.folders)

    def _sweep(self) -> None:
        """Look at every name whose file is not as it was."""
        begin, watched_before, has_links = self._clock(), self._watched_revision, False
        for name in list(self._names.values()):
            try:
                status = os.stat(name.path)
                seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
                has_links |= status.st_nlink > 1  # what is written by another name is told to that one's folder
            except OSError:
                seen = None
            if seen is None or seen != name.seen or name in self._common.attention:
                self._look(name)
        self._watch()
        end = self._clock()
        self._next_sweep = end + (end - begin) / _SWEEP_SHARE
        self._next_sweep_if_told = max(self._next_sweep, begin + _TOLD_SWEEP_S)
        # Before they were looked at, or what happened in between is not told.
        self._is_told = self._is_all_watched and watched_before == self._watched_revision and not has_links

    def _sweep_soon(self) -> None:
        self._next_sweep = self._next_sweep_if_told = self._clock()

    @property
    def _is_surely_told(self) -> bool:
        """Whether the watcher tells of every change, also of the files that have been found since the last sweep."""
        return self._is_told and self._watched_revision == self._common.revision

    def _look(self, name: FollowedName) -> None:
        if name.look():
            self._ready.setdefault(name)
        if name.held:
            self._held[name] = None

    # --- what is held -------------------------------------------------------------------------------------------------

    def _mind_held(self) -> None:
        """Count what renamed and deleted files hold; let go of the oldest of it if there is a bound, and it is over."""
        held: list[tuple[FollowedName, File]] = []
        for name in list(self._held):
            files = name.held
            held += [(name, file) for file in files]
            if not files:
                del self._held[name]
        total = sum(file.unacked for _, file in held)
        if self._max_held_bytes and total > self._max_held_bytes:
            total -= self._give_up(held, total - self._max_held_bytes)
        self._metrics.set_held(len(held), total)
        self._tell_held(len(held), total)

    def _give_up(self, held: list[tuple[FollowedName, File]], excess: int) -> int:
        given_up = 0
        for name, file in sorted(held, key=lambda entry: (not entry[1].is_superseded, entry[1].superseded_at)):
            if given_up >= excess:
                break
            given_up += file.unacked
            name.give_up(file, f"given up: more than {self._max_held_bytes} bytes were held (--max-held-bytes)")
        return given_up

    def _tell_held(self, files: int, size: int) -> None:
        now = self._clock()
        if not size:
            if self._has_told_held:
                logger.info("no renamed or deleted file is held any more")
            self._held_since, self._has_told_held = now, False
        elif not self._has_told_held and now - self._held_since >= _HELD_TOLD_S:
            self._has_told_held = True
            logger.warning("%d renamed or deleted files are held open: %d bytes of them are not acked", files, size)
