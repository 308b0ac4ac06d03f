"""The last line of a terminal while a command works: how far it has come, how fast it is, and how long the rest takes.

Shows nothing on a pipe, in a file, or with --log-format json. Whatever else is written to the terminal replaces the
line until it is drawn anew (streams.py).
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from logferry.cli.output import are_notices_json, duration_text, size_text
from logferry.cli.streams import before_errors, write_all
from logferry.progress import Progress
from logferry.worker import Worker

_EVERY_S: Final = 0.25

# The rate is that of the last few seconds, so that it follows what happens without jumping.
_RATE_OVER: Final = 20

# A command that ends sooner shows no line at all.
_PATIENCE_S: Final = 0.5

_MOST_COLUMNS: Final = 120


class TransientLine:
    """The last line of the terminal behind standard error, until something else is written there.

    Any thread may use it.
    """

    _ERASE: Final = b"\r\x1b[K"

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may print while its thread draws the line
        self._is_shown = False

    def show(self, text: str) -> None:
        """Draw the line, or draw it anew."""
        with self._lock, suppress(OSError):
            write_all(2, self._ERASE + text.encode(errors="backslashreplace"))
            self._is_shown = True

    def clear(self) -> None:
        """Erase the line, if it is there."""
        with self._lock, suppress(OSError):
            if self._is_shown:
                self._is_shown = False
                write_all(2, self._ERASE)


_line: Final = TransientLine()
before_errors(_line.clear)


@contextmanager
def showing_progress(what: str, look: Callable[[], Progress | None]) -> Iterator[None]:
    """Show on the terminal what `look` sees, inside a `with`; `what` is a verb like "shipping"."""
    if not (sys.stderr.isatty() and not are_notices_json()):
        yield
        return
    worker = Worker(lambda own: _draw(own, what, look), name="progress")
    worker.start()
    try:
        yield
    finally:
        worker.stop()
        _line.clear()


def _draw(worker: Worker, what: str, look: Callable[[], Progress | None]) -> None:
    seen: deque[tuple[float, int]] = deque(maxlen=_RATE_OVER)
    wait_s = _PATIENCE_S
    while not worker.wait(wait_s):
        wait_s = _EVERY_S
        if progress := look():
            seen.append((time.monotonic(), progress.done_bytes))
            (first_at, first), (now, last) = seen[0], seen[-1]
            rate = (last - first) / (now - first_at) if now > first_at else 0.0
            _line.show(progress_text(what, progress, rate)[: _columns() - 1])


def _columns() -> int:
    try:
        return min(os.get_terminal_size(2).columns or _MOST_COLUMNS, _MOST_COLUMNS)
    except OSError:
        return _MOST_COLUMNS


def progress_text(what: str, progress: Progress, rate: float) -> str:
    """Return one line; `rate` is in bytes a second, and 0 while it is not known."""
    files = f"{progress.done_files} of {progress.total_files} files"
    total = progress.total_bytes
    if not total:
        return f"{what}: {files}"
    parts = [f"{size_text(progress.done_bytes)} of {size_text(total)} ({100 * progress.done_bytes // total} %)"]
    if rate > 0:
        parts += [f"{size_text(round(rate))}/s", f"{duration_text((total - progress.done_bytes) / rate)} left"]
    return f"{what}: {', '.join([*parts, files] if progress.total_files > 1 else parts)}"
