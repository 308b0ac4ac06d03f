"""Resilient delivery: the engine behind a prefetch queue, and a health monitor that holds back reconnecting.

Owns the producer's thread and the health monitor while a delivery runs. Only resilient runs import this module; basic
delivery is the engine alone.
"""

from collections.abc import Callable

from logferry.client.delivery.accounts.progress import DeliveryProgress
from logferry.client.delivery.batches.batches import RenderingProducer
from logferry.client.delivery.batches.prefetch import PrefetchingProducer
from logferry.client.delivery.engine.engine import DeliveryEngine
from logferry.client.delivery.output import Output
from logferry.client.delivery.positions.resume import StoredExtents
from logferry.client.delivery.servers.observer import ConnectionObserver
from logferry.client.delivery.servers.servers import Servers
from logferry.client.net.connecting.health import Health, HealthMonitor, probe_any
from logferry.client.net.waiting.readiness import Wait, poll
from logferry.client.net.waiting.wakeup import StopSignal
from logferry.client.state.known_losses import KnownLosses
from logferry.config import ShipSettings
from logferry.telemetry.metrics import Metrics


class HealthGate:
    """See ReconnectGate: open only while the health monitor reports that a server accepts connections.

    The monitor's thread writes its state; the engine's thread reads it.
    """

    def __init__(self, servers: Servers, settings: ShipSettings, stop: StopSignal) -> None:
        self._stop = stop
        self._counts_attempts = bool(settings.max_attempts)  # only attempts that are made can be counted
        self._monitor = HealthMonitor(
            lambda: probe_any(servers.in_turn(), timeout_s=settings.connect_timeout),
            interval_s=settings.health_interval,
            on_transition=lambda _: stop.wakeup.set(),
        )

    def start(self) -> None:
        """Start to probe."""
        self._monitor.start()

    def close(self) -> None:
        """Stop the monitor."""
        self._monitor.stop()

    def connection_failed(self) -> None:
        """See ReconnectGate."""
        self._monitor.suspect()

    def stalled(self, reason: str) -> None:
        """See ReconnectGate."""
        self._monitor.note_stall(reason)

    def may_connect(self) -> bool:
        """See ReconnectGate."""
        return self._counts_attempts or self._stop.is_requested or self._monitor.state is Health.HEALTHY


def deliver_resilient(
    producer: RenderingProducer,
    output: Output,
    settings: ShipSettings,
    *,
    servers: Servers,
    metrics: Metrics,
    stop: StopSignal,
    checkpoints: DeliveryProgress,
    stored_extents: StoredExtents,
    reconciles: bool = True,
    known_losses: KnownLosses | None = None,
    asks_always: bool = False,
    observer: ConnectionObserver | None = None,
    on_damage: Callable[[str], None] = lambda _: None,
    poll: Wait = poll,
) -> None:
    """Deliver as DeliveryEngine.run does; both threads have ended when this returns."""
    prefetching = PrefetchingProducer(
        producer,
        max_lines=settings.buffer_size,
        poll_interval_s=settings.poll_interval,
        metrics=metrics,
        wakeup=stop.wakeup,
    )
    gate = HealthGate(servers, settings, stop)
    engine = DeliveryEngine(
        prefetching,
        output,
        settings,
        metrics=metrics,
        stop=stop,
        checkpoints=checkpoints,
        stored_extents=stored_extents,
        reconciles=reconciles,
        known_losses=known_losses,
        asks_always=asks_always,
        servers=servers.choice,
        gate=gate,
        observer=observer,
        on_damage=on_damage,
        poll=poll,
    )
    gate.start()
    prefetching.start()
    try:
        engine.run()
    finally:
        gate.close()
        prefetching.stop()
        prefetching.join()
