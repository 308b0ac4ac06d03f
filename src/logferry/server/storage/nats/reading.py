"""Reading the messages of a subject in order, although a replica that answers may be behind the leader.

The leader says where the subject ends (`last`). Ranges are read from whichever replica answers, because that is fast;
when it does not have everything yet, another is asked, and at last the leader, one message at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from logferry.server.storage.nats.wire import Message, Wire

_ATTEMPTS: Final = 5
_PAUSE_S: Final = 0.02


async def messages_of(wire: Wire, stream: str, subject: str, first: int, last: int) -> AsyncIterator[Message]:
    """Yield the messages of a subject with the sequences from `first` to `last`, in order. Raises NatsError."""
    following, attempts = first, 0
    while following <= last:
        before = following
        async for message in wire.range(stream, subject, following):
            if message.sequence < following:
                continue  # a replica that repeats itself
            if message.sequence > last:
                break  # this replica has nothing more; another one may
            following = message.sequence + 1
            yield message
        if following > before:
            attempts = 0
        elif attempts < _ATTEMPTS:
            attempts += 1
            await asyncio.sleep(_PAUSE_S * attempts)
        else:
            rest = await wire.following(stream, subject, following)
            if rest is None or rest.sequence > last:
                return
            following = rest.sequence + 1
            yield rest
