"""What signals mean to commands that run for long. Handlers only ask; the command's own loop acts."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopping_on_signals(request: Callable[[], object]) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a clean stop once; the second signal exits at once, which is safe too."""
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        request()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def reloading_on_hangup(request: Callable[[], object] | None) -> Iterator[None]:
    """SIGHUP asks for a reload; without a `request` it keeps its meaning."""
    if request is None:
        yield
        return
    previous = signal.signal(signal.SIGHUP, lambda _number, _frame: request())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)
