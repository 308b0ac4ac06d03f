"""Where lines go: standard output, through a pager on a terminal. Ends a command quietly when nobody reads any more.

Owns the buffer and the pager. Lines wait for at most a moment; a follower flushes after each look.
"""

import errno
import os
import time
from contextlib import suppress
from typing import Any, Final

from logferry.cli.streams import write_all
from logferry.errors import LogferryError, cause_of

_BUFFER_BYTES: Final = 64 * 1024
_WAIT_S: Final = 0.1

# The reader has ended, or the terminal is gone. Anything else, such as a full disk, is a failure.
_NOBODY_READS: Final = frozenset({errno.EPIPE, errno.EIO})

# What journalctl gives to less: quit if one screen suffices, colours, chopped lines, no clearing, quit on Ctrl-C.
_LESS: Final = "FRSXMK"


class NobodyReads(Exception):
    """The reader of the output has enough (`| head`), or has ended the pager."""


class LinesOut:
    """Writes lines to standard output, or to a pager. Raises NobodyReads, and LogferryError if it cannot."""

    def __init__(self, *, pages: bool = False) -> None:
        self._pager: Any = _started_pager() if pages else None
        self._descriptor = self._pager.stdin.fileno() if self._pager else 1
        self._waiting: list[bytes] = []
        self._size = 0
        self._flushed = time.monotonic()

    @property
    def has_pager(self) -> bool:
        """Whether a pager shows the lines."""
        return self._pager is not None

    def line(self, text: bytes) -> None:
        """Write a line, without its newline."""
        self._waiting.append(text)
        self._size += len(text)
        if self._size >= _BUFFER_BYTES or time.monotonic() - self._flushed >= _WAIT_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._flushed = time.monotonic()
        if not self._waiting:
            return
        data = b"\n".join((*self._waiting, b""))
        self._waiting, self._size = [], 0
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            if error.errno in _NOBODY_READS:
                raise NobodyReads from error
            raise LogferryError(f"cannot write the lines: {cause_of(error)}") from error

    def end(self) -> None:
        """Write what waits, and wait until the pager has ended."""
        try:
            self.flush()
        finally:
            self.wait_for_pager()

    def wait_for_pager(self) -> None:
        """Close the pager's input, and wait for its end."""
        if self._pager:
            with suppress(OSError):
                self._pager.stdin.close()
            self._pager.wait()


def _started_pager() -> Any:
    command = _pager_command()
    if command.strip() in ("", "cat"):
        return None
    import subprocess  # late: only a terminal needs it

    environment = {"LESS": _LESS, "LESSCHARSET": "utf-8", **os.environ}
    try:
        return subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, env=environment, bufsize=0)
    except OSError:
        return None


def _pager_command() -> str:
    """Return the command of the pager; "" if there is none."""
    for name in ("LOGFERRY_PAGER", "PAGER"):
        if (command := os.environ.get(name)) is not None:
            return command
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return "less" if any(os.access(os.path.join(folder, "less"), os.X_OK) for folder in folders) else ""
