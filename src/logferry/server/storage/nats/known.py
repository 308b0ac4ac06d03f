"""What a client knows to be stored, against what the servers say is stored.

A replica that has lost messages may become leader, and then says that a source ends earlier than it does; what was
appended there would be accepted everywhere. So an open that finds less than its client knows is answered only once
every replica was asked and none has more. Until then the client waits, and its heartbeats say why.
"""

import asyncio
import logging
from typing import Final

from logferry.printable import quoted
from logferry.protocol.messages.writing import MAX_OFFSET
from logferry.server.storage.nats.names import Names
from logferry.server.storage.nats.sources import Head, link_of
from logferry.server.storage.nats.wire import NatsError, Wire

logger = logging.getLogger(__name__)

# Whichever replica is free answers each time; of three, all have been asked with near certainty.
_QUESTIONS: Final = 24
_QUESTIONS_OF_NEW: Final = 8  # a client of several servers brings sources that this store never had
_PAUSE_S: Final = 0.01


class BehindItsClient(NatsError):
    """The leader of a stream has less of a source than its client knows; the message says what was found."""


async def check_known(wire: Wire, names: Names, source: str, head: Head | None, known: int, *, replicas: int) -> None:
    """Return if a source may be answered with `head`. Raises NatsError if it must not be yet."""
    committed = head.row.committed if head else 0
    if known <= committed or known == MAX_OFFSET:
        return
    stream, subject = names.stream(source), names.lines(source)
    furthest = committed
    questions = _QUESTIONS if head else _QUESTIONS_OF_NEW
    for _ in range(questions if replicas > 1 else 0):
        found = await wire.last_of_any(stream, subject)
        furthest = max(furthest, link_of(found).end if found else 0)
        await asyncio.sleep(_PAUSE_S)
    shown = f"the source {quoted(source)} ends at {committed} there"
    if furthest > committed:
        raise BehindItsClient(
            f"a replica of {stream} is damaged and leads it: {shown}, and at {furthest} elsewhere; "
            "see Bit rot in docs/cluster.md"
        )
    if head is None:
        return
    await _all_present(wire, stream, shown, known)
    logger.error(
        "every replica of %s says less than a client: %s, its client knows of %d; lines have been lost or the "
        "streams are an older copy; the client sends again what it still has",
        *(stream, shown, known),
    )


async def _all_present(wire: Wire, stream: str, shown: str, known: int) -> None:
    """Return if every replica of a stream takes part. Raises NatsError."""
    cluster = (await wire.api(f"STREAM.INFO.{stream}")).get("cluster")
    replicas = cluster.get("replicas") or [] if isinstance(cluster, dict) else []
    absent = [each for each in replicas if isinstance(each, dict) and (each.get("offline") or not each.get("current"))]
    if absent:
        raise BehindItsClient(
            f"{shown}, its client knows of {known}, and {len(absent)} of the replicas of {stream} are not there to say"
        )
