"""Repeated log messages, limited and counted: for whatever a peer, a disk or a busy moment can cause again and again.

`RepeatLimit` is for a condition that lasts (a full disk): logged at once, then counted. `RateLimit` is for many events
of a kind (connects): a few a second are logged, the others are counted. Both own their counts, bound their memory, and
never leave a message out without counting it. Any thread may use them.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

# After the first message, counts come after a minute, two, four ... an hour: an outage of hours fills no log.
FIRST_INTERVAL_S: Final = 60.0
LAST_INTERVAL_S: Final = 3600.0

# A key may come from a peer, so there can be any number of them. Keys are small: this is about a megabyte.
MAX_KEYS: Final = 1000


@dataclass(slots=True)
class _Repeats:
    """A message that was logged, and how often it was left out since `since`."""

    level: int
    text: str
    since: float
    interval_s: float
    to_log: int  # that many more are logged as they come
    count: int = 0


class RepeatLimit:
    """Logs a message when it is new, then only how often it was repeated, until the condition is over."""

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

        Of more than `max_keys` messages, the one that was not repeated for longest is forgotten.
        """
        self._logger = logger
        self._first = first
        self._interval_s = interval_s
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.Lock()
        self._repeats: OrderedDict[Hashable, _Repeats] = OrderedDict()

    def log(self, level: int, key: Hashable, message: str, *values: object) -> bool:
        """Log `message % values`, unless `key` was logged before and is not over; return whether it was logged.

        Put into the key what makes two messages differ for the reader (a path, an errno), not what always differs.
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
        self._logger.log(level, "%s", shown)
        if forgotten:
            self._log_count(forgotten, now)
        return True

    def _known(self, key: Hashable, level: int, now: float) -> tuple[_Repeats, _Repeats | None]:
        """Return what is known of a key, and what was forgotten because there are too many keys."""
        known = self._repeats.get(key)
        if known is not None:
            self._repeats.move_to_end(key)
            return known, None
        known = self._repeats[key] = _Repeats(level, "", now, self._interval_s, self._first)
        is_full = len(self._repeats) > self._max_keys
        return known, self._repeats.popitem(last=False)[1] if is_full else None

    def _note_logged(self, known: _Repeats, text: str, now: float) -> str:
        """Return `text` as it is logged now: with the count of those before it that were left out, and itself."""
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

        Logs `message % values` at `info` with the count of repeats or, without a message, the count if there is one.
        """
        with self._lock:
            known = self._repeats.pop(key, None)
        return self._log_end([known] if known else [], message, values)

    def all_over(self, message: str = "", *values: object) -> bool:
        """Note that every condition has ended, likewise; return whether there was any."""
        if not self._repeats:  # the usual case, without a lock
            return False
        with self._lock:
            known = list(self._repeats.values())
            self._repeats.clear()
        return self._log_end(known, message, values)

    def flush(self) -> None:
        """Log every count that was left out, at the end of a run."""
        self.all_over()

    def _log_end(self, known: Sequence[_Repeats], message: str, values: tuple[object, ...]) -> bool:
        now = self._clock()
        if not message:
            for each in known:
                self._log_count(each, now)
        elif known:
            repeats = [_count(each, now) for each in known if each.count]
            text = message % values if values else message
            self._logger.info("%s", f"{text} ({', '.join(repeats)})" if repeats else text)
        return bool(known)

    def _log_count(self, known: _Repeats, now: float) -> None:
        if known.count:
            self._logger.log(known.level, "%s (%s)", known.text, _count(known, now))


class RateLimit:
    """Logs at most `per_second` messages a second, and then how many were left out."""

    def __init__(
        self, logger: logging.Logger, *, per_second: int, what: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`what` names the events in the count: "connects" gives "... 120 more connects in 1.0 s were not logged"."""
        self._logger = logger
        self._per_second = per_second
        self._what = what
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock()  # the present second began
        self._logged = 0
        self._left_out = 0
        self._level = logging.NOTSET  # of the gravest that was left out

    def log(self, level: int, message: str, *values: object) -> bool:
        """Log `message % values` if there is room for it in this second; return whether it was logged."""
        if not self._logger.isEnabledFor(level):
            return False
        self.flush_if_due()
        with self._lock:
            has_room = self._logged < self._per_second
            if has_room:
                self._logged += 1
            else:
                self._left_out += 1
                self._level = max(self._level, level)
        if has_room:
            self._logger.log(level, message, *values)
        return has_room

    def flush_if_due(self) -> None:
        """Log the count of a second that is over. Call it now and then: after the last event nobody else does."""
        self._flush(after_s=1.0)

    def flush(self) -> None:
        """Log the count now, at the end of a run."""
        self._flush(after_s=0.0)

    def _flush(self, *, after_s: float) -> None:
        with self._lock:
            now = self._clock()
            seconds = now - self._since
            if seconds < after_s:
                return
            count, level = self._left_out, self._level
            self._since, self._logged, self._left_out, self._level = now, 0, 0, logging.NOTSET
        if count:
            self._logger.log(level, "... %d more %s in %.1f s were not logged", count, self._what, seconds)


def _count(known: _Repeats, now: float) -> str:
    times = "once" if known.count == 1 else f"{known.count} times"
    return f"repeated {times} in {now - known.since:.0f} s"
