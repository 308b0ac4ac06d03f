"""Gateways: servers whose store is NATS JetStream, with the real client; judged by what the streams hold, and verified.

All tests of a worker share one NATS server, each with streams of its own.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof.verdict import Verdict
from logferry.client.proof.verify import verify
from logferry.client.state.checkpoints import Checkpoints
from logferry.server.storage.nats.nats_store import NatsStore
from logferry.server.storage.nats.wire import NoAnswer
from tests.support.nats_servers import NatsCluster
from tests.support.nats_stores import NatsPlace
from tests.support.processes import ServerProgram, client, server
from tests.support.running import DEADLINE_S, RunningServer, numbered_line, running_server, wait_until
from tests.support.shipping import EVERY_WAY, append, assert_conserved, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")


@pytest.fixture
def place(nats_node: NatsCluster) -> NatsPlace:
    return NatsPlace(nats_node)


@contextmanager
def gateway(tmp_path: Path, place: NatsPlace, **settings: Any) -> Iterator[RunningServer]:
    """Run a gateway in this process."""
    with running_server(tmp_path, store=place.new(), **settings) as running:
        yield running


@contextmanager
def gateway_process(tmp_path: Path, place: NatsPlace, number: int) -> Iterator[ServerProgram]:
    """Run a gateway in a process of its own, in an empty folder."""
    folder = tmp_path / f"gateway-{number}"
    folder.mkdir()
    settings = place.settings
    words = ["--store", "nats", "--nats", ",".join(settings.urls), "--nats-prefix", settings.prefix]
    words += ["--nats-shards", str(settings.shards), "--nats-replicas", "1"]
    with server(folder / "data", *words, folder=folder) as running:
        yield running
    assert not (folder / "data").exists()


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_gateway_stores_every_line_once_and_proves_it(tmp_path: Path, place: NatsPlace, way: dict[str, Any]) -> None:
    lines = range(10_000, 10_300)
    log = append(tmp_path / "app.log", lines)
    with gateway(tmp_path, place) as running:
        with shipping(log, running.port, **once(tmp_path, **way)) as run:
            run.result()
        assert_conserved(lines, place.lines())
        assert verdict_on(log, running, tmp_path).is_proven
    append(log, range(10_300, 10_350))
    with gateway(tmp_path, place) as running:
        with shipping(log, running.port, **once(tmp_path, **way)) as run:
            run.result()
        assert run.counters.lines_acked == 50
        assert verdict_on(log, running, tmp_path).is_proven
    assert_conserved(range(10_000, 10_350), place.lines())


def test_what_clients_of_the_plain_protocol_send_is_stored(tmp_path: Path, place: NatsPlace) -> None:
    with gateway(tmp_path, place) as running:
        peers = [running.connect() for _ in range(3)]
        for number, peer in enumerate(peers):
            for line in range(20):
                peer.send(numbered_line(100 * number + line))
        for peer in peers:
            for _ in range(20):
                assert peer.answer() == {"status": "ok", "message": "received"}
    expected = [numbered_line(100 * number + line) for number in range(3) for line in range(20)]
    assert sorted(place.lines()) == sorted(expected)
    for number in range(3):
        own = [line for line in place.lines() if line in expected[20 * number : 20 * number + 20]]
        assert own == expected[20 * number : 20 * number + 20]


def test_a_gateway_says_why_it_stores_nothing_and_the_client_waits(tmp_path: Path, place: NatsPlace) -> None:
    lines = range(50)
    log = append(tmp_path / "app.log", lines)
    with gateway(tmp_path, place) as running:
        place.faults.error = NoAnswer("no NATS server leads the stream")
        settings = once(tmp_path, ack_timeout=0.5, health_interval=0.05)
        with shipping(log, running.port, **settings) as run:
            wait_until(lambda: running.stats.disk_is_failing, "the gateway says that it stores nothing")
            verdict = running.server.snapshot().verdict
            assert not verdict.is_ready
            assert "no NATS server leads the stream" in verdict.reason
            assert run.counters.lines_acked == 0
            place.faults.error = None
            run.result()
        assert_conserved(lines, place.lines())


def test_a_client_goes_on_at_another_gateway_when_its_own_is_killed(tmp_path: Path, place: NatsPlace) -> None:
    lines = range(10_000, 13_000)
    log = append(tmp_path / "app.log", lines)
    with ExitStack() as stack:
        gateways = [stack.enter_context(gateway_process(tmp_path, place, number)) for number in range(2)]
        addresses = ",".join(f"127.0.0.1:{each.port}" for each in gateways)
        words = ["--server", addresses, "--batch-size", "10", "--ack-timeout", "2", "--resilient"]
        running = stack.enter_context(client(log, None, *words, folder=tmp_path))
        wait_until(lambda: running.is_over or len(place.messages()) > 3, "something is stored")
        gateways[0].program.send(signal.SIGKILL)
        running.wait()
        assert running.process.returncode == 0, running.stderr
    assert_conserved(lines, place.lines())


def test_two_gateways_that_a_client_alternates_between_store_everything_once(tmp_path: Path, place: NatsPlace) -> None:
    """The client loses its connection, and the other gateway still believes that the source is its own."""
    log = tmp_path / "app.log"
    with gateway(tmp_path, place) as one, gateway(tmp_path, place) as other:
        for turn in range(6):
            append(log, range(100 * turn, 100 * turn + 100))
            with shipping(log, (one, other)[turn % 2].port, **once(tmp_path)) as run:
                run.result()
        assert verdict_on(log, one, tmp_path).is_proven
        assert verdict_on(log, other, tmp_path).is_proven
    assert_conserved(range(600), place.lines())


def test_damage_is_found_by_verify_and_repaired_by_the_client(tmp_path: Path, place: NatsPlace) -> None:
    lines = range(100)
    log = append(tmp_path / "app.log", lines)
    with gateway(tmp_path, place) as running:
        with shipping(log, running.port, **once(tmp_path)) as run:
            run.result()
        first = place.messages()[0]
        place.faults.flipped.add((first.subject, first.sequence))
        verdict = verdict_on(log, running, tmp_path)
        assert not verdict.is_proven
        assert verdict.altered
        with shipping(log, running.port, **once(tmp_path, mode="continuous")):
            wait_until(lambda: running.stats.extents_repaired, "the client has repaired it")
        assert verdict_on(log, running, tmp_path).is_proven
    assert_conserved(lines, place.lines())


def test_the_largest_record_is_what_fits_into_a_message(tmp_path: Path, place: NatsPlace) -> None:
    place.faults.max_payload = 2 * 1024 * 1024
    with gateway(tmp_path, place) as running:
        store = running.server._store
        assert isinstance(store, NatsStore)
        peer = running.connect()
        peer.send(b'{"level": "INFO", "message": "' + 3 * 1024 * 1024 * b"x" + b'"}\n')
        assert peer.answer()["status"] == "error"
        assert store.limits.max_batch_bytes == 2 * 1024 * 1024 - 4096


def verdict_on(log: Path, running: RunningServer, tmp_path: Path) -> Verdict:
    """Return what `verify` finds about a file."""
    checkpoints = Checkpoints(tmp_path / "state", read_only=True)
    reports = ReportClient(
        Endpoint(running.host, running.port),
        client_id=checkpoints.client_id,
        client_host="test",
        connect_timeout_s=DEADLINE_S,
        answer_timeout_s=DEADLINE_S,
    )
    with closing(reports):
        return verify(log, checkpoints, reports)
