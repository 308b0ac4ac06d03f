"""A cluster of three NATS servers that are killed and frozen while a client ships; judged by what the streams hold."""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from logferry.server.storage.nats.connection import connect
from logferry.server.storage.store import StoreState
from tests.integration.test_gateways import gateway, verdict_on
from tests.support.nats_servers import NatsCluster, NatsNode
from tests.support.nats_stores import LEFT_SOCKETS, NatsPlace, run
from tests.support.running import RunningServer, wait_until
from tests.support.shipping import Shipping, append, assert_conserved, once, shipping

pytestmark = [pytest.mark.usefixtures("quick_backoff"), pytest.mark.timeout(240)]

# Elections take seconds, on a busy machine tens of them.
_LONG_S = 90.0


def leader_of(place: NatsPlace, cluster: NatsCluster, stream: str) -> NatsNode:
    """Return the node that leads a stream."""

    async def asked() -> str:
        wire = await connect(place.settings)
        try:
            return str((await wire.api(f"STREAM.INFO.{stream}"))["cluster"]["leader"])
        finally:
            await wire.close()

    name = run(asked())
    return next(node for node in cluster.nodes if node.name == name)


def test_every_line_is_stored_once_whatever_happens_to_the_nodes(tmp_path: Path, nats_cluster: NatsCluster) -> None:
    place = NatsPlace(nats_cluster, replicas=3, shards=1, request_timeout_s=1.0, first_retry_s=0.05)
    log, written = tmp_path / "app.log", 0
    settings = once(tmp_path, mode="continuous", poll_interval=0.02, ack_timeout=20.0, batch_size=20)
    with gateway(tmp_path, place) as running, shipping(append(log, ()), running.port, **settings) as client:

        def write_and_wait(fault: Callable[[], None], end: Callable[[], None], *, waits: bool) -> None:
            """Write lines before, during and after a fault; with `waits`, nothing can be stored before its end."""
            nonlocal written
            append(log, range(written, written + 200))
            client.wait_for_acks(written + 1)
            fault()
            append(log, range(written + 200, written + 400))
            written += 400
            if waits:
                wait_until(lambda: is_stalled(running), "the gateway says that it stores nothing", deadline_s=_LONG_S)
                end()
            all_acked(client, written)
            if not waits:
                end()
            nats_cluster.start()

        leader = leader_of(place, nats_cluster, place.names.streams[0])
        write_and_wait(leader.kill, lambda: None, waits=False)

        frozen = nats_cluster.nodes[:2]
        write_and_wait(lambda: each(frozen, NatsNode.freeze), lambda: each(frozen, NatsNode.thaw), waits=True)

        everything = nats_cluster.nodes
        write_and_wait(lambda: each(everything, NatsNode.kill), nats_cluster.start, waits=True)
        assert verdict_on(log, running, tmp_path).is_proven
    assert_conserved(range(written), place.lines())


@pytest.mark.filterwarnings(LEFT_SOCKETS)
def test_a_gateway_leaves_a_node_that_stands_still(tmp_path: Path, nats_cluster: NatsCluster) -> None:
    place = NatsPlace(nats_cluster, replicas=3, shards=1, request_timeout_s=0.5, first_retry_s=0.05)
    log = append(tmp_path / "app.log", range(100))
    settings = once(tmp_path, mode="continuous", poll_interval=0.02, ack_timeout=20.0, batch_size=20)
    with gateway(tmp_path, place) as running, shipping(log, running.port, **settings) as client:
        client.wait_for_acks(100)
        connected = place.faults.wires[-1].connected_port
        frozen = next(node for node in nats_cluster.nodes if node.port == connected)
        frozen.freeze()
        try:
            append(log, range(100, 200))
            all_acked(client, 200)
            assert place.faults.wires[-1].connected_port != connected
        finally:
            frozen.thaw()
            nats_cluster.start()
    assert_conserved(range(200), place.lines())
    gc.collect()


def each(nodes: Sequence[NatsNode], do: Callable[[NatsNode], None]) -> None:
    for node in nodes:
        do(node)


def is_stalled(running: RunningServer) -> bool:
    return running.server._store.health().state is StoreState.STALLED


def all_acked(client: Shipping, lines: int) -> None:
    """Wait until a client has the acks of this many lines."""
    wait_until(
        lambda: client.is_over or client.counters.lines_acked >= lines,
        lambda: f"{lines} lines are acked: {client.counters}",
        deadline_s=_LONG_S,
    )
    assert client.counters.lines_acked >= lines
