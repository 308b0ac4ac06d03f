"""How much room the disk of the data folder has, and when it is too little to take anything new.

Owns the limit of --min-free-bytes. Below the limit the writer stores no new lines, as on a full disk: acks wait,
nothing is lost, and the writer resumes by itself. What is left is for the ledger, the journals and what must be
finished. A thread looks every few seconds, so that a server without deliveries knows, too. Reading the numbers must
never wait for the disk.
"""

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.worker import Worker

logger = logging.getLogger(__name__)

_LOOK_S: Final = 5.0

# Of a disk that is smaller than the limit, this part is kept free.
_SHARE_OF_SMALL_DISKS: Final = 16

_UNITS: Final = (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))


class FreeSpace:
    """The room on one disk. The writer and the thread look, and replace both numbers; any thread may read them."""

    def __init__(
        self, folder: Path, files: FileSystem, *, min_bytes: int, make_room: Callable[[], bool] = lambda: False
    ) -> None:
        """`check` calls `make_room` in the writer's thread; it makes a little, and returns whether it can make more."""
        self._folder = folder
        self._files = files
        self._make_room = make_room
        self.min_bytes = min_bytes
        self.free_bytes = self.total_bytes = 0  # 0 and 0: not known
        self._worker = Worker(self._run, name="logferry-free-space")
        self._look()
        if 0 < self.total_bytes <= min_bytes:
            self.min_bytes = self.total_bytes // _SHARE_OF_SMALL_DISKS
            logger.warning(
                "the disk of the data folder has only %s, and --min-free-bytes is not less: the server keeps %s free",
                *(_shown(self.total_bytes), _shown(self.min_bytes)),
            )

    @property
    def shortage(self) -> str:
        """Why nothing new is taken, or "" if there was room at the last look."""
        if not self.total_bytes or self.free_bytes >= self.min_bytes:
            return ""
        return f"less than {_shown(self.min_bytes)} are free on the server's disk (--min-free-bytes)"

    def check(self) -> None:
        """Look, and make room if there is too little. Raises OSError, as a full disk does, if that is not enough.

        While the server stops, each call makes room once: the writer looks between two of them whether it must give up.
        """
        if not self.min_bytes:
            return
        self._look()
        can_make_more = True
        while self.shortage and can_make_more:
            can_make_more = self._make_room() and not self._worker.is_stopping
            self._look()
        if reason := self.shortage:
            raise OSError(errno.ENOSPC, reason)

    def start(self) -> None:
        """Look every few seconds."""
        self._worker.start()

    def ask_to_stop(self) -> None:
        """Look no more. The thread is not waited for: a disk may never answer."""
        self._worker.ask_to_stop()

    def _run(self, worker: Worker) -> None:
        while not worker.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        try:
            self.free_bytes, self.total_bytes = self._files.space(self._folder)
        except OSError:  # a file system that does not say it, or a disk that has gone: a write will fail
            self.free_bytes = self.total_bytes = 0


def _shown(size: int) -> str:
    unit, factor = next(((unit, factor) for unit, factor in _UNITS if size % factor == 0), ("", 1))
    return f"{size // factor}{unit}" if unit else f"{size} bytes"
