"""The log files of a campaign: writers that append numbered lines and rotate, copy, replace and link their files.

Every line is a function of its log, its number and its file, so that whatever is stored can be judged by itself.
"""

import hashlib
import os
import re
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Final

LINE: Final = re.compile(rb'"message": "log=(\w+) n=(\d+) file=(\d+) sum=([0-9a-f]{16}) *x*"')

_STEP_S: Final = 0.02
_STEPS_PER_S: Final = 50


def payload(log: str, number: int, file: int) -> bytes:
    """Return line `number` of a log; it belongs to the log's `file`-th file."""
    digest = hashlib.blake2b(b"%s %d %d" % (log.encode(), number, file), digest_size=8).hexdigest()
    text = b"log=%s n=%d file=%d sum=%s %s" % (log.encode(), number, file, digest.encode(), b"x" * (number % 60))
    return b"2024-01-15 08:23:45 INFO %s\n" % text


def rendered(line: bytes) -> bytes:
    """Return the record that a line of `payload` becomes."""
    return b'{"level": "INFO", "message": "%s", "timestamp": "2024-01-15 08:23:45"}\n' % line[25:-1]


class Writer(ABC):
    """Appends lines at a steady rate, in pieces that do not end with lines, and begins new files.

    Its thread writes `written` and `files`; other threads read them after `stop`.
    """

    name: str

    def __init__(self, folder: Path, *, lines_per_second: int, lines_per_file: int) -> None:
        self.folder = folder
        self.path = folder / f"{self.name}.log"
        self._step = max(1, lines_per_second // _STEPS_PER_S)
        self._steps_per_file = max(1, lines_per_file // self._step)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"writer-{self.name}", daemon=True)
        self.written = 0
        self.files = 0
        self.write_more(self._step)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End with a whole line."""
        self._stop.set()
        self._thread.join()

    def write_more(self, count: int) -> None:
        """Append lines to the present file, while the thread does not run."""
        with self.path.open("ab") as file:
            file.writelines(payload(self.name, self.written + index, self.files) for index in range(count))
        self.written += count

    @abstractmethod
    def next_file(self) -> None:
        """Make room for the next file of this log, in its own way."""

    def _run(self) -> None:
        while not self._stop.is_set():
            with self.path.open("ab", buffering=0) as file:
                self._fill(file.write)
            if not self._stop.is_set():
                self.next_file()

    def _fill(self, write: Callable[[bytes], object]) -> None:
        for _ in range(self._steps_per_file):
            lines = b"".join(payload(self.name, self.written + index, self.files) for index in range(self._step))
            cut = len(lines) * 2 // 3
            write(lines[:cut])
            write(lines[cut:])
            self.written += self._step
            if self._stop.wait(_STEP_S):
                return


class Renaming(Writer):
    """The log is renamed to `renamed.log.<n>`."""

    name = "renamed"

    def next_file(self) -> None:
        """Rename the log."""
        self.files += 1
        self.path.rename(self.path.with_name(f"{self.path.name}.{self.files}"))


class CopyTruncating(Writer):
    """The log is copied to `copied.log.<n>` and truncated."""

    name = "copied"

    def next_file(self) -> None:
        """Copy the log and truncate it."""
        self.files += 1
        shutil.copyfile(self.path, self.path.with_name(f"{self.path.name}.{self.files}"))
        os.truncate(self.path, 0)


class Replacing(Writer):
    """The log is replaced by a copy of itself, which then grows, as rsync and editors do."""

    name = "replaced"

    def next_file(self) -> None:
        """Replace the log by its copy."""
        new = self.path.with_name(f".{self.path.name}.new")
        shutil.copyfile(self.path, new)
        new.rename(self.path)


class Linking(Writer):
    """The log is a link into another folder: its target is renamed there, or the link is switched to another target."""

    name = "linked"

    def __init__(self, folder: Path, *, lines_per_second: int, lines_per_file: int) -> None:
        super().__init__(folder, lines_per_second=lines_per_second, lines_per_file=lines_per_file)
        self._targets = folder.parent / "targets"
        self._targets.mkdir()
        self._target = self.path.rename(self._targets / "0.log")
        self.path.symlink_to(self._target)

    def next_file(self) -> None:
        """Rename the target or switch the link, in turn."""
        self.files += 1
        if self.files % 2:
            self._target.rename(self._target.with_name(f"{self._target.name}.20240115-{self.files:06}"))
            return
        self._target = self._targets / f"{self.files}.log"
        self._target.touch()
        link = self.path.with_name(f".{self.path.name}.new")
        link.symlink_to(self._target)
        link.rename(self.path)


class Doomed:
    """A log that now and then loses lines that nobody can have seen: each time is an unknown window."""

    name: Final = "doomed"
    lines_per_file: Final = 40

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{self.name}.log"
        self.written = 0
        self.files = 0
        self._append()

    def lose_lines(self) -> None:
        """Append lines and truncate them away, while no client looks; then begin the next file."""
        self._append()
        os.truncate(self.path, 0)
        self.files += 1
        self._append()

    def _append(self) -> None:
        with self.path.open("ab") as file:
            file.writelines(
                payload(self.name, self.written + index, self.files) for index in range(self.lines_per_file)
            )
        self.written += self.lines_per_file


ALL_WRITERS: Final[tuple[type[Writer], ...]] = (Renaming, CopyTruncating, Replacing, Linking)
