"""The server: assembles a store, a listener and a roster of connections, starts them, and stops them cleanly.

One event loop runs all connections (clients/) and the store runs its own threads (storage/); the two meet in
clients/bridge/store_bridge.py. This module also logs how the server started, and its counters.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from logferry import __version__
from logferry.addresses import network_of
from logferry.config import ServeSettings
from logferry.config.kinds.listen_urls import ListenUrl
from logferry.errors import StoreError
from logferry.protocol.lines.validation import Accept
from logferry.protocol.plain.server import Limits
from logferry.server.arrivals import Arrivals
from logferry.server.clients.bridge.store_bridge import StoreBridge
from logferry.server.clients.connection.patience import Patience
from logferry.server.clients.identities.authenticator import Authenticator, Everybody
from logferry.server.clients.identities.clients_file import LOOK_S, ClientsFile
from logferry.server.clients.identities.networks import Networks
from logferry.server.clients.memory.flow_control import MemoryBudget
from logferry.server.clients.reporting.client_log import ClientLog
from logferry.server.clients.reporting.counters import ClientCounters
from logferry.server.clients.reporting.states_file import WRITE_S, restore, states_of, write_states
from logferry.server.clients.roster import Roster, RosterSettings
from logferry.server.clients.scheduling.turns import Turns
from logferry.server.clients.sessions.base import ClientDelivery, SessionTerms
from logferry.server.descriptors import affordable_connections, most_arrivals, raise_descriptor_limit
from logferry.server.encryption import Encryption
from logferry.server.listen import BoundAddress, Listener, Take, bound_addresses, exposure_warnings, open_all
from logferry.server.reload import Reloads
from logferry.server.status import ServerStats, ServerStatus, describe, describe_recovery
from logferry.server.storage.disk.content.codecs import chosen_compression
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.segments.open_segments import MAX_OPEN_SEGMENTS
from logferry.server.storage.disk.writing.group_commit import no_crash
from logferry.server.storage.store import Store, StoreState
from logferry.server.stores import store_of
from logferry.telemetry.heartbeat import Heartbeat
from logferry.telemetry.http_pages import Pages
from logferry.telemetry.http_server import HttpServer
from logferry.telemetry.log_limits import RepeatLimit
from logferry.telemetry.server_table import SERVER
from logferry.telemetry.service_manager import supervised
from logferry.telemetry.status_source import Snapshot, StatusSource, Verdict

logger = logging.getLogger(__name__)

# Check connections for exceeded time limits at least this often, and several times within the shortest limit.
_SWEEP_S: Final = 5.0
_SWEEPS_PER_LIMIT: Final = 4
_POLL_S: Final = 0.01

# How often the event loop shows that it turns. A thirtieth of what /healthz allows.
_BEAT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Replacements:
    """Parts to use instead of the server's usual ones; mostly for tests."""

    store: Store | None = None
    authenticator: Authenticator | None = None
    patience: Patience | None = None
    files: FileSystem | None = None
    crash_point: Callable[[str], None] = no_crash


class Server:
    """A log server on its addresses. Call `start` once, then `stop` once, in the same event loop."""

    def __init__(
        self,
        settings: ServeSettings,
        *,
        echo: Callable[[bytes], None] | None = None,
        on_failure: Callable[[], None] = lambda: None,
        replacements: Replacements | None = None,
    ) -> None:
        replacements = replacements or Replacements()
        self._settings = settings
        self._echo = echo
        self._on_failure = on_failure
        self._clients_file = ClientsFile(settings.clients, settings.plain_from) if settings.clients else None
        self._authenticator = replacements.authenticator or self._clients_file or Everybody()
        self._crash_point = replacements.crash_point
        self._patience = replace(replacements.patience or Patience(), idle_s=settings.idle_timeout)
        descriptors = raise_descriptor_limit()
        open_segments = min(MAX_OPEN_SEGMENTS, descriptors // 4)
        self._most_arrivals = most_arrivals(descriptors) if any(url.is_tls for url in settings.listen_urls) else 0
        self._client_descriptors = descriptors - open_segments - self._most_arrivals
        self._max_connections = affordable_connections(settings.max_connections, self._client_descriptors)
        self._store = replacements.store or store_of(
            settings,
            open_segments=open_segments,
            files=replacements.files,
            crash_point=replacements.crash_point,
        )
        self._budget = MemoryBudget(settings.memory_limit_bytes)
        self._counters = ClientCounters()
        self._client_log = ClientLog()
        self._status = ServerStatus(self._store, budget=self._budget, counters=self._counters)
        self._loop: asyncio.AbstractEventLoop
        self._bridge: StoreBridge
        self._roster: Roster
        self._listener: Listener
        self._http: HttpServer | None = None
        self._heartbeat = Heartbeat("the event loop")
        self._encryption: Encryption | None = None
        self._bound: list[BoundAddress] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._reading_clients: asyncio.Task[None] | None = None
        self._written_reports = 0

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses and ports that are actually bound."""
        return [(bound.host, bound.port) for bound in self._bound]

    @property
    def bound(self) -> Sequence[BoundAddress]:
        """The same, with the way in which clients speak there."""
        return self._bound

    @property
    def stats(self) -> ServerStats:
        """The current numbers. Any thread may call this."""
        return self._status.stats()

    def snapshot(self) -> Snapshot:
        """See StatusSource."""
        return self._status.snapshot()

    async def start(self) -> None:
        """Open and recover the store, then listen.

        Raises StoreError, ConfigError for files of TLS that cannot be used, or LogferryError if it cannot listen.
        """
        if self._settings.tls_cert:
            self._encryption = Encryption(self._settings, self._counters)
        self._http = _http_server(self._settings, self._status, self._heartbeat)  # before recovery, which may take long
        try:
            await self._open()
        except BaseException:
            self._close_http()
            raise

    async def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._bridge = StoreBridge(self._store, self._loop, answer=self._answer, hold=self._hold, echo=self._echo)
        recovery = self._store.open(
            lambda: self._bridge.call_soon_from_thread(self._on_failure), self._notify_damage, self._bridge.on_held
        )
        logger.info("logferry %s: %s, durability %s", __version__, self._store.place, self._store.durability)
        if self._settings.store == "disk":
            logger.info("%s", describe_recovery(recovery))
        self._roster = self._new_roster()
        try:
            sockets = open_all(self._settings.listen_urls)
        except BaseException:
            self._store.close(0)
            raise
        self._bound = bound_addresses(sockets)
        self._listener = Listener(
            list(sockets),
            self._loop,
            new_connection=self._factory_of(sockets),
            has_room_for=self._roster.has_room_for,
            on_refused=self._roster.note_refused,
            arrivals_for=self._arrivals_for,
            takes_turns=lambda listening: sockets[listening].is_tls,
        )
        self._client_log.tls_ports = [bound.port for bound in self._bound if bound.is_tls]
        if self._settings.store == "disk":
            restore(self._settings.data_dir, self._counters.reports)
        self._written_reports = self._counters.reports.noted
        self._listener.open()
        self._start_timers()
        if self._encryption:
            self._encryption.start()
        warnings = exposure_warnings(
            self._bound,
            verifies_clients=self._settings.tls_client_ca is not None,
            knows_clients=self._clients_file is not None,
        )
        for warning in warnings:
            logger.warning("%s", warning)

    def _factory_of(self, sockets: Mapping[socket.socket, ListenUrl]) -> Callable[[socket.socket], asyncio.Protocol]:
        roster = self._roster

        def new_connection(listening: socket.socket) -> asyncio.Protocol:
            return roster.new_encrypted_connection() if sockets[listening].is_tls else roster.new_connection()

        return new_connection

    def _arrivals_for(self, take: Take) -> Arrivals:
        return Arrivals(
            self._loop,
            limit=self._most_arrivals,
            room=lambda: self._roster.room_for_handshakes,
            take=take,
            network_of=network_of,
            on_surplus=self._roster.note_surplus,
        )

    def turns(self) -> Verdict:
        """Return whether the event loop turns. Any thread may ask."""
        return self._heartbeat.verdict()

    def describe(self) -> str:
        """Return how the server is, in one line. Any thread may ask."""
        now = self._status.snapshot()
        numbers = f"{now.gauges['connections']:.0f} clients connected, {now.counters['lines_stored']} lines stored"
        return now.verdict.reason or numbers

    def reconfigure(self, settings: ServeSettings) -> None:
        """Apply settings that differ in what reload.py lists as changeable. What clients were promised stays."""
        self._settings = settings
        self._patience = replace(self._patience, idle_s=settings.idle_timeout)
        self._max_connections = affordable_connections(settings.max_connections, self._client_descriptors)
        self._store.change_limits(
            segment_bytes=settings.segment_bytes,
            retention_bytes=settings.retention_bytes,
            retention_days=settings.retention_days,
            compression=chosen_compression(settings.segment_compression),
        )
        self._budget.change_limit(settings.memory_limit_bytes)
        self._roster.reconfigure(self._roster_settings())
        self._start_timers()

    def load_files(self) -> Sequence[str]:
        """Load the files of TLS and of the clients again, soon; return which there are.

        Connections keep what they have, except those of clients that are not admitted any more.
        """
        loaded: list[str] = []
        if self._encryption:
            self._encryption.look_again()
            loaded.append("the files of TLS")
        if self._clients_file:
            self._look_at_clients(is_wanted=True)
            loaded.append("the clients file")
        return loaded

    async def stop(self) -> None:
        """Stop in five steps, which together take little more than `shutdown_timeout` seconds."""
        deadline = self._loop.time() + self._settings.shutdown_timeout
        roster = self._roster
        # 1. No new clients.
        self._listener.close()
        # 2. No new data.
        roster.stop_reading()
        # 3. Store every complete message received, and hand its acks to the kernel.
        await self._until(self._has_nothing_pending, deadline)
        # 4. Close the server's half, let clients close theirs, and cut off those that do not.
        roster.finish()
        await self._until(lambda: roster.is_empty, min(deadline, self._loop.time() + self._patience.linger_s))
        roster.cut()
        for timer in self._timers.values():
            timer.cancel()
        self._heartbeat.rest()
        self._bridge.close()
        # 5. Close the store; data that a failing disk has not accepted by now was never acked.
        await asyncio.to_thread(self._store.close, max(0.0, deadline - self._loop.time()))
        await asyncio.to_thread(self._bridge.close_echo)
        await asyncio.sleep(0)  # let the aborted connections close their sockets
        self._client_log.flush()
        self._close_http()
        if self._encryption:
            await asyncio.to_thread(self._encryption.close)
        self._log_metrics()

    def _close_http(self) -> None:
        if self._http:
            self._http.close()

    def _start_timers(self) -> None:
        """Start the timers, or start them again after a change of their intervals."""
        for timer in self._timers.values():
            timer.cancel()
        self._repeat("sweep", min(_SWEEP_S, self._patience.shortest_s / _SWEEPS_PER_LIMIT), self._roster.sweep)
        self._heartbeat.beat()
        self._repeat("heartbeat", _BEAT_S, self._heartbeat.beat)
        self._repeat("states", WRITE_S, self._write_states)
        if self._clients_file:
            self._repeat("clients", LOOK_S, self._look_at_clients)
        if self._settings.metrics_interval:
            self._repeat("metrics", self._settings.metrics_interval, self._log_metrics)

    def _write_states(self) -> None:
        """Write what clients say about themselves, if one has since the last time, in another thread."""
        reports = self._counters.reports
        if reports.noted != self._written_reports and self._settings.store == "disk":
            self._written_reports = reports.noted
            self._loop.run_in_executor(None, write_states, self._settings.data_dir, states_of(reports))

    def _look_at_clients(self, *, is_wanted: bool = False) -> None:
        """Read the clients file if it has changed, or because that `is_wanted`, in another thread."""
        file = self._clients_file
        if file and self._reading_clients is None and (is_wanted or file.has_changed):
            self._reading_clients = self._loop.create_task(self._read_clients(file))

    async def _read_clients(self, file: ClientsFile) -> None:
        try:
            if file.apply(await asyncio.to_thread(file.read)):
                self._roster.end_those_not_admitted()
            self._counters.clients_reload_failures = file.reload_failures
        finally:
            self._reading_clients = None

    def _roster_settings(self) -> RosterSettings:
        settings, store_limit = self._settings, self._store.limits.max_batch_bytes
        largest = min(settings.max_record_bytes, store_limit or settings.max_record_bytes)
        limits = Limits(largest, settings.max_frame_bytes, settings.max_inflated_bytes)
        terms = SessionTerms(
            limits=limits,
            accept=Accept(settings.accept),
            durability=self._store.durability,
            max_batch_bytes=largest,
            store_id=self._store.id,
        )
        return RosterSettings(
            max_connections=self._max_connections,
            patience=self._patience,
            terms=terms,
            proxies=Networks(settings.proxy_protocol),
        )

    def _new_roster(self) -> Roster:
        turns = Turns(self._loop)
        return Roster(
            self._roster_settings(),
            scheduler=turns,
            tls=self._encryption.services(self._loop, turns) if self._encryption else None,
            store=self._bridge,
            authenticator=self._authenticator,
            budget=self._budget,
            counters=self._counters,
            log=self._client_log,
        )

    def _answer(self, group: Sequence[ClientDelivery]) -> None:
        self._crash_point("before ack")
        self._roster.answer(group)

    def _hold(self, group: Sequence[ClientDelivery]) -> None:
        self._roster.hold(group)

    def _notify_damage(self, sources: Mapping[str, Sequence[str]]) -> None:
        """Notify connected clients; the store calls this in its threads."""
        self._bridge.call_soon_from_thread(lambda: self._roster.notify_damage(sources))

    def _has_nothing_pending(self) -> bool:
        return self._store.health().state is StoreState.FAILED or self._roster.has_nothing_pending

    async def _until(self, condition: Callable[[], bool], deadline: float) -> None:
        while not condition() and self._loop.time() < deadline:
            await asyncio.sleep(_POLL_S)

    def _repeat(self, name: str, interval_s: float, action: Callable[[], None]) -> None:
        """Call `action` every `interval_s` seconds until `stop`."""

        def act() -> None:
            self._timers[name] = self._loop.call_later(interval_s, act)
            action()

        self._timers[name] = self._loop.call_later(interval_s, act)

    def _log_metrics(self) -> None:
        logger.info("metrics: %s", describe(self.stats))


def _http_server(settings: ServeSettings, status: StatusSource, heartbeat: Heartbeat) -> HttpServer | None:
    """Return a running server of the numbers, if there is to be one. Raises LogferryError if it cannot listen."""
    if settings.http is None:
        return None
    server = HttpServer(*settings.http, Pages(status, SERVER, heartbeat=heartbeat).answer)
    server.start()
    return server


class _LoopErrors:
    """Logs exceptions in event loop callbacks: the first of each kind with its traceback, then counts."""

    def __init__(self) -> None:
        self._limit = RepeatLimit(logger)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error, message = context.get("exception"), context.get("message", "")
        if self._limit.log(logging.ERROR, (type(error), message), "error in the event loop: %s (%r)", message, error):
            loop.default_exception_handler(context)

    def flush(self) -> None:
        """Log the pending counts."""
        self._limit.flush()


async def serve(
    settings: ServeSettings,
    *,
    stop_requested: asyncio.Event,
    on_ready: Callable[[Sequence[BoundAddress]], None],
    echo: Callable[[bytes], None] | None = None,
    reloads: Reloads | None = None,
) -> ServerStats:
    """Run a server until `stop_requested` is set; return its final numbers. `reloads` change its settings meanwhile.

    Raises StoreError or LogferryError if the server cannot start, and StoreError if the store fails permanently.
    """
    loop_errors = _LoopErrors()
    asyncio.get_running_loop().set_exception_handler(loop_errors)
    has_failed = asyncio.Event()
    server = Server(settings, echo=echo, on_failure=has_failed.set)
    await server.start()
    reloading = asyncio.ensure_future(reloads.run(server.reconfigure, server.load_files)) if reloads else None
    try:
        with supervised(server.turns, server.describe):
            on_ready(server.bound)
            await _first_of(stop_requested, has_failed)
    finally:
        if reloading:
            reloading.cancel()
        await server.stop()
        loop_errors.flush()
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
