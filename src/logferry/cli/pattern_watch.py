"""Stops patterns of the user that take too long on a line, so that other files, and signals, are not kept waiting.

`re` holds the interpreter while it matches, so no other thread can stop it. But it looks for signals, and in the main
thread a handler that raises ends the match. So patterns run in the main thread, with a timer that counts the CPU time
of the process; other threads have the main thread interrupted to run theirs. Owns these two signals and the time
limits. Must never lose a line: `rendering.engine.user_patterns` says what becomes of it.
"""

import contextlib
import logging
import signal
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final, TypeVar

from logferry.printable import quoted
from logferry.rendering.engine.user_patterns import CONSEQUENCES, UserPattern, install_watch, is_rendering_again
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# Seconds of CPU time for one line, and for all lines of a chunk together before they are tried one by one. An ordinary
# pattern takes microseconds for a line.
LINE_S: Final = 0.5
_CHUNK_S: Final = 1.0

# A pattern that was stopped this often is left out for a while: it may never take most of the time. The next time
# comes soon after: then for twice as long. So a checkpoint names few ranges, however long somebody writes such lines.
_STOPS: Final = 8
SUSPENSION_S: Final = 60.0
LONGEST_SUSPENSION_S: Final = 3600.0

# To try lines one by one takes 20 times as long for an ordinary pattern. So after this many lines without a stop, all
# lines of a chunk are tried together again; after twice as many each time that this turns out to be a mistake.
_CALM_LINES: Final = 10_000
_MOST_CALM_LINES: Final = 64 * _CALM_LINES

# Lines that were too slow are remembered, because a line is looked at several times, and later rendered again.
_MAX_REMEMBERED: Final = 10_000

_MAX_SHOWN_CHARS: Final = 200

_NONE: Final[frozenset[str]] = frozenset()

# How often another thread interrupts the main thread, and after how long it stops to rely on it.
_INTERRUPT_S: Final = 0.5
_PATIENCE_S: Final = 30.0


class _TooSlow(BaseException):
    """Raised by the timer's handler inside a match. Not an Exception, so nothing on the way catches it."""


@dataclass(slots=True)
class _Job:
    """What another thread wants done in the main thread, which sets the other attributes."""

    action: Callable[[], Any]
    result: Any = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Do it; an error is raised in the thread that wants it done."""
        try:
            self.result = self.action()
        except BaseException as error:
            self.error = error
        self.done.set()


@dataclass(slots=True)
class _Record:
    """How a pattern has behaved. Times are those of the monotonic clock."""

    is_careful: bool = True  # lines are tried one by one
    calm_lines: int = 0  # without a stop, since lines are tried one by one
    calm_enough: int = _CALM_LINES
    stops: int = 0  # since it was left out, or was calm, last
    suspended_until: float = 0.0
    suspension_s: float = SUSPENSION_S  # of the last time

    def note_calm(self, lines: int) -> None:
        """Note that this many lines were tried one by one without a stop."""
        self.calm_lines += lines
        if self.calm_lines >= self.calm_enough:
            self.is_careful, self.stops = False, 0

    def note_slow_chunk(self) -> None:
        """Note that lines must be tried one by one again."""
        self.is_careful, self.calm_lines = True, 0
        self.calm_enough = min(2 * self.calm_enough, _MOST_CALM_LINES)

    def note_stop(self, now: float) -> bool:
        """Note a stop; return whether the pattern is left out from now on."""
        self.stops += 1
        self.calm_lines = 0
        if self.stops < _STOPS:
            return False
        is_soon = self.suspended_until and now < self.suspended_until + self.suspension_s
        self.suspension_s = min(2 * self.suspension_s, LONGEST_SUSPENSION_S) if is_soon else SUSPENSION_S
        self.suspended_until, self.stops = now + self.suspension_s, 0
        return True


class PatternWatch:
    """See user_patterns.Watch. Everything but `__call__` and `left_out` runs in the main thread."""

    def __init__(
        self, *, line_s: float = LINE_S, chunk_s: float = _CHUNK_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._line_s = line_s
        self._chunk_s = chunk_s
        self._main = threading.main_thread().ident
        self._is_timed = False  # a match is running that the timer may stop
        self._jobs: deque[_Job] = deque()
        self._too_slow: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._records: dict[str, _Record] = {}
        self._left_out: dict[str, float] = {}  # until when; replaced as a whole, because any thread may read it
        self._limit = RepeatLimit(logger)
        self._is_closed = False  # set by the main thread: nobody handles the signals any more

    def __call__(
        self, pattern: UserPattern, function: Callable[[str], Result], texts: Sequence[str], too_slow: Result
    ) -> list[Result]:
        """See Watch."""
        if not texts:
            return []
        is_again = is_rendering_again()
        if threading.get_ident() == self._main:
            return self._apply(pattern, function, texts, too_slow, is_again=is_again)
        job = _Job(lambda: self._apply(pattern, function, texts, too_slow, is_again=is_again))
        if not self._have_done(job):
            return list(map(function, texts))
        if job.error is not None:
            raise job.error
        result: list[Result] = job.result
        return result

    @property
    def left_out(self) -> frozenset[str]:
        """See Watch."""
        if not self._left_out:
            return _NONE
        now = self._clock()
        return frozenset(name for name, until in self._left_out.items() if now < until)

    def stop_match(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the timer's signal: end the match that is running."""
        if self._is_timed:
            raise _TooSlow

    def run_jobs(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Handle the signal of another thread: do what it wants done, unless a match is running."""
        while self._jobs and not self._is_timed:
            self._jobs.popleft().run()

    def flush(self) -> None:
        """Log the pending counts."""
        self._limit.flush()

    def close(self) -> None:
        """Do what other threads still want done; from now on, nothing is timed."""
        self._is_closed = True
        self.run_jobs()

    def _have_done(self, job: _Job) -> bool:
        """Have the main thread do a job; return False if it never gets to it."""
        self._jobs.append(job)
        give_up_at = time.monotonic() + _PATIENCE_S
        while not job.done.is_set():
            if (self._is_closed or time.monotonic() >= give_up_at) and self._take_back(job):
                return False
            if not self._is_closed and self._main is not None:
                signal.pthread_kill(self._main, signal.SIGALRM)
            job.done.wait(_INTERRUPT_S)
        return True

    def _take_back(self, job: _Job) -> bool:
        """Return whether a job was still waiting."""
        with contextlib.suppress(ValueError):
            self._jobs.remove(job)
            return True
        return False

    def _apply(
        self,
        pattern: UserPattern,
        function: Callable[[str], Result],
        texts: Sequence[str],
        too_slow: Result,
        *,
        is_again: bool,
    ) -> list[Result]:
        """Apply the function to all texts at once, or, if that takes too long, one by one."""
        name = pattern.compiled.pattern
        record = self._records.get(name)
        if record is None or not record.is_careful:
            found = self._timed(lambda: list(map(function, texts)), self._chunk_s)
            if found is not None:
                return found
            record = self._records.setdefault(name, _Record())
            if not record.is_careful:
                record.note_slow_chunk()
        return self._apply_to_each(pattern, function, texts, too_slow, record, is_again=is_again)

    def _apply_to_each(
        self,
        pattern: UserPattern,
        function: Callable[[str], Result],
        texts: Sequence[str],
        too_slow: Result,
        record: _Record,
        *,
        is_again: bool,
    ) -> list[Result]:
        found: list[Result] = []
        is_calm = True
        for text in texts:
            if not is_again and self._clock() < record.suspended_until:
                is_calm = False
                found += [too_slow] * (len(texts) - len(found))
                break
            result = self._apply_to_one(pattern, function, text, may_be_left_out=not is_again)
            is_calm &= result is not None
            found.append(too_slow if result is None else result[0])
        if is_calm:
            record.note_calm(len(texts))
        return found

    def _apply_to_one(
        self, pattern: UserPattern, function: Callable[[str], Result], text: str, *, may_be_left_out: bool
    ) -> list[Result] | None:
        """Return the result in a list; None if the pattern takes too long on this text."""
        key = (pattern.compiled.pattern, hash(text))
        if key in self._too_slow:
            return None
        found = self._timed(lambda: [function(text)], self._line_s)
        if found is None:
            self._note_stop(pattern, text, key, may_be_left_out=may_be_left_out)
        return found

    def _timed(self, action: Callable[[], list[Result]], limit_s: float) -> list[Result] | None:
        """Return the result of `action`, or None if it took too long."""
        if self._is_closed:
            return action()
        try:
            try:
                self._is_timed = True
                signal.setitimer(signal.ITIMER_VIRTUAL, limit_s, limit_s)
                return action()
            finally:
                self._is_timed = False
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
                self.run_jobs()
        except _TooSlow:
            self._is_timed = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            return None

    def _note_stop(self, pattern: UserPattern, text: str, key: tuple[str, int], *, may_be_left_out: bool) -> None:
        self._too_slow[key] = None
        if len(self._too_slow) > _MAX_REMEMBERED:
            self._too_slow.popitem(last=False)
        name = pattern.compiled.pattern
        consequence = CONSEQUENCES[pattern.purpose]
        self._limit.log(
            *(logging.WARNING, (name, "line"), "the pattern %s (%s) took too long on a line and was stopped: %s; %s"),
            *(quoted(name, max_chars=_MAX_SHOWN_CHARS), pattern.purpose),
            *(quoted(text[: _MAX_SHOWN_CHARS + 1], max_chars=_MAX_SHOWN_CHARS), consequence),
        )
        if may_be_left_out and self._records[name].note_stop(self._clock()):
            self._leave_out(name, self._records[name], consequence)

    def _leave_out(self, name: str, record: _Record, consequence: str) -> None:
        now = self._clock()
        others = {other: until for other, until in self._left_out.items() if now < until}
        self._left_out = {**others, name: record.suspended_until}
        self._limit.log(
            *(logging.ERROR, (name, "pattern"), "the pattern %s took too long %d times and is left out for %.0f s: %s"),
            *(quoted(name, max_chars=_MAX_SHOWN_CHARS), _STOPS, record.suspension_s, consequence),
        )


@contextmanager
def watching_patterns() -> Iterator[None]:
    """Stop patterns of the user that take too long, inside a `with`. Only for the main thread."""
    watch = PatternWatch()
    with watch_installed(watch):
        yield
    watch.flush()


@contextmanager
def watch_installed(watch: PatternWatch) -> Iterator[None]:
    """Install a watch and the handlers of its signals inside a `with`."""
    handlers = {signal.SIGVTALRM: watch.stop_match, signal.SIGALRM: watch.run_jobs}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    install_watch(watch)
    try:
        yield
    finally:
        install_watch(None)
        watch.close()
        for number, handler in previous.items():  # the default ends the process, and a thread may still send a signal
            signal.signal(number, signal.SIG_IGN if handler == signal.SIG_DFL else handler)
