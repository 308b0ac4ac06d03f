"""How many files this process may have open, and how many of them clients may take."""

import contextlib
import logging
import resource
from typing import Final

logger = logging.getLogger(__name__)

# The event loop, the lock, the listeners, the standard streams, clients that are being refused.
_OTHER_DESCRIPTORS: Final = 32


def raise_descriptor_limit() -> int:
    """Allow this process as many descriptors as the system lets it; return how many that is.

    Each client needs one, and many systems begin with 1024 although a process may have a million.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def affordable_connections(wanted: int, descriptors: int) -> int:
    """Return for how many connections `descriptors` are enough, at most `wanted`.

    The store keeps its share: a client that is refused knows why, a store that cannot open a file must wait.
    """
    affordable = max(1, descriptors - _OTHER_DESCRIPTORS)
    if affordable < wanted:
        logger.warning("only %d connections, not %d: the system's limit of open files is too low", affordable, wanted)
    return min(wanted, affordable)
