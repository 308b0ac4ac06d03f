"""Which file to read next in continuous mode.

`poll` looks at the file system; it is called every poll interval,
also while the server is away, so that files that are rotated meanwhile are opened and held until they are read.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from logferry.client.reader import FileReport, out_of_reach
from logferry.client.recall import Recall, rotated_since
from logferry.client.source_file import Chunk, Lost, Source, SourceFile
from logferry.errors import SourceError

logger = logging.getLogger(__name__)

# A rotated file that is read to its end stays open this long: its writer may not have noticed the rotation yet.
# With unread bytes it stays open for ever.
ROTATED_QUIET_S: Final = 60.0


class FollowReader:
    """Follows a name for ever, as `tail -F` does, but reads every file that had the name to its end first."""

    def __init__(
        self,
        path: Path,
        *,
        max_line_bytes: int,
        recall: Recall | None = None,
        start_at_end: bool = False,
        rotated_quiet_s: float = ROTATED_QUIET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to follow. Raises SourceError when the name is a directory or the like."""
        self._path = path
        self._max_line_bytes = max_line_bytes
        self._recall = recall
        self._rotated_quiet_s = rotated_quiet_s
        self._clock = clock
        self._files: deque[SourceFile] = deque()  # oldest first; the last one has the name, or had it last
        self._is_superseded = False  # the oldest file has a successor, or no name at all
        self._quiet_since = clock()  # when that became so, or the oldest file last gave a chunk
        self._problem = ""  # why the name cannot be opened now; logged once
        self._lost: list[Lost] = []
        self._reject_what_is_no_file()
        self._open_rotated(recall.rotated(path) if recall else [])
        self.poll()
        if start_at_end and self._files and not self._files[-1].offset:
            self._skip_to_end(self._files[-1])

    @property
    def is_finished(self) -> bool:
        """Following never ends by itself."""
        return False

    @property
    def is_busy(self) -> bool:
        """Whether a long line is being searched for its end."""
        return any(file.is_scanning for file in self._files)

    @property
    def wake_fds(self) -> Sequence[int]:
        """See Reader."""
        return ()

    def report(self) -> list[FileReport]:
        """See Reader."""
        return []

    def poll(self) -> None:
        """Open the file that has the name now, unless it is open already; let go of old ones that are done."""
        try:
            status = os.stat(self._path)
            self._attend((status.st_dev, status.st_ino))
            self._report("")
        except FileNotFoundError:
            self._report("waiting for it to appear")
        except SourceError as error:
            self._report(error.reason)
        except OSError as error:
            self._report(error.strerror or str(error))
        for file in self._files:
            file.size()
        was_superseded, self._is_superseded = self._is_superseded, self._has_superseded()
        if not (was_superseded and self._is_superseded):
            self._quiet_since = self._clock()

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """Return the next chunk, from the oldest file that has one."""
        self._retire()
        for file in list(self._files):
            # An old file has long been quiet: nobody will end its last line any more.
            is_final = file is self._files[0] and self._oldest_is_abandoned()
            try:
                chunk = file.read(max_lines=max_lines, is_final=is_final)
                if file.lost:  # started over: what it holds now comes next
                    self._lost.extend(file.lost)
                    file.lost.clear()
                    chunk = file.read(max_lines=max_lines)
            except SourceError as error:
                self._report(error.reason)
                continue
            if chunk is not None:
                if file is self._files[0]:
                    self._quiet_since = self._clock()
                return chunk
        return None

    def take_lost(self) -> list[Lost]:
        """Return what was truncated or rewritten before it was read."""
        lost, self._lost = self._lost, []
        return lost

    def send_back(self, source: Source, offset: int | None, one_by_one_until: int) -> None:
        """See Reader."""
        file = next((file for file in self._files if file.source is source), None)
        if file:
            file.read_again(offset, one_by_one_until=one_by_one_until)
        else:
            self._lost += out_of_reach(source, offset)

    def twin(self, source: Source) -> SourceFile | None:
        """See Reader."""
        return next((file.twin() for file in list(self._files) if file.source is source), None)

    def close(self) -> None:
        """Release all files."""
        while self._files:
            self._files.pop().close()

    def _skip_to_end(self, file: SourceFile) -> None:
        file.skip_to_end()
        if file.offset:
            self._lost.append(Lost(file.source, 0, file.offset, "not asked for (--start-at end)", is_wanted=True))

    def _reject_what_is_no_file(self) -> None:
        """Waiting is right for a file that is missing or forbidden, but a directory will not become a log file."""
        if os.path.exists(self._path) and not os.path.isfile(self._path):
            raise SourceError(str(self._path), "is a directory" if os.path.isdir(self._path) else "not a regular file")

    def _attend(self, identity: tuple[int, int]) -> None:
        """Make the file that has the name now the last one."""
        known = next((file for file in self._files if file.identity == identity), None)
        if known is None:
            self._open()
        elif known is not self._files[-1]:  # it got its name back
            self._files = deque(sorted(self._files, key=lambda file: file is known))
            self._quiet_since = self._clock()

    def _open(self) -> None:
        if self._files:
            logger.info("%s is a new file now; the old one is read to its end first", self._path)
            last = self._files[-1]
            self._open_rotated(rotated_since(self._path, last.modified_ns(), {file.identity for file in self._files}))
        else:
            logger.info("following %s", self._path)
        self._append(self._path)

    def _open_rotated(self, paths: list[Path]) -> None:
        """Open files that had the name while nobody looked, oldest first; they are read to their end first."""
        for path in paths:
            try:
                self._append(path)
            except (FileNotFoundError, SourceError) as error:
                logger.warning("cannot read the rotated file %s: %s", path, error)
            else:
                logger.info("%s was rotated meanwhile; it is read to its end first", path)

    def _append(self, path: Path) -> None:
        file = SourceFile(path, max_line_bytes=self._max_line_bytes)
        if any(open_file.identity == file.identity for open_file in self._files):
            file.close()
            return
        file.source.path = str(self._path)  # the name that is followed, whatever it was rotated to since
        if self._recall:
            self._recall.recognise(file)
        self._files.append(file)

    def _has_superseded(self) -> bool:
        return len(self._files) > 1 or (bool(self._files) and self._files[0].is_deleted)

    def _oldest_is_abandoned(self) -> bool:
        """Whether the oldest file is superseded, and has given nothing for long since."""
        if not self._is_superseded or self._clock() - self._quiet_since < self._rotated_quiet_s:
            return False
        return self._has_superseded()

    def _retire(self) -> None:
        """Close abandoned files that are read and stored to their end; until then they may have to be read again."""
        while self._files and self._oldest_is_abandoned():
            oldest = self._files[0]
            if oldest.size() > oldest.offset or oldest.source.committed < oldest.offset:
                return
            oldest.source.is_finished = True
            self._files.popleft().close()
            self._quiet_since = self._clock()

    def _report(self, problem: str) -> None:
        if problem and problem != self._problem:
            logger.warning("cannot read %s: %s", self._path, problem)
        self._problem = problem
