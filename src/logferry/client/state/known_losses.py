"""What the client knows to be lost, and its unknown windows: this run, and the runs before it (losses_file.py).

Owns these entries, and which of them make room when there are too many: first what was acknowledged or is over; what
nobody has acknowledged is counted. Must never end a run.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from logferry.client.state.losses_file import (
    FILE_NAME,
    FORGOTTEN,
    MAX_ENTRIES,
    KnownLoss,
    LossesFile,
    read_losses,
    write_losses,
)
from logferry.errors import StateError, UnreadableState, cause_of
from logferry.model.unknown_window import UnknownWindow
from logferry.printable import printable
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# A file that is rewritten every minute has a window each time: more than these are only counted.
MAX_WINDOWS_OF_FILE: Final = 20

# A failing disk may cause thousands of losses a second; losses, unlike windows, are also in the server's ledger.
_WRITE_INTERVAL_S: Final = 1.0


_Key = tuple[str, str, str]


class KnownLosses:
    """What this client and its earlier runs know to be lost. Any thread may call any method."""

    def __init__(
        self,
        folder: Path | None,
        *,
        acknowledged: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load the file in `folder`; None keeps everything in memory only. Raises UnreadableState.

        `acknowledged` returns up to which number somebody has acknowledged entries, even if the file lacks them; new
        entries get numbers above that. Any thread may call it.
        """
        self._path = folder / FILE_NAME if folder is not None else None
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = RepeatLimit(logger, clock=clock)
        self._entries: dict[_Key, KnownLoss] = {}
        self._windows: dict[str, _Key] = {}  # by source
        self._acknowledged = acknowledged
        self._numbered = self._acknowledged_until = acknowledged()
        self._forgotten = 0
        self._is_changed = False
        self._write_at = self._ask_at = clock()
        if self._path is not None:
            self._load(self._path)

    def __iter__(self) -> Iterator[KnownLoss]:
        with self._lock:
            return iter(list(self._entries.values()))

    def add_loss(self, path: str, source: str, start: int, end: int, reason: str, *, size: int | None = None) -> None:
        """Add bytes that are lost: all from `start` to `end`, unless `size` states how many of them."""
        size = end - start if size is None else size
        with self._lock:
            self._add(KnownLoss(0, path, source, start, end, reason, time.time(), size=size))
        self.write_if_due()

    def knows_loss(self, path: str, source: str, end: int, reason: str) -> bool:
        """Whether a loss of a source up to `end`, or a later one (they come in order), is known for this reason."""
        with self._lock:
            known = self._entries.get((path, reason, ""))
            return known is not None and known.source == source and known.end >= end

    def add_window(self, window: UnknownWindow) -> bool:
        """Add an unknown window, on disk when this returns; return whether it is a new one."""
        return bool(self.add_windows([window]))

    def add_windows(self, windows: Iterable[UnknownWindow]) -> list[UnknownWindow]:
        """Add unknown windows, on disk when this returns, with one write; return those that are new.

        A new one replaces an earlier window of its source that is over.
        """
        with self._lock:
            new = [window for window in windows if self._add_window(window)]
            if new:
                self._write()
        return new

    def _add_window(self, window: UnknownWindow) -> bool:
        before = self._window_of(window.source)
        if before is not None and not before.is_over:
            return False
        if before is not None:
            del self._entries[self._windows.pop(window.source)]
        self._add(
            KnownLoss(
                *(0, window.path, window.source, window.offset, window.offset, window.reason, window.noticed_at),
                is_window=True,
                last_look=window.last_look,
            )
        )
        return True

    def note_recorded(self, window: UnknownWindow) -> None:
        """Note that the server has recorded a window, or that it cannot. A crash may forget that: it is sent again."""
        with self._lock:
            if window.source in self._windows:
                self._change(window.source, is_recorded=True)
        self.write_if_due()

    def note_found(self, source: str) -> None:
        """Note that the file of a source with an unknown window is there again."""
        if source not in self._windows:  # as a rule: nothing to lock
            return
        with self._lock:
            known = self._window_of(source)
            if known is not None and not known.is_over:
                logger.info("%s is found again: nothing of it is unknown", printable(known.path))
                self._end_window(known)
                self._write()

    def write_if_due(self) -> None:
        """Write the changes, if the last write is long enough ago."""
        with self._lock:
            if self._is_changed and self._clock() >= self._write_at:
                self._write()

    def close(self) -> None:
        """Write the changes."""
        with self._lock:
            if self._is_changed:
                self._write()

    def _end_window(self, known: KnownLoss) -> None:
        """End the latest window of an entry; of the others in it, nobody knows the sources any more."""
        if known.count == 1:
            self._change(known.source, is_over=True)
            return
        del self._entries[self._windows.pop(known.source)]
        others = replace(known, source="", count=known.count - 1, is_recorded=True)
        before = self._entries.pop(_key(others), None)
        self._put(replace(others, count=others.count + before.count) if before is not None else others)
        self._is_changed = True

    def _window_of(self, source: str) -> KnownLoss | None:
        key = self._windows.get(source)
        return self._entries[key] if key is not None else None

    def _add(self, loss: KnownLoss) -> None:
        self._numbered += 1
        before = self._entries.pop(self._merged_with(loss), None)
        if before is not None and before.is_window:
            self._windows.pop(before.source, None)
        if before is not None and not before.is_over:
            loss = replace(loss, count=before.count + 1, size=before.size + loss.size)
        self._put(replace(loss, number=self._numbered))
        while len(self._entries) > MAX_ENTRIES:
            self._forget(self._entries[self._least_needed()])
        self._is_changed = True

    def _least_needed(self) -> _Key:
        """Return the key of the oldest entry that was acknowledged or is over; of the oldest one if there is none."""
        oldest, known = next(iter(self._entries.items()))
        if self._is_acknowledged(known):  # numbers grow, so it is the first one if any
            return oldest
        return next((key for key in self._windows.values() if self._entries[key].is_over), oldest)

    def _forget(self, known: KnownLoss) -> None:
        del self._entries[_key(known)]
        if known.is_window:
            self._windows.pop(known.source, None)
        self._forgotten += 1
        if not (known.is_over or self._is_acknowledged(known)):
            self._count_forgotten(known)

    def _is_acknowledged(self, known: KnownLoss) -> bool:
        if known.number > self._acknowledged_until and self._clock() >= self._ask_at:
            self._ask_at = self._clock() + _WRITE_INTERVAL_S
            self._acknowledged_until = self._acknowledged()
        return known.number <= self._acknowledged_until

    def _count_forgotten(self, known: KnownLoss) -> None:
        """Count a loss that nobody has acknowledged, in an entry that a new number makes the latest."""
        self._numbered += 1
        count, size = known.count, known.size
        before = self._entries.pop(("", FORGOTTEN, ""), None)
        if before is not None and not self._is_acknowledged(before):
            count, size = count + before.count, size + before.size
        self._put(KnownLoss(self._numbered, "", "", 0, 0, FORGOTTEN, time.time(), count=count, size=size))

    def _merged_with(self, loss: KnownLoss) -> _Key:
        """Return the key of the entry that a loss becomes a part of; its own if there is no such entry."""
        if not loss.is_window:
            return _key(loss)
        same = [key for key, known in self._entries.items() if known.is_window and key[:2] == (loss.path, loss.reason)]
        return same[-1] if len(same) >= MAX_WINDOWS_OF_FILE else _key(loss)

    def _put(self, known: KnownLoss) -> None:
        self._entries[_key(known)] = known
        if known.is_window and known.source:
            self._windows[known.source] = _key(known)

    def _change(self, source: str, **changes: Any) -> None:
        self._put(replace(self._entries[self._windows[source]], **changes))
        self._is_changed = True

    def _load(self, path: Path) -> None:
        try:
            numbered, self._forgotten, entries = read_losses(path.parent)
        except UnreadableState:
            raise
        except StateError as error:
            self._set_aside(path, str(error))
            return
        self._numbered = max(self._numbered, numbered)
        for known in entries:
            self._put(known)

    def _set_aside(self, path: Path, reason: str) -> None:
        """Keep a damaged file under another name, and remember that nobody knows what it said."""
        aside = path.with_name(f"{path.name}.damaged")
        logger.error("%s; it is kept as %s", printable(reason), printable(str(aside)))
        with contextlib.suppress(OSError):
            path.replace(aside)
        self._add(KnownLoss(0, "", "", 0, 0, f"{reason} (kept as {aside.name})", time.time()))
        self._write()

    def _write(self) -> None:
        self._write_at = self._clock() + _WRITE_INTERVAL_S
        if self._path is None:
            return
        self._is_changed = True  # until it is written
        try:
            write_losses(self._path, LossesFile(self._numbered, self._forgotten, tuple(self._entries.values())))
        except OSError as error:
            reason = cause_of(error)
            self._failures.log(
                *(logging.ERROR, reason, "cannot save known losses to %s: %s; they are only in the log"),
                *(printable(str(self._path)), reason),
            )
        else:
            self._is_changed = False
            self._failures.all_over("known losses are saved to %s again", printable(str(self._path)))


def _key(known: KnownLoss) -> _Key:
    return known.path, known.reason, known.source if known.is_window else ""
