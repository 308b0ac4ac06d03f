"""Standard output and standard error that never fail: what a full disk or a closed pipe refuses is discarded.

A result that nobody can read must not change what a program does or how it exits. Owns `sys.stdout` and `sys.stderr`
of the program, and makes sure that descriptors 0, 1 and 2 are open, so that no log file or socket takes their place.
Must never buffer: Python would try to write the rest at exit, and change the exit code.
"""

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Callable
from typing import Final, TextIO

# A terminal or pipe may be non-blocking because another program made it so. Wait this long for its reader.
_READER_TIMEOUT_MS: Final = 1000


def open_standard_streams() -> None:
    """Replace `sys.stdout` and `sys.stderr` by streams that never fail; open closed descriptors on /dev/null."""
    _open_closed_descriptors()
    sys.stdout = _stream(1, sys.stdout)
    sys.stderr = _stream(2, sys.stderr)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write `data` to a descriptor, all of it. Raises OSError."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            _wait_until_writable(descriptor)


def write_if_ready(descriptor: int, data: bytes) -> None:
    """Write a few bytes to a descriptor if nothing has to wait for that. Never raises, not even in a signal handler."""
    with contextlib.suppress(OSError):
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if poll.poll(0):
            os.write(descriptor, data)


# What is done before anything is written to standard error.
_before_errors: Final[list[Callable[[], object]]] = []


def before_errors(call: Callable[[], object]) -> None:
    """Have `call` called before anything is written to standard error, in the thread that writes."""
    _before_errors.append(call)


class _Lenient(io.RawIOBase):
    """Writes to a descriptor, and discards what cannot be written. Any thread may write."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._is_failing = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            if self._descriptor == 2:
                for call in _before_errors:
                    call()
            write_all(self._descriptor, memoryview(data))
            self._is_failing = False
        except OSError as error:
            self._report(error)
        return len(data)

    def _report(self, error: OSError) -> None:
        """Report the first failure of standard output, except that its reader has enough (`| head`)."""
        if self._descriptor == 1 and not self._is_failing and error.errno != errno.EPIPE:
            with contextlib.suppress(OSError):
                os.write(2, f"logferry: cannot write to standard output: {error.strerror}\n".encode())
        self._is_failing = True


def _stream(descriptor: int, replaced: TextIO | None) -> TextIO:
    encoding = (replaced.encoding if replaced else None) or "utf-8"
    return io.TextIOWrapper(_Lenient(descriptor), encoding=encoding, errors="backslashreplace", write_through=True)  # type: ignore[type-var]


def _open_closed_descriptors() -> None:
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_WRONLY)  # takes the lowest number that is free: this one


def _wait_until_writable(descriptor: int) -> None:
    """Raises BlockingIOError if nobody reads in time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(_READER_TIMEOUT_MS):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
