"""STATE_DIR/last-look: an empty file whose modification time is when the client last looked at all of its files.

Owns that file. After a kill at any moment, the next start knows from which time on nobody looked. Must never cost more
than one system call every few seconds, and never end a run.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

from logferry.errors import cause_of
from logferry.printable import printable
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

FILE_NAME: Final = "last-look"

# The file is touched at most this often.
TOUCH_INTERVAL_S: Final = 5.0


class LastLook:
    """When this client, or the one before it, last looked. For one thread."""

    def __init__(self, folder: Path | None, *, clock: Callable[[], float] = monotonic) -> None:
        """Read when the client of an earlier run last looked; None keeps nothing on disk."""
        self._path = folder / FILE_NAME if folder is not None else None
        self._clock = clock
        self._touch_at = clock()
        self._failures = RepeatLimit(logger, clock=clock)
        self._noted = 0.0
        self.before = _modified_at(self._path)  # Unix time, 0 if it is not known

    def note(self, looked_at: float) -> None:
        """Note that all files were looked at, at this Unix time or later."""
        self._noted = looked_at
        if self._clock() >= self._touch_at:
            self._touch_at = self._clock() + TOUCH_INTERVAL_S
            self._touch()

    def close(self) -> None:
        """Write down the last look of this run."""
        if self._noted:
            self._touch()

    def _touch(self) -> None:
        if self._path is None:
            return
        try:
            try:
                os.utime(self._path, (self._noted, self._noted))
            except FileNotFoundError:
                self._path.touch(mode=0o600)
                os.utime(self._path, (self._noted, self._noted))
        except OSError as error:
            self._failures.log(
                *(
                    logging.WARNING,
                    error.errno,
                    "cannot touch %s: %s; the next start will take an earlier time for the last look",
                ),
                *(printable(str(self._path)), cause_of(error)),
            )
        else:
            self._failures.all_over("%s is touched again", printable(str(self._path)))


def _modified_at(path: Path | None) -> float:
    try:
        return path.stat().st_mtime if path is not None else 0.0
    except OSError:
        return 0.0
