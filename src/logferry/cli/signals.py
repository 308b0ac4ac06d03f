"""Signals of commands. In long-running commands, handlers only make a request; the command's own loop acts on it.

Signals that arrived before (early_signals.py) count as if they arrived when the handlers are installed. Must never
raise KeyboardInterrupt: it can end in a traceback wherever the program happens to be.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from logferry.cli import early_signals


class StopRequest:
    """The signal that requested a clean stop; None so far."""

    __slots__ = ("signal",)

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def is_interrupt(self) -> bool:
        """Whether the user pressed Ctrl-C."""
        return self.signal == signal.SIGINT


@contextmanager
def stopping_on_signals(
    request: Callable[[], object], last_words: Callable[[], object] = lambda: None
) -> Iterator[StopRequest]:
    """The first SIGTERM or SIGINT requests a clean stop; the second one exits immediately, which is safe too.

    `last_words` runs before that, wherever the program is: it must neither wait for anything nor raise.
    """
    stop = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.signal is not None:
            last_words()
            os._exit(128 + number)
        stop.signal = number
        request()

    with _handlers(handle, signal.SIGTERM, signal.SIGINT):
        yield stop


@contextmanager
def exiting_on_interrupt(
    say: Callable[[], object], clean_up: Callable[[], object] = lambda: None, *, code: int = 128 + signal.SIGINT
) -> Iterator[None]:
    """SIGINT exits with code 130, or `code`, after `clean_up` and `say`; a second one exits immediately.

    SIGTERM just ends.

    For commands that leave nothing half done, wherever they are.
    """
    has_begun = False
    early_signals.release_hangup()

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal has_begun
        if not has_begun:
            has_begun = True
            clean_up()
            if number == signal.SIGINT:
                say()
                os._exit(code)
        os._exit(128 + number)

    with _handlers(handle, signal.SIGTERM, signal.SIGINT):
        yield


@contextmanager
def reloading_on_hangup(request: Callable[[], object] | None) -> Iterator[None]:
    """SIGHUP requests a reload; without a `request`, SIGHUP keeps its default action."""
    if request is None:
        early_signals.release_hangup()
        yield
        return
    with _handlers(lambda _number, _frame: request(), signal.SIGHUP):
        if early_signals.take_hangup():
            request()
        yield


@contextmanager
def _handlers(handle: Callable[[int, FrameType | None], object], *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals inside a `with`, even those that arrived before."""
    previous = {number: signal.signal(number, handle) for number in numbers}
    kept = early_signals.take()
    if kept is not None:
        handle(kept, None)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
