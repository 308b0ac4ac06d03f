"""Signals of long-running commands. Handlers only make a request; the command's own loop acts on it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopping_on_signals(request: Callable[[], object]) -> Iterator[None]:
    """The first SIGTERM or SIGINT requests a clean stop; the second one exits immediately, which is safe too."""
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
    """SIGHUP requests a reload; without a `request`, SIGHUP keeps its default action."""
    if request is None:
        yield
        return
    previous = signal.signal(signal.SIGHUP, lambda _number, _frame: request())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)
