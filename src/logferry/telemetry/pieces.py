"""Long work of a background thread in small pieces, between which the thread that ships or serves has its turn.

Python runs one thread at a time. A thread that wants to run while another one works waits for that, or for the
interpreter's switch interval (5 ms), and it does so after every call of the system, many times for one ack. Therefore a
background thread works for a fraction of a millisecond, and then sleeps: giving up the turn without a sleep would
mostly take it again before the other thread has woken up. Owns how others are let run. Must never be used by the
thread that ships or serves.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Final, TypeVar

Item = TypeVar("Item")

# Longer than a thread needs to wake up.
_PAUSE_S: Final = 0.0005


def let_others_run() -> None:
    """Sleep for a moment."""
    time.sleep(_PAUSE_S)


def in_pieces(items: Iterable[Item], size: int, pause: Callable[[], object]) -> Iterator[Item]:
    """Yield the items; pause after each `size` of them."""
    for number, item in zip(count(1), items, strict=False):
        yield item
        if number % size == 0:
            pause()
