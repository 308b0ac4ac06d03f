"""Gives a thread the lowest priority for processor and disk, where the system can do that. Never raises."""

import contextlib
import os
from typing import Final

_LOWEST_NICE: Final = 19

# linux/ioprio.h: the target is one thread, and the class is "idle": only when nobody else wants the disk.
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_IDLE: Final = 3 << 13

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


def lower_priority(thread: int) -> None:
    """Lower the priority of a thread of this process, by its number in the kernel."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, thread, _LOWEST_NICE)  # Linux takes the number of a thread for a process
    system = os.uname()
    number = _IOPRIO_SET.get(system.machine) if system.sysname == "Linux" else None
    if number is None:
        return
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # imported here because only this needs it

        ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, thread, _IOPRIO_IDLE)
