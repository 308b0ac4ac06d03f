"""The batch reader: reads files to the size that they have when the run starts, one after the other.

A file without anything new gives one chunk without bytes, so that the server is asked whether it has the file.

Owns the plan: the files to read are chosen at the start. The reader opens all but the first of them when their turn
comes; by then a file may have been renamed, which does no harm, or deleted. A file that cannot be read must never keep
the reader from reading the others; the client reports it at the end.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from logferry.client.files.content.fd_pool import DescriptorPool
from logferry.client.files.identity import FileIdentity
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.listing import FolderListings
from logferry.client.finding.patterns import Discovery
from logferry.client.readers.base import losses_if_unreachable
from logferry.client.readers.batch_file import BatchFile, FinishedFile, PlannedFile, plan
from logferry.client.readers.input_rules import InputRules
from logferry.client.recognition.recognise import Recogniser
from logferry.config import InputSettings
from logferry.errors import SourceError
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source
from logferry.printable import printable
from logferry.progress import Progress

logger = logging.getLogger(__name__)

# This many files are opened at the start, so that later renames and deletions do them no harm; also the most that are
# open at any time.
_MAX_OPEN: Final = 64


class BatchReader:
    """Reads each file once, from its beginning, or from its checkpoint if a `recogniser` finds one.

    The reading thread writes; other threads may call `report` and `duplicate`. Files are closed under the lock, so that
    no other thread duplicates a file at that moment.
    """

    def __init__(
        self,
        inputs: Sequence[InputSettings],
        *,
        recogniser: Recogniser | None = None,
        max_open_files: int | None = None,
    ) -> None:
        """Find the files. Raises SourceError if there are none, or if there is only one and it cannot be read."""
        self._recogniser = recogniser
        self._folders = recogniser.folders if recogniser else FolderListings()
        self._descriptors = DescriptorPool(min(max_open_files or _MAX_OPEN, _MAX_OPEN), is_quiet=True)
        self._lock = threading.Lock()  # held while a file is closed or duplicated
        self._errors: list[SourceError] = []
        self._files: dict[PlannedFile, BatchFile] = {}  # open or to be reopened: not acked to the end
        self._finished: dict[str, FinishedFile] = {}  # those that are acked to the end, by the ids of their sources
        self._reports: dict[PlannedFile, FileReport] = {}  # the last report of the others
        self._damaged: dict[str, None] = {}
        self._lost: list[Loss] = []
        self.revision = 0
        self._planned = list(self._plan(inputs))
        self._planned_bytes = sum(planned.size for planned in self._planned)
        self._unread = deque(self._planned)
        for planned in self._planned[: self._descriptors.limit]:
            file = self._open(planned)
            if file is not None and file.is_read and not file.has_question:
                self._unread.remove(planned)
        if not self._files and not self._unread and len(self._errors) == 1:
            raise self._errors[0]

    @property
    def is_finished(self) -> bool:
        """Whether everything planned at the start was read, or cannot be read."""
        return not self._unread

    @property
    def is_busy(self) -> bool:
        """See Reader: files never make the reader wait."""
        return not self.is_finished

    @property
    def wake_fds(self) -> Sequence[int]:
        """See Reader: the reader waits for nothing."""
        return ()

    @property
    def paths(self) -> list[Path]:
        """The paths of the files, in the order of reading."""
        return [Path(planned.path) for planned in self._planned]

    @property
    def patience_s(self) -> float:
        """See Reader: no descriptor reports a change."""
        return 0.0

    @property
    def problems(self) -> list[str]:
        """See Reader."""
        return [*map(str, self._errors), *self._damaged]

    def unacked(self) -> list[str]:
        """Return a sentence for each file that is not acked up to where its reading ended."""
        return [
            f"{planned.path} is acked only up to byte {file.source.committed} of {file.end}"
            for planned, file in self._files.items()
            if file.source.committed < file.end
        ]

    @property
    def is_draining(self) -> bool:
        """See Reader: unread lines stay in the files."""
        return False

    def stop(self) -> None:
        """See Reader."""

    def poll(self) -> None:
        """See Reader: close the files that are acked to their end, up to the first that is not."""
        for planned, file in list(self._files.items()):
            if not (file.is_read and file.is_stored):
                return
            self._close(planned, file)

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """See Reader. A last line without a newline counts as a line."""
        while self._unread:
            planned = self._unread[0]
            file = self._open(planned)
            if file is None:
                continue
            chunk = file.question() if file.has_question else self._read(file, max_lines)
            if chunk is None and file.has_question:  # what seemed to be new is a hole at its end
                chunk = file.question()
            if file.is_read:
                self._unread.popleft()
                self._damaged |= {f"cannot read all of {planned.path}: {problem}": None for problem in file.problems}
            if chunk is not None or file.is_scanning:
                return chunk
        return None

    def take_losses(self) -> list[Loss]:
        """See Reader."""
        lost, self._lost = self._lost, []
        return lost

    def rewind(self, source: Source, offset: int | None, *, one_by_one_until: int = 0) -> None:
        """See Reader."""
        try:
            found = self._find(source) or self._reopened(source)
        except (SourceError, OSError) as error:
            logger.error("cannot open %s again: %s", printable(source.path), error)
            found = None
        if found is None:
            self._lost += losses_if_unreachable(source, offset)
            return
        planned, file = found
        try:
            file.ensure_reachable()
            file.rewind(offset, one_by_one_until=one_by_one_until)
        except (SourceError, OSError) as error:
            logger.error("cannot read %s again: %s", planned.path, error)
            self._lost += losses_if_unreachable(source, offset)
            return
        if planned not in self._unread:
            self._unread.appendleft(planned)

    def duplicate(self, source: Source) -> SourceFile | None:
        """See Reader."""
        with self._lock:
            found = self._find(source)
            if found is None:
                return None
            try:
                found[1].ensure_reachable()
                return found[1].duplicate()
            except (SourceError, OSError) as error:
                logger.error("cannot open %s a second time: %s", source.path, error)
                return None

    def progress(self) -> Progress:
        """Return how much is acked of what was planned. Safe in any thread."""
        finished, is_open = list(self._finished.values()), list(self._files.items())
        done = sum(file.planned.size for file in finished)
        done += sum(min(file.acked_bytes, planned.size) for planned, file in is_open)
        return Progress(done, self._planned_bytes, len(finished), len(self._planned))

    def close(self) -> None:
        """Release all files."""
        for planned, file in list(self._files.items()):
            self._close(planned, file)

    def report(self) -> list[FileReport]:
        """See Reader."""
        known = {**self._reports, **{planned: file.report() for planned, file in dict(self._files).items()}}
        return [known.get(planned) or FileReport(planned.path, size=planned.size) for planned in self._planned]

    def _plan(self, inputs: Sequence[InputSettings]) -> Iterator[PlannedFile]:
        """Yield each file once: for the first input that matches it, under the first of its names."""
        known: set[FileIdentity] = set()
        for settings in inputs:
            wanted = InputRules(settings)
            for path in Discovery(settings.log_file, settings.exclude, folders=self._folders).find():
                if path not in settings.log_file and not os.path.isfile(path):
                    continue  # a pattern matches only files
                try:
                    planned = plan(path, wanted)
                except SourceError as error:
                    self._note(error)
                    continue
                if planned.identity not in known:
                    known.add(planned.identity)
                    yield planned
        if not known and not self._errors:
            self._note(SourceError(":".join(name for settings in inputs for name in settings.log_file), "no such file"))

    def _open(self, planned: PlannedFile) -> BatchFile | None:
        """Return a file, opening it if necessary; None if it cannot be read."""
        file = self._files.get(planned)
        if file is None:
            try:
                file = BatchFile(planned, self._descriptors, self._folders, self._recogniser)
            except SourceError as error:
                self._note(error)
                self._unread.remove(planned)
                self._reports[planned] = FileReport(planned.path, state="unreadable", problem=error.reason)
                return None
            self._files[planned] = file
            self.revision += 1
        return file

    def _read(self, file: BatchFile, max_lines: int | None) -> Chunk | None:
        if file.is_read:
            return None
        try:
            return file.next_chunk(max_lines)
        except SourceError as error:
            self._note(error)
            file.stop_reading(error.reason)
            return None
        finally:
            self._lost += file.lost
            file.lost.clear()

    def _note(self, error: SourceError) -> None:
        logger.error("%s", error)
        self._errors.append(error)
        self.revision += 1

    def _find(self, source: Source) -> tuple[PlannedFile, BatchFile] | None:
        return next((entry for entry in list(self._files.items()) if entry[1].source is source), None)

    def _reopened(self, source: Source) -> tuple[PlannedFile, BatchFile] | None:
        """Open the file of a source that was finished, because a server lacks some of it; None if there is none.

        Raises SourceError or OSError if it cannot be read, or is another file by now.
        """
        finished = self._finished.get(source.id)
        if finished is None:
            return None
        file = BatchFile(finished.planned, self._descriptors, self._folders)
        try:
            file.take_up(source, finished)
        except BaseException:
            file.close()
            raise
        del self._finished[source.id]
        self._files[finished.planned] = file
        self.revision += 1
        return finished.planned, file

    def _close(self, planned: PlannedFile, file: BatchFile) -> None:
        if file.is_read:
            self._finished[file.source.id] = file.finished()
        with self._lock:
            file.source.is_finished = file.is_read
            self._reports[planned] = file.report()
            del self._files[planned]
            file.close()
        self.revision += 1
