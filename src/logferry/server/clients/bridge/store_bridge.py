"""The bridge between the event loop and the store: deliveries cross one by one and come back in groups.

The store calls back in its own threads, and everything about clients happens in the loop; the two meet only here. Owns
the threads that answer questions, and the echo of stored lines.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from logferry.errors import StoreError, cause_of
from logferry.protocol.messages.answers import alive_line, positions_failed_line, positions_line
from logferry.protocol.messages.repairs import RepairOutcome, content_line, damage_line, repair_line
from logferry.protocol.messages.reports import losses_line, report_line, sources_line
from logferry.protocol.messages.requests import Content, Damaged, Locate, Losses, Question, Repair, Report, SourcesOf
from logferry.protocol.messages.writing import FOREIGN
from logferry.protocol.plain.acks import MAX_REASON_CHARS, error_ack
from logferry.server.clients.bridge.echo import Echo
from logferry.server.clients.bridge.own_sources import OwnSources
from logferry.server.clients.sessions.base import ClientDelivery
from logferry.server.storage.owners import Owner
from logferry.server.storage.store import Store, StoreState
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# How old a heartbeat may be: clients get one every few seconds.
_HEALTH_S: Final = 0.05

_DOINGS: Final = {
    Report: "report",
    Losses: "list losses",
    SourcesOf: "list sources",
    Content: "read what is stored",
    Damaged: "list damage",
}


class StoreBridge:
    """The StoreAccess of all connections. In the loop, it calls `answer` with each stored group.

    It calls `hold` with what the store holds back.
    `_on_stored` and what it calls run in a thread of the store, answers to questions in other threads, everything else
    in the loop.
    """

    def __init__(
        self,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        *,
        answer: Callable[[Sequence[ClientDelivery]], None],
        hold: Callable[[Sequence[ClientDelivery]], None] = lambda _: None,
        echo: Callable[[bytes], None] | None = None,
    ) -> None:
        self._store = store
        self._loop = loop
        self._answer = answer
        self._hold = hold
        self._echo = Echo(echo) if echo else None
        self._on_stored_callback = self._on_stored  # one bound method for all deliveries: each in the queue holds it
        # One report at a time, because storing has priority on the disk. The first report starts the thread. Repairs,
        # which hold lines in memory, must not wait for reports, which may read much.
        self._reporting = ThreadPoolExecutor(1, thread_name_prefix="logferry-report")
        self._repairing = ThreadPoolExecutor(1, thread_name_prefix="logferry-repair")
        self._failures = RepeatLimit(logger)
        self._sign_of_life = b""
        self._looked_at = -math.inf  # the store's health

    def submit(self, delivery: ClientDelivery) -> None:
        """Submit a delivery to the store."""
        self._store.submit(delivery, self._on_stored_callback)

    def give_up(self, deliveries: Collection[ClientDelivery]) -> None:
        """Have the store give up deliveries that it holds back."""
        self._store.give_up(deliveries)

    def on_held(self, group: Sequence[ClientDelivery]) -> None:
        """Take the store's report of deliveries that it holds back, in a thread of the store."""
        self.call_soon_from_thread(lambda: self._hold(group))

    def ask(self, question: Question, owner: Owner, on_answer: Callable[[bytes], None]) -> None:
        """Answer a question of `owner` in another thread; `on_answer` receives the answer line in the event loop.

        Does nothing once the bridge is closed.
        """

        def answer() -> None:
            try:
                line = answer_to(question, owner, self._store)
            except Exception as error:  # the top of a worker: the client must not wait for ever
                self._log_failure(error)
                line = failure_line(question, "the server has failed; its log says why")
            self.call_soon_from_thread(lambda: on_answer(line))

        self._submit_to(self._reporting if isinstance(question, Report) else self._repairing, answer)

    def sign_of_life(self) -> bytes:
        """Return a heartbeat, which says why the store stores nothing now, if it does not.

        A client may send thousands of pings at once, and to ask the store costs more than everything else about one.
        """
        if (now := self._loop.time()) > self._looked_at + _HEALTH_S:
            self._sign_of_life, self._looked_at = sign_of_life(self._store), now
        return self._sign_of_life

    def damaged_sources(self, owner: str) -> Sequence[str]:
        """Return sources of an owner that are known to be damaged."""
        return self._store.damaged_sources(owner)

    def _log_failure(self, error: Exception) -> None:
        if self._failures.log(
            logging.ERROR, type(error).__name__, "unexpected error while answering a client: %r", error
        ):
            logger.error("its traceback:", exc_info=error)

    def _submit_to(self, executor: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # closed: a connection that is being cut may still ask
            executor.submit(work)

    def close(self) -> None:
        """Cancel waiting questions, without waiting for the answer in progress."""
        for executor in (self._reporting, self._repairing):
            executor.shutdown(wait=False, cancel_futures=True)

    def close_echo(self) -> None:
        """End the echo, once the store is closed: nothing is stored any more."""
        if self._echo is not None:
            self._echo.close()

    def call_soon_from_thread(self, callback: Callable[[], None]) -> None:
        """Call back in the event loop, unless the loop is already closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)

    def _on_stored(self, group: Sequence[ClientDelivery]) -> None:
        self.call_soon_from_thread(lambda: self._answer(group))
        if self._echo is not None:
            self._echo.put(piece for delivery in group if delivery.is_stored for piece in delivery.pieces)


def answer_to(question: Question, owner: Owner, store: Store) -> bytes:
    """Return the answer line to a question of `owner`; this may wait for the disk.

    Anybody may ask how far a source is stored and whether it is whole; only its owner may read and repair its lines. An
    identity sees no sources but its own.
    """
    seen = OwnSources(store, owner) if owner.is_identity else store
    try:
        if isinstance(question, Content | Repair) and not _may_read(question.source, owner, seen):
            return failure_line(question, FOREIGN)
        match question:
            case Report():
                return report_line(seen.report(question.source, question.after))
            case Losses():
                return losses_line(seen.losses(question))
            case SourcesOf():
                return sources_line(seen.sources_of(question))
            case Locate():
                return positions_line(seen.positions(question.sources))
            case Content():
                return content_line(seen.content(question))
            case Damaged():
                return damage_line(seen.damaged(question.source, question.after))
            case Repair():
                return repair_line(seen.repair(question))
    except (StoreError, OSError) as error:
        return failure_line(question, cause_of(error) if isinstance(error, OSError) else str(error))


def _may_read(source: str, owner: Owner, seen: Store | OwnSources) -> bool:
    """Whether the lines of a source are open to an owner; those of a source that nobody knows are."""
    return owner.may_use(seen.owners_of((source,)).get(source, ""))


def failure_line(question: Question, reason: str) -> bytes:
    """Return the answer line to a question that cannot be answered now."""
    if isinstance(question, Locate):  # not an error line: that would end the client's connection
        return positions_failed_line(reason[:MAX_REASON_CHARS])
    if isinstance(question, Repair):
        return repair_line(RepairOutcome(question.source, question.start, False, reason))
    return error_ack(f"cannot {_DOINGS[type(question)]}: {reason}")


def sign_of_life(store: Store) -> bytes:
    """Return a heartbeat, which says why `store` stores nothing now, if it does not."""
    health = store.health()
    if health.state not in (StoreState.STALLED, StoreState.FAILED):
        return alive_line()
    return alive_line(reason=health.reason, since=health.since)
