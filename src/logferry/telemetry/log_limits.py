"""Limits for repeated log messages: for events that a peer, a disk or a busy moment can cause again and again.

`RepeatLimit` is for a lasting condition (a full disk): it logs the first message and counts the repeats. `RateLimit` is
for many events of one kind (connects): it logs a few per second and counts the others. `FloodGuard` is for the log as a
whole: it limits what no other limit does. All own their counts, bound their memory, and never suppress a message
without counting it. Any thread may use them, and a signal handler that interrupts one of their own methods.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

# After the first message, counts follow after a minute, two, four ... an hour: a long outage does not fill the log.
FIRST_INTERVAL_S: Final = 60.0
LAST_INTERVAL_S: Final = 3600.0

# A key may come from a peer, so there can be any number of them. Keys are small: this is about a megabyte.
MAX_KEYS: Final = 1000

# The most messages a second of one `RepeatLimit`, whose keys may come from a peer, and of one statement in the code.
_NEW_PER_SECOND: Final = 20
_GUARDED_PER_SECOND: Final = 50

# While a limit is exceeded, the time that it holds for doubles up to this: a flood that lasts does not fill the log.
LONGEST_WINDOW_S: Final = 60.0


@dataclass(slots=True)
class _Repeats:
    """A message that was logged, and how often it was suppressed since `since`."""

    level: int
    text: str
    since: float
    interval_s: float
    to_log: int  # log this many more as they come
    count: int = 0


class RepeatLimit:
    """Logs a message when it is new, then only how often it was repeated, until the condition has ended."""

    def __init__(
        self,
        logger: logging.Logger,
        *,
        first: int = 1,
        interval_s: float = FIRST_INTERVAL_S,
        max_keys: int = MAX_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The `first` messages of a key are logged as they come. After that, a repeated message is logged with its
        count after `interval_s` at the earliest, then after twice that, and so on.

        With more than `max_keys` keys, the least recently repeated one is forgotten. New keys are limited as by a
        `RateLimit`.
        """
        self._logger = logger
        self._first = first
        self._interval_s = interval_s
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.RLock()
        self._repeats: OrderedDict[Hashable, _Repeats] = OrderedDict()
        self._rate = RateLimit(logger, per_second=_NEW_PER_SECOND, what="different messages", clock=clock)

    def log(self, level: int, key: Hashable, message: str, *values: object) -> bool:
        """Log `message % values`, unless `key` was logged before and has not ended; return whether it was logged.

        The key holds what makes two messages differ for the reader (a path, an errno), not what differs every time.
        """
        if not self._logger.isEnabledFor(level):
            return False
        now = self._clock()
        with self._lock:
            known, forgotten = self._known(key, level, now)
            if not known.to_log and now - known.since < known.interval_s:
                known.count += 1
                return False
            text = message % values if values else message
            shown = self._note_logged(known, text, now)
        is_logged = self._rate.log(level, "%s", shown)
        if forgotten and forgotten.count:
            self._rate.log(forgotten.level, "%s (%s)", forgotten.text, _count(forgotten, now))
        return is_logged

    def _known(self, key: Hashable, level: int, now: float) -> tuple[_Repeats, _Repeats | None]:
        """Return the entry of a key, and the entry that was forgotten to make room for it."""
        known = self._repeats.get(key)
        if known is not None:
            self._repeats.move_to_end(key)
            return known, None
        known = self._repeats[key] = _Repeats(level, "", now, self._interval_s, self._first)
        is_full = len(self._repeats) > self._max_keys
        return known, self._repeats.popitem(last=False)[1] if is_full else None

    def _note_logged(self, known: _Repeats, text: str, now: float) -> str:
        """Return `text` as it is to be logged: with the count of repeats, including this one."""
        known.text = text
        if known.to_log:
            known.to_log -= 1
            known.since = now
            return text
        known.count += 1
        shown = f"{text} ({_count(known, now)})"
        known.since, known.count = now, 0
        known.interval_s = max(self._interval_s, min(2 * known.interval_s, LAST_INTERVAL_S))
        return shown

    def over(self, key: Hashable, message: str = "", *values: object) -> bool:
        """Note that the condition has ended, so that its next message is new; return whether it was known.

        Logs `message % values` at `info` with the count of repeats; without a message, only the count, if there is one.
        """
        with self._lock:
            known = self._repeats.pop(key, None)
        return self._log_end([known] if known else [], message, values)

    def all_over(self, message: str = "", *values: object) -> bool:
        """Note that every condition has ended, as `over` does; return whether there were any."""
        if not self._repeats:  # the usual case, without a lock
            return False
        with self._lock:
            known = list(self._repeats.values())
            self._repeats.clear()
        return self._log_end(known, message, values)

    def flush(self) -> None:
        """Log every pending count, at the end of a run."""
        self.all_over()
        self._rate.flush()

    def _log_end(self, known: Sequence[_Repeats], message: str, values: tuple[object, ...]) -> bool:
        now = self._clock()
        if not message:
            for each in known:
                self._log_count(each, now)
        elif known:
            repeats = [_count(each, now) for each in known if each.count]
            text = message % values if values else message
            self._rate.log(logging.INFO, "%s", f"{text} ({_shortened(repeats)})" if repeats else text)
        return bool(known)

    def _log_count(self, known: _Repeats, now: float) -> None:
        if known.count:
            self._logger.log(known.level, "%s (%s)", known.text, _count(known, now))


class RateLimit:
    """Logs at most `per_second` messages a second, and then how many were suppressed.

    The second becomes two, four ... sixty as long as messages are suppressed in each of them.
    """

    def __init__(
        self, logger: logging.Logger, *, per_second: int, what: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`what` names the events in the count: "connects" gives "... 120 more connects in 1.0 s were not logged"."""
        self._logger = logger
        self._per_second = per_second
        self._what = what
        self._clock = clock
        self._lock = threading.RLock()
        self._since = clock()  # the beginning of the current window
        self._window_s = 1.0
        self._logged = 0
        self._suppressed = 0
        self._level = logging.NOTSET  # of the most severe suppressed message

    def log(self, level: int, message: str, *values: object) -> bool:
        """Log `message % values` unless the limit is reached; return whether it was logged."""
        if not self._logger.isEnabledFor(level):
            return False
        has_room = self.admits(level)
        if has_room:
            self._logger.log(level, message, *values)
        return has_room

    def admits(self, level: int) -> bool:
        """Count a message of this level that the caller wants to log; return whether it may."""
        self.flush_if_due()
        with self._lock:
            has_room = self._logged < self._per_second
            if has_room:
                self._logged += 1
            else:
                self._suppressed += 1
                self._level = max(self._level, level)
        return has_room

    def flush_if_due(self) -> None:
        """Log the count of a window that has passed. Call this regularly: after the last event, nothing else does."""
        self._flush(self._window_s)

    def flush(self) -> None:
        """Log the count now, at the end of a run."""
        self._flush(0.0)

    def _flush(self, after_s: float) -> None:
        with self._lock:
            now = self._clock()
            seconds = now - self._since
            if seconds < after_s:
                return
            count, level = self._suppressed, self._level
            self._window_s = min(2 * self._window_s, LONGEST_WINDOW_S) if count else 1.0
            self._since, self._logged, self._suppressed, self._level = now, 0, 0, logging.NOTSET
        if count:
            self._logger.log(level, "... %d more %s in %.1f s were not logged", count, self._what, seconds)


class FloodGuard(logging.Filter):
    """Lets through a few messages a second of each statement that logs, and then counts them: a filter for a handler.

    It limits whatever a peer, a file or its writer can cause and no other limit bounds. At debug level, nothing is
    suppressed.
    """

    def __init__(self, *, per_second: int = _GUARDED_PER_SECOND, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._per_second = per_second
        self._clock = clock
        self._lock = threading.RLock()
        self._limits: dict[tuple[str, int], RateLimit] = {}  # by statement: as many as there are in the code

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be logged."""
        if record.pathname == _THIS_FILE or logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            return True
        for limit in list(self._limits.values()):
            limit.flush_if_due()
        return self._limit_of(record).admits(record.levelno)

    def flush(self) -> None:
        """Log all pending counts, at the end of a run."""
        for limit in list(self._limits.values()):
            limit.flush()

    def _limit_of(self, record: logging.LogRecord) -> RateLimit:
        statement = (record.pathname, record.lineno)
        with self._lock:
            limit = self._limits.get(statement)
            if limit is None:
                what = f"messages like {str(record.msg)!r}"
                logger = logging.getLogger(record.name)
                limit = RateLimit(logger, per_second=self._per_second, what=what, clock=self._clock)
                self._limits[statement] = limit
            return limit


# How records name this file, whose limits need no guard.
_THIS_FILE: Final = FloodGuard.filter.__code__.co_filename

# The end of many conditions names this many counts.
_MAX_COUNTS_SHOWN: Final = 10


def _shortened(counts: Sequence[str]) -> str:
    more = len(counts) - _MAX_COUNTS_SHOWN
    return ", ".join([*counts[:_MAX_COUNTS_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _count(known: _Repeats, now: float) -> str:
    times = "once" if known.count == 1 else f"{known.count} times"
    return f"repeated {times} in {now - known.since:.0f} s"
