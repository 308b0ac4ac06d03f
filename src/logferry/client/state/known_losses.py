"""The format of STATE_DIR/losses.json, version 1: what the client knows to be lost, and its unknown windows.

    {"version": 1, "numbered": 7, "forgotten": 0, "losses": [{<KnownLoss>}, ...]}

Keys are the names of the fields of KnownLoss; a value that equals its default is left out, and unknown keys are
ignored. `numbered` is the number of the latest entry: an entry gets a new number when it changes, so that what was
acknowledged before counts again, and numbers begin above what was acknowledged. `forgotten` counts entries that made
room for new ones.
The file is replaced as a whole and synced, so a crash leaves the old content or the new. A damaged file, or one of a
later version, is kept as `.damaged`, and the client begins a new one. Another process may read the file at any time.

Owns these entries, across runs. Must never end a run.
"""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from logferry.durable import replace_file
from logferry.errors import StateError, cause_of
from logferry.model.unknown_window import UnknownWindow
from logferry.permissions import advice
from logferry.printable import printable
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

VERSION: Final = 1
FILE_NAME: Final = "losses.json"

# Losses of one file for one reason are one entry, so there are rarely more than a few.
MAX_ENTRIES: Final = 1000

# A file that is rewritten every minute has a window each time: more than these are only counted.
MAX_WINDOWS_OF_FILE: Final = 20

# A failing disk may cause thousands of losses a second; losses, unlike windows, are also in the server's ledger.
_WRITE_INTERVAL_S: Final = 1.0

# The latest time that a file system can state is before this one. NaN, which JSON knows, is not.
_MAX_TIME: Final = 2.0**64

# The largest file that is read.
_MAX_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KnownLoss:
    """Bytes `[start, end)` of a source that are lost, or an unknown window from `start` on. Times are Unix times.

    `count` losses of the same path, of `size` bytes in all, had the same reason, and the other fields describe the
    latest; an unknown window is an entry of its own unless there are very many of one file. `is_over`: the file was
    found again, so nothing of it is unknown.
    """

    number: int
    path: str
    source: str
    start: int
    end: int
    reason: str
    noticed_at: float
    is_window: bool = False
    last_look: float = 0.0
    count: int = 1
    size: int = 0
    is_recorded: bool = False  # by the server, as far as it keeps windows
    is_over: bool = False


_Key = tuple[str, str, str]


class KnownLosses:
    """What this client and its earlier runs know to be lost. Any thread may call any method."""

    def __init__(
        self, folder: Path | None, *, acknowledged: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Load the file in `folder`; None keeps everything in memory only.

        New entries get numbers above `acknowledged`: those up to it were acknowledged, even if the file lacks them.
        """
        self._path = folder / FILE_NAME if folder is not None else None
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = RepeatLimit(logger, clock=clock)
        self._entries: dict[_Key, KnownLoss] = {}
        self._windows: dict[str, _Key] = {}  # by source
        self._numbered = self._forgotten = 0
        self._is_changed = False
        self._write_at = clock()
        if self._path is not None:
            self._load(self._path)
        self._numbered = max(self._numbered, acknowledged)

    def __iter__(self) -> Iterator[KnownLoss]:
        with self._lock:
            return iter(list(self._entries.values()))

    def add_loss(self, path: str, source: str, start: int, end: int, reason: str, *, size: int | None = None) -> None:
        """Add bytes that are lost: all from `start` to `end`, unless `size` states how many of them."""
        size = end - start if size is None else size
        with self._lock:
            self._add(KnownLoss(0, path, source, start, end, reason, time.time(), size=size))
        self.write_if_due()

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
                self._change(source, is_over=True)
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

    def _window_of(self, source: str) -> KnownLoss | None:
        key = self._windows.get(source)
        return self._entries[key] if key is not None else None

    def _add(self, loss: KnownLoss) -> None:
        self._numbered += 1
        before = self._entries.pop(self._merged_with(loss), None)
        if before is not None:
            self._windows.pop(before.source, None)
        if before is not None and not before.is_over:
            loss = replace(loss, count=before.count + 1, size=before.size + loss.size)
        self._put(replace(loss, number=self._numbered))
        while len(self._entries) > MAX_ENTRIES:
            forgotten = self._entries.pop(next(iter(self._entries)))
            self._windows.pop(forgotten.source, None)
            self._forgotten += 1
        self._is_changed = True

    def _merged_with(self, loss: KnownLoss) -> _Key:
        """Return the key of the entry that a loss becomes a part of; its own if there is no such entry."""
        if not loss.is_window:
            return _key(loss)
        same = [key for key, known in self._entries.items() if known.is_window and key[:2] == (loss.path, loss.reason)]
        return same[-1] if len(same) >= MAX_WINDOWS_OF_FILE else _key(loss)

    def _put(self, known: KnownLoss) -> None:
        self._entries[_key(known)] = known
        if known.is_window:
            self._windows[known.source] = _key(known)

    def _change(self, source: str, **changes: Any) -> None:
        self._put(replace(self._entries[self._windows[source]], **changes))
        self._is_changed = True

    def _load(self, path: Path) -> None:
        try:
            self._numbered, self._forgotten, entries = _read(path)
            for known in entries:
                self._put(known)
        except FileNotFoundError:
            return
        except (OSError, *_UNREADABLE) as error:
            reason = cause_of(error) if isinstance(error, OSError) else error
            logger.error("cannot read the losses in %s: %s", path, reason)
            with contextlib.suppress(OSError):
                path.replace(path.with_name(f"{path.name}.damaged"))

    def _write(self) -> None:
        self._write_at = self._clock() + _WRITE_INTERVAL_S
        if self._path is None:
            return
        losses = [_entry(known) for known in self._entries.values()]
        content = {"version": VERSION, "numbered": self._numbered, "forgotten": self._forgotten, "losses": losses}
        self._is_changed = True  # until it is written
        try:
            replace_file(self._path, json.dumps(content, indent=1).encode())
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


# The exceptions that damaged content can raise.
_UNREADABLE: Final = (ValueError, KeyError, TypeError, RecursionError)


def read_losses(folder: Path) -> tuple[int, list[KnownLoss]]:
    """Return the number of the latest entry in a state folder, and the entries, oldest first. Raises StateError."""
    path = folder / FILE_NAME
    try:
        numbered, _, losses = _read(path)
    except FileNotFoundError:
        return 0, []
    except OSError as error:
        raise StateError(f"cannot read {path}: {cause_of(error)}{advice(path, error)}") from None
    except _UNREADABLE as error:
        raise StateError(f"cannot understand {path}: {error}") from None
    return numbered, losses


def _read(path: Path) -> tuple[int, int, list[KnownLoss]]:
    with open(path, "rb") as file:
        content = json.loads(file.read(_MAX_BYTES))
    if content["version"] != VERSION:
        raise ValueError(f"its version is {content['version']!r}, this program knows {VERSION}")
    losses = [_loss(entry) for entry in content["losses"]]
    return _number(content["numbered"]), _number(content["forgotten"]), losses


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is not a number of entries")
    return value


def _entry(known: KnownLoss) -> dict[str, object]:
    return {name: value for name, value in asdict(known).items() if name not in _DEFAULTS or value != _DEFAULTS[name]}


def _loss(entry: Any) -> KnownLoss:
    known = KnownLoss(**{each.name: entry[each.name] for each in fields(KnownLoss) if each.name in entry})
    for each in fields(KnownLoss):
        value = getattr(known, each.name)
        if type(value) is not each.type and not (each.type is float and type(value) is int):
            raise TypeError(f"{each.name} is {value!r}")
        if each.type is float and not abs(value) <= _MAX_TIME:
            raise ValueError(f"{each.name} is not a time")
    return known


_DEFAULTS: Final = {each.name: each.default for each in fields(KnownLoss)}
