"""Keeps signals that arrive before a command has handlers of its own, while modules are still imported.

Owns which signal was kept; `signals.py` passes it on to the command. A second signal exits at once. Imports nothing but
the module below `signal`: `signal` itself takes 20 ms, in which Ctrl-C would end in a traceback.
"""

import os
from _signal import SIG_DFL, SIG_IGN, SIGHUP, SIGINT, SIGTERM, getsignal, signal  # type: ignore[import-not-found]

_NUMBERS = (SIGINT, SIGTERM)

_kept: list[int] = []
_hangups: list[int] = []


def keep() -> None:
    """Keep signals from now on. Call this first."""
    _kept.clear()
    for number in _NUMBERS:
        signal(number, _keep)
    if getsignal(SIGHUP) == SIG_DFL:  # else nohup(1) has started the process
        signal(SIGHUP, _keep_hangup)


def ignore() -> None:
    """Ignore signals from now on: the command has ended."""
    for number in _NUMBERS:
        signal(number, SIG_IGN)


def take() -> int | None:
    """Return the signal that was kept, once; None if there was none."""
    return _kept.pop() if _kept else None


def take_hangup() -> bool:
    """Return whether a SIGHUP was kept, once."""
    return bool(_hangups and _hangups.pop())


def release_hangup() -> None:
    """Give SIGHUP its default action, if it was kept until now: the command does not handle it."""
    if getsignal(SIGHUP) is _keep_hangup:
        signal(SIGHUP, SIG_DFL)
        if take_hangup():
            os.kill(os.getpid(), SIGHUP)


def _keep_hangup(number: int, _frame: object) -> None:
    _hangups[:] = [number]


def _keep(number: int, _frame: object) -> None:
    if _kept:
        os._exit(128 + number)
    _kept.append(number)
