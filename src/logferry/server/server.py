"""The server: listens, admits clients, carries deliveries to the store and acks back, and stops cleanly.

One event loop for all connections (peer.py), one writer thread for the disk (store.py). They meet in two places:
`submit` puts a delivery into the store's queue, `_on_stored` brings a group of them back into the loop.
"""

import asyncio
import contextlib
import errno
import itertools
import logging
import resource
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from logferry.config import ServeSettings
from logferry.errors import StoreError
from logferry.protocol.acks import error_ack
from logferry.protocol.delivery import Report, report_line
from logferry.protocol.plain_server import Limits
from logferry.protocol.validation import Accept
from logferry.server.clients.connection import Peer
from logferry.server.clients.flow_control import MemoryAccount
from logferry.server.clients.sessions.plain import PeerDelivery
from logferry.server.listen import BACKLOG, open_listeners
from logferry.server.storage.disk_store import DiskStore, DiskStoreSettings
from logferry.server.storage.file_system import FileSystem
from logferry.server.storage.group_commit import no_crash
from logferry.server.storage.segments import MAX_OPEN_SEGMENTS
from logferry.server.storage.store import Store, StoreState

logger = logging.getLogger(__name__)

# How often connections are looked at for what has gone on too long; at most, so that short limits are kept too.
_SWEEP_S: Final = 5.0
_POLL_S: Final = 0.01

# The event loop, the lock, the listeners, the standard streams, clients that are being told of their refusal.
_OTHER_DESCRIPTORS: Final = 32
_OUT_OF_RESOURCES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may keep the server waiting, in seconds; silence is IDLE_TIMEOUT."""

    # A client that works takes its acks within milliseconds; one behind a bad line within a few retransmissions.
    ack_stall_s: float = 30.0
    # A peer that is told of the end closes at once; longer only if it is gone or does not care.
    linger_s: float = 2.0
    # A sixth of the ack timeout that our client has by default: it sees the server alive however late one sign is.
    alive_s: float = 5.0


@dataclass(frozen=True, slots=True)
class ServerStats:
    """What the server has done since it started."""

    connections: int
    connections_total: int
    connections_refused: int
    clients_dropped: int
    lines_stored: int
    bytes_stored: int
    lines_rejected: int
    repeats: int  # batches that had been stored before: recognised and not stored again
    recovered_bytes: int  # that no ack had been given for, cut off after a crash
    groups: int
    syncs: int
    bytes_in_memory: int
    disk_is_failing: bool


class Server:
    """A log server on its addresses. `start`, then `stop`; both once, in the same event loop."""

    def __init__(
        self,
        settings: ServeSettings,
        *,
        echo: Callable[[bytes], None] | None = None,
        patience: Patience | None = None,
        files: FileSystem | None = None,
        on_failure: Callable[[], None] = lambda: None,
        crash_point: Callable[[str], None] = no_crash,
    ) -> None:
        self._settings = settings
        self._crash_point = crash_point
        descriptors = _raise_descriptor_limit()
        open_segments = min(MAX_OPEN_SEGMENTS, descriptors // 4)
        self._max_connections = _affordable_connections(settings.max_connections, descriptors - open_segments)
        self._limits = Limits(settings.max_record_bytes, settings.max_frame_bytes, settings.max_inflated_bytes)
        self._accept = Accept(settings.accept)
        self._store: Store = DiskStore(
            DiskStoreSettings(
                data_dir=settings.data_dir,
                durability=settings.durability,
                segment_bytes=settings.segment_bytes,
                retention_bytes=settings.retention_bytes,
                retention_days=settings.retention_days,
                max_open_segments=open_segments,
            ),
            file_system=files,
            crash_point=crash_point,
        )
        self._on_failure = on_failure
        self._echo = echo
        self._loop: asyncio.AbstractEventLoop
        self._listeners: list[asyncio.Server] = []
        self._addresses: list[tuple[str, int]] = []
        self._peers: set[Peer] = set()
        self._refused: set[Peer] = set()
        self._peer_numbers = itertools.count(1)
        # One report at a time: the disk is for storing first. Its thread is started by the first report.
        self._reporting = ThreadPoolExecutor(1, thread_name_prefix="logferry-report")
        self._sweeper: asyncio.TimerHandle | None = None
        self._connections_total = 0
        self._connections_refused = 0
        self.patience: Final = patience or Patience()
        self.memory: Final = MemoryAccount(settings.memory_limit_bytes)
        self.idle_timeout: Final = settings.idle_timeout
        self.acks_on_receipt: Final = settings.durability == "none"
        self.is_stopping = False
        self.lines_rejected = 0
        self.clients_dropped = 0

    # --- for whoever runs it

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses and ports that are really bound."""
        return list(self._addresses)

    @property
    def stats(self) -> ServerStats:
        """A snapshot; may be taken from any thread."""
        health = self._store.health()
        stored = health.counters
        return ServerStats(
            connections=len(self._peers),
            connections_total=self._connections_total,
            connections_refused=self._connections_refused,
            clients_dropped=self.clients_dropped,
            lines_stored=stored.lines_stored,
            bytes_stored=stored.bytes_stored,
            lines_rejected=self.lines_rejected,
            repeats=stored.repeats,
            recovered_bytes=stored.recovered_bytes,
            groups=stored.groups,
            syncs=stored.syncs,
            bytes_in_memory=self.memory.partial + self.memory.unstored,
            disk_is_failing=health.state is StoreState.STALLED,
        )

    async def start(self) -> None:
        """Recover what is stored, then listen. Raises StoreError, or LogferryError when it cannot listen."""
        self._loop = asyncio.get_running_loop()
        self._store.open(lambda: self.call_soon_from_thread(self._on_failure))
        try:
            for sock in open_listeners(self._settings.server_host, self._settings.server_port):
                self._addresses.append(sock.getsockname()[:2])
                self._listeners.append(await self._loop.create_server(self._new_peer, sock=sock, backlog=BACKLOG))
        except BaseException:
            self._store.close(0)
            raise
        self._sweep()

    async def stop(self) -> None:
        """Stop in five steps, all within `shutdown_timeout` seconds and a little."""
        deadline = self._loop.time() + self._settings.shutdown_timeout
        # 1. No new clients.
        for listener in self._listeners:
            listener.close()
        # 2. No new data.
        self.is_stopping = True
        for peer in list(self._peers):
            peer.stop()
        # 3. What came whole is stored, and its acks are handed to the system.
        await self._until(self._has_nothing_pending, deadline)
        # 4. Tell the clients, let them close; cut off those who do not.
        for peer in list(self._peers):
            peer.finish()
        await self._until(lambda: not self._peers, min(deadline, self._loop.time() + self.patience.linger_s))
        for peer in [*self._peers, *self._refused]:
            peer.cut()
        if self._sweeper:
            self._sweeper.cancel()
        self._reporting.shutdown(wait=False, cancel_futures=True)
        # 5. Close the store; what a failing disk has not taken by now was never acked.
        await asyncio.to_thread(self._store.close, max(0.0, deadline - self._loop.time()))
        await asyncio.sleep(0)  # lets the cut connections close their sockets

    def _has_nothing_pending(self) -> bool:
        return self._store.health().state is StoreState.FAILED or all(peer.has_nothing_pending for peer in self._peers)

    async def _until(self, condition: Callable[[], bool], deadline: float) -> None:
        while not condition() and self._loop.time() < deadline:
            await asyncio.sleep(_POLL_S)

    # --- for its peers

    def now(self) -> float:
        """Return the loop's monotonic time, in seconds."""
        return self._loop.time()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back after other clients have had their turn."""
        self._loop.call_soon(callback)

    def admit(self, peer: Peer) -> bool:
        """Take a new connection into account; return whether there is room for it."""
        self._connections_total += 1
        if self.is_stopping:
            self._refused.add(peer)
            return False
        if len(self._peers) >= self._max_connections:
            self._connections_refused += 1
            self._refused.add(peer)
            if self._connections_refused == 1:
                logger.warning("full: %d connections; more are refused", len(self._peers))
            return False
        self._peers.add(peer)
        return True

    def forget(self, peer: Peer) -> None:
        """A connection has ended."""
        self._peers.discard(peer)
        self._refused.discard(peer)
        self.regulate_memory()

    def submit(self, delivery: PeerDelivery) -> None:
        """Hand lines to the store."""
        self._store.submit(delivery, self._on_stored)

    def make_report(self, peer: Peer, request: Report) -> None:
        """Have a report made while everything else goes on; the peer gets the answer."""

        def make() -> None:
            try:
                page = self._store.report(request.source, request.after)
                line = report_line(page)
            except (StoreError, OSError) as error:
                line = error_ack(f"cannot report: {error}")
            self.call_soon_from_thread(lambda: peer.report_made(line))

        self._reporting.submit(make)

    def regulate_memory(self) -> None:
        """Stop reading from everybody when all clients together hold too much, and go on when there is room."""
        while self.memory.must_drop:
            largest = max(self._peers, key=lambda peer: peer.partial_bytes)
            largest.refuse_partial("too many unfinished messages in memory, and this is the largest")
        if self.memory.update_gate():
            for peer in list(self._peers):
                peer.regulate()

    # --- within

    def _new_peer(self) -> Peer:
        return Peer(
            self,
            next(self._peer_numbers),
            limits=self._limits,
            accept=self._accept,
            durability=self._settings.durability,
        )

    def _on_stored(self, group: Sequence[PeerDelivery]) -> None:
        """In the store's thread: have the loop answer a group, then echo what was stored."""
        self.call_soon_from_thread(lambda: self._answer(group))
        self._echo_stored(group)

    def _echo_stored(self, group: Sequence[PeerDelivery]) -> None:
        if self._echo is None:
            return
        try:
            for delivery in group:
                for piece in delivery.pieces if delivery.is_stored else ():
                    self._echo(piece)
        except (OSError, ValueError) as error:  # a closed file is a ValueError
            self._echo = None
            logger.warning("cannot echo any more: %s", error)

    def call_soon_from_thread(self, callback: Callable[[], None]) -> None:
        """Call back in the event loop; nothing happens when that is closed already."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)

    def _answer(self, group: Sequence[PeerDelivery]) -> None:
        self._crash_point("before ack")
        for delivery in group:
            delivery.peer.stored(delivery)
        self.regulate_memory()
        for peer in {delivery.peer: None for delivery in group}:
            peer.after_stored()

    def _sweep(self) -> None:
        now = self.now()
        for peer in [*self._peers, *self._refused]:
            peer.sweep(now)
        patience = self.patience
        shortest = min(self.idle_timeout, patience.ack_stall_s, patience.linger_s, patience.alive_s)
        self._sweeper = self._loop.call_later(min(_SWEEP_S, shortest / 4), self._sweep)


def _raise_descriptor_limit() -> int:
    """Allow this process as many descriptors as the system lets it; return how many that is.

    Each client needs one, and many systems begin with 1024 although a process may have a million.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _affordable_connections(wanted: int, descriptors: int) -> int:
    """Leave descriptors to the store: a client that is refused knows why, a store that cannot open a file must wait."""
    affordable = max(1, descriptors - _OTHER_DESCRIPTORS)
    if affordable < wanted:
        logger.warning("only %d connections, not %d: the system's limit of open files is too low", affordable, wanted)
    return min(wanted, affordable)


def _report_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """One line for what only the operator can mend; asyncio itself waits a second before it accepts again."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
        logger.warning("cannot take more connections now: %s", error.strerror)
    else:
        loop.default_exception_handler(context)


async def serve(
    settings: ServeSettings,
    *,
    stop_requested: asyncio.Event,
    on_ready: Callable[[list[tuple[str, int]]], None],
    echo: Callable[[bytes], None] | None = None,
) -> ServerStats:
    """Run a server until `stop_requested` is set; return what it did.

    Raises StoreError or LogferryError when it cannot start, StoreError when the store has failed for good.
    """
    asyncio.get_running_loop().set_exception_handler(_report_loop_error)
    has_failed = asyncio.Event()
    server = Server(settings, echo=echo, on_failure=has_failed.set)
    await server.start()
    try:
        on_ready(server.addresses)
        await _first_of(stop_requested, has_failed)
    finally:
        await server.stop()
    if has_failed.is_set():
        raise StoreError("the store has failed; see the log")
    return server.stats


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
