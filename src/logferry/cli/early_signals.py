"""Keeps SIGINT and SIGTERM that arrive before a command has handlers of its own, while modules are still imported.

Owns which signal was kept; `signals.py` passes it on to the command. A second signal exits at once. Imports nothing but
the module below `signal`: `signal` itself takes 20 ms, in which Ctrl-C would end in a traceback.
"""

import os
from _signal import SIG_IGN, SIGINT, SIGTERM, signal  # type: ignore[import-not-found]

_NUMBERS = (SIGINT, SIGTERM)

_kept: list[int] = []


def keep() -> None:
    """Keep signals from now on. Call this first."""
    _kept.clear()
    for number in _NUMBERS:
        signal(number, _keep)


def ignore() -> None:
    """Ignore signals from now on: the command has ended."""
    for number in _NUMBERS:
        signal(number, SIG_IGN)


def take() -> int | None:
    """Return the signal that was kept, once; None if there was none."""
    return _kept.pop() if _kept else None


def _keep(number: int, _frame: object) -> None:
    if _kept:
        os._exit(128 + number)
    _kept.append(number)
