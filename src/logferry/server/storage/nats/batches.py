"""Reads the last messages of many subjects together: a client that connects opens thousands of sources at once.

What is asked for in the same turn of the loop is one request for each stream; a few subjects are asked for one by one,
from the leader.
"""

import asyncio
from typing import Final

from logferry.server.storage.nats.wire import Message, Wire

# Fewer are asked for one by one.
_LEAST: Final = 4
_MOST: Final = 128

_Waiting = list[tuple[str, "asyncio.Future[Message | None]"]]


class Batches:
    """Collects questions for the last message of subjects. Used in the store's loop alone."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._waiting: dict[str, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def last(self, stream: str, subject: str) -> Message | None:
        """Return the last message of a subject, from whichever replica answers. Raises NatsError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Message | None] = loop.create_future()
        waiting = self._waiting.get(stream)
        if waiting is None:
            waiting = self._waiting[stream] = []
            loop.call_soon(self._begin, stream)
        waiting.append((subject, answer))
        return await answer

    def _begin(self, stream: str) -> None:
        waiting = self._waiting.pop(stream)
        step = _MOST if len(waiting) >= _LEAST else 1
        for first in range(0, len(waiting), step):
            task = asyncio.get_running_loop().create_task(self._ask(stream, waiting[first : first + step]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, stream: str, waiting: _Waiting) -> None:
        try:
            subjects = [subject for subject, _ in waiting]
            found = await self._wire.last_of_many(stream, subjects) if len(waiting) > 1 else {}
            for subject, answer in waiting:
                last = found[subject] if subject in found else await self._wire.last(stream, subject)
                if not answer.done():
                    answer.set_result(last)
        except BaseException as error:  # whatever it is, those who wait get it
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # it may be waited for no more
            if isinstance(error, asyncio.CancelledError):
                raise
