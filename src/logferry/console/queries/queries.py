"""Runs queries in threads: at most `max_queries` at a time, each with its limits, each ended when nobody waits for it.

Owns the threads. A query that is asked while all places are taken waits for a moment, and is refused then: its page
asks again. Must never let a query outlive its reader by more than the time between two `stop.check()`.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from logferry.console.queries.feed import Feed
from logferry.console.source import Stop, Stopped, UnknownPlace, WrongPattern
from logferry.errors import LogferryError, cause_of

logger = logging.getLogger(__name__)

# Tails hold no disk busy, so they have places of their own.
_TAILS_PER_QUERY: Final = 4

_WAIT_FOR_PLACE_S: Final = 2.0
_A_YEAR_S: Final = 366 * 24 * 3600.0


class Busy(Exception):
    """All places are taken."""


class NotThere(Exception):
    """The place that was asked for does not exist (any more)."""


class CannotAsk(Exception):
    """The question is wrong, which only the search could see; the text says why."""


class CannotRead(Exception):
    """The store cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may cost, and how many run at a time."""

    seconds: float = 30.0
    max_bytes: int = 64 << 30
    max_lines: int = 10_000
    max_queries: int = 4


class Running:
    """A query that runs: its feed, its stop, and how it ended once the feed is over."""

    def __init__(self, feed: Feed, stop: Stop) -> None:
        self.feed = feed
        self.stop = stop
        self.stopped_by = ""
        self.error: Exception | None = None

    def raise_error(self) -> None:
        """Raise what the query has failed with, if it has."""
        if self.error is not None:
            raise self.error


class Queries:
    """The threads of all queries. Used by the event loop; `close` may be called once, at the end."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._places = asyncio.Semaphore(limits.max_queries)
        self._tails = asyncio.Semaphore(limits.max_queries * _TAILS_PER_QUERY)
        self._running: set[Running] = set()
        self._is_closed = False

    @property
    def count(self) -> int:
        """How many threads run."""
        return len(self._running)

    @asynccontextmanager
    async def run(self, work: Callable[[Feed, Stop], object], *, is_tail: bool = False) -> AsyncIterator[Running]:
        """Run `work` in a thread inside a `with`; whatever still runs at its end is stopped. Raises Busy."""
        places = self._tails if is_tail else self._places
        await self._take(places)
        seconds, size = (_A_YEAR_S, 1 << 62) if is_tail else (self.limits.seconds, self.limits.max_bytes)
        loop = asyncio.get_running_loop()
        running = Running(Feed(loop), Stop(seconds=seconds, max_bytes=size))
        ended = asyncio.Event()
        self._running.add(running)
        thread = threading.Thread(
            target=_work, args=(work, running, lambda: _call_soon(loop, ended.set)), name="logferry-query", daemon=True
        )
        try:
            thread.start()
            if self._is_closed:
                running.stop.close()
            yield running
        finally:
            running.stop.close()
            running.feed.close()
            loop.create_task(self._release(places, running, ended))  # noqa: RUF006  (`_running` holds what it needs)

    async def _take(self, places: asyncio.Semaphore) -> None:
        if self._is_closed:
            raise Busy
        try:
            async with asyncio.timeout(_WAIT_FOR_PLACE_S):
                await places.acquire()
        except TimeoutError:
            raise Busy from None

    async def _release(self, places: asyncio.Semaphore, running: Running, ended: asyncio.Event) -> None:
        """Give the place to the next query once the thread has ended: a reader that leaves does not make a new
        place."""
        await ended.wait()
        self._running.discard(running)
        places.release()

    def close(self) -> None:
        """End all queries, and take no more."""
        self._is_closed = True
        for running in list(self._running):
            running.stop.close()


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended before its queries
        loop.call_soon_threadsafe(call)


def _work(work: Callable[[Feed, Stop], object], running: Running, has_ended: Callable[[], object]) -> None:
    """Do the work of a query; note how it ended."""
    try:
        work(running.feed, running.stop)
    except Stopped as stopped:
        running.stopped_by = stopped.reason
    except UnknownPlace:
        running.error = NotThere()
    except WrongPattern as error:
        running.error = CannotAsk(str(error))
    except LogferryError as error:
        running.error = CannotRead(str(error))
    except OSError as error:
        running.error = CannotRead(cause_of(error, with_path=True))
    except Exception as error:  # the top of a thread: a bug is one failed query
        logger.exception("a query has failed")
        running.error = error
    finally:
        running.feed.end()
        has_ended()
