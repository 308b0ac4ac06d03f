"""Gives reads of a thread the lowest priority for the disk, where the system can do that. Never raises.

Never lowers the priority for the processor: a thread that holds Python's lock and is not scheduled would stop every
other thread of the process. For the same reason writes to the ledger, which others wait for, keep their priority.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

# linux/ioprio.h: the target is one thread, and the class is "idle": only when nobody else wants the disk.
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_IDLE: Final = 3 << 13
_IOPRIO_NONE: Final = 0

# The number of the system call ioprio_set; C libraries have no function for it.
_IOPRIO_SET: Final = {
    "x86_64": 251,
    "aarch64": 30,
    "riscv64": 30,
    "i686": 289,
    "armv7l": 314,
    "ppc64le": 273,
    "s390x": 282,
}


@contextlib.contextmanager
def reading_when_idle() -> Iterator[None]:
    """Read from the disk only when nobody else does, in this thread, for the length of a `with`."""
    _set_priority(_IOPRIO_IDLE)
    try:
        yield
    finally:
        _set_priority(_IOPRIO_NONE)


def _set_priority(priority: int) -> None:
    call, system = _system_call(), os.uname()
    number = _IOPRIO_SET.get(system.machine) if system.sysname == "Linux" else None
    if call is not None and number is not None:
        call(number, _IOPRIO_WHO_PROCESS, threading.get_native_id(), priority)


@cache
def _system_call() -> Callable[..., Any] | None:
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # imported here because only this needs it

        call: Callable[..., Any] = ctypes.CDLL(None).syscall
        return call
    return None
