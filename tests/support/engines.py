"""A delivery engine in front of a real server or a scripted one, without files."""

from functools import partial

from logferry.client.delivery.batches.batches import BatchProducer
from logferry.client.delivery.engine.engine import DeliveryEngine
from logferry.client.delivery.outputs.selection import output_for, stored_extents
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.waiting.wakeup import StopSignal
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import ShipSettings
from logferry.telemetry.metrics import Metrics
from tests.support.stopping import stop_signal


def engine_to_server(
    producer: BatchProducer,
    settings: ShipSettings,
    checkpoints: Checkpoints,
    *,
    metrics: Metrics | None = None,
    stop: StopSignal | None = None,
) -> DeliveryEngine:
    """Return a basic engine that delivers to the server of `settings`."""
    return DeliveryEngine(
        producer,
        output_for(Endpoint.of(settings), settings, checkpoints),
        settings,
        metrics=metrics or Metrics(),
        stop=stop or stop_signal(),
        checkpoints=checkpoints,
        stored_extents=partial(stored_extents, lambda: Endpoint.of(settings), settings, checkpoints.client_id),
    )
