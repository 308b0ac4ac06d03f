"""What a caller waits for on file descriptors, and the system's way to wait."""

import math
import select
from collections.abc import Mapping
from typing import Final, Protocol

READ: Final = 1
WRITE: Final = 2

Readiness = Mapping[int, int]
"""READ, WRITE or both for each file descriptor: what a caller waits for, or what the descriptor is ready for."""


class Wait(Protocol):
    """A way to wait that a caller passes on, so that its own duties continue meanwhile."""

    def __call__(self, interest: Readiness, timeout_s: float) -> dict[int, int]:
        """Wait until a descriptor is ready for what `interest` asks, or `timeout_s` has passed; return what is ready.

        Raises an exception of the caller's choice when the wait should be abandoned.
        """


def poll(interest: Readiness, timeout_s: float) -> dict[int, int]:
    """Wait until a descriptor is ready, or `timeout_s` (may be infinite) has passed; return what is ready.

    A descriptor that has failed is ready for everything: the next call that uses it gets the error.
    """
    waiting = select.poll()
    for fd, events in interest.items():
        waiting.register(fd, (select.POLLIN if events & READ else 0) | (select.POLLOUT if events & WRITE else 0))
    found = waiting.poll(None if timeout_s == math.inf else timeout_s * 1000)
    return {fd: _events(mask) & interest[fd] for fd, mask in found}


def _events(mask: int) -> int:
    has_failed = mask & ~(select.POLLIN | select.POLLOUT)
    return (READ if mask & select.POLLIN or has_failed else 0) | (WRITE if mask & select.POLLOUT or has_failed else 0)
