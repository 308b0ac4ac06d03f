"""What a file descriptor is waited for, and the system's way to wait for it."""

import math
import select
from collections.abc import Mapping
from typing import Final, Protocol

READ: Final = 1
WRITE: Final = 2

Readiness = Mapping[int, int]
"""By file descriptor: READ, WRITE or both. What it is waited for, or what it is ready for."""


class Wait(Protocol):
    """How a caller lets others wait without giving up its own duties."""

    def __call__(self, interest: Readiness, timeout_s: float) -> dict[int, int]:
        """Wait until a descriptor is ready for what is asked of it, or `timeout_s` is over; return which are ready.

        Raises an exception of the caller's when whoever waits should stop.
        """


def poll(interest: Readiness, timeout_s: float) -> dict[int, int]:
    """Wait until a descriptor is ready, or `timeout_s` (may be infinite) is over; return which are ready for what.

    A descriptor that has failed is ready for everything: whoever uses it next gets the failure.
    """
    waiting = select.poll()
    for fd, events in interest.items():
        waiting.register(fd, (select.POLLIN if events & READ else 0) | (select.POLLOUT if events & WRITE else 0))
    found = waiting.poll(None if timeout_s == math.inf else timeout_s * 1000)
    return {fd: _events(mask) & interest[fd] for fd, mask in found}


def _events(mask: int) -> int:
    has_failed = mask & ~(select.POLLIN | select.POLLOUT)
    return (READ if mask & select.POLLIN or has_failed else 0) | (WRITE if mask & select.POLLOUT or has_failed else 0)
