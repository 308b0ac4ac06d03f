"""The limit on open files: raising it, and dividing it between clients and the store."""

import contextlib
import logging
import resource
from typing import Final

logger = logging.getLogger(__name__)

# For the event loop, the lock, the listeners, the standard streams, clients that the server is refusing, 65 journals.
_OTHER_DESCRIPTORS: Final = 96


# Clients that wait for their handshake, and the part of all descriptors that they may have. One costs the system a few
# kilobytes; as many as the system's queue has hold back the connections of most floods without closing any.
_MOST_ARRIVALS: Final = 4096
_PART_FOR_ARRIVALS: Final = 8


def raise_descriptor_limit() -> int:
    """Raise this process's limit on descriptors to the hard limit; return the limit that now applies.

    Each client needs a descriptor, and many systems start processes at 1024 although they allow a million.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def affordable_connections(wanted: int, descriptors: int) -> int:
    """Return how many connections `descriptors` are enough for, at most `wanted`.

    The store keeps its share: refusing a client does little harm, but a store that cannot open a file stalls.
    """
    affordable = max(1, descriptors - _OTHER_DESCRIPTORS)
    if affordable < wanted:
        message = "accepting at most %d connections, not %d: the limit on open files is too low (ulimit -n)"
        logger.warning(message, affordable, wanted)
    return min(wanted, affordable)


def most_arrivals(descriptors: int) -> int:
    """Return how many clients may wait for their handshake, with this limit on open files."""
    return min(_MOST_ARRIVALS, descriptors // _PART_FOR_ARRIVALS)
