"""--max-bytes-per-second: the rate holds over time, nothing else is slowed down, and a slow rate is not a stall."""

from pathlib import Path

import pytest

from logferry.client.delivery.output import Guarantee, Sent, Stalled
from logferry.client.delivery.outputs.pacing import PacedTransport, TokenBucket, max_batch_lines
from logferry.client.net.transports.memory import MemoryTransport
from logferry.client.net.waiting.readiness import READ, WRITE
from logferry.errors import DeliveryAbandoned
from tests.client.delivery.outputs.test_output_contract import LINES, SIZE, Bench, batches_of, paced_output, source
from tests.support.builders import Clock
from tests.support.running import running_server
from tests.support.shipping import append, assert_conserved, shipping

RATE = 1000


def bench_at(rate: int) -> Bench:
    """Return an output of this rate and its peer; the bucket has the time of the bench."""
    clock = Clock()
    bucket = TokenBucket(rate, clock=clock)
    bucket._burst = rate // 4  # smaller than what is worth it outside a test
    bucket._tokens = 0.0
    bench = Bench(
        lambda dial, settings, servers: paced_output(dial, settings, servers, bucket),
        guarantee=Guarantee.EXACTLY_ONCE,
        speaks_extension=True,
    )
    bench.clock = clock
    return bench


def test_the_rate_holds_over_time_and_every_line_is_stored_once() -> None:
    bench, one = bench_at(RATE), source()
    bench.connect(one)
    began = bench.clock.now
    events = bench.submit_all(batches_of(one))
    seconds = bench.clock.now - began
    size = sum(event.size for event in events if isinstance(event, Sent))
    assert size >= len(LINES) * SIZE
    assert size - RATE // 4 <= RATE * seconds <= size + RATE
    assert bench.talks[-1].lines == LINES


def test_a_slow_rate_is_not_a_stall() -> None:
    bench, one = bench_at(100), source()
    bench.connect(one)
    events = bench.submit_all(batches_of(one, lines_each=len(LINES)))  # takes longer than the ack timeout
    assert not [event for event in events if isinstance(event, Stalled)]


def test_while_it_must_wait_it_reads_on_and_says_when_it_goes_on() -> None:
    bench, one = bench_at(RATE), source()
    bench.connect(one)
    for batch in batches_of(one):
        bench.output.submit(batch)
    while any(events & WRITE for events in bench.output.interest().values()):
        bench.drive()
    assert list(bench.output.interest().values()) == [READ]
    timer = bench.output.next_timer()
    assert timer is not None
    assert bench.clock.now < timer <= bench.clock.now + 0.25
    bench.clock.now = timer
    assert list(bench.output.interest().values()) == [READ | WRITE]


def test_an_unlimited_peer_takes_no_more_than_the_bucket_has() -> None:
    clock = Clock()
    ours, theirs = MemoryTransport.pair(capacity=1 << 20)
    transport = PacedTransport(ours, TokenBucket(100_000, clock=clock))
    parts = (b"a" * 10_000, b"b" * 100_000)
    assert transport.send(parts, more=False) == 25_000
    assert transport.send(parts, more=False) == 0
    clock.now += 0.2
    assert transport.send((b"c" * 50_000,), more=False) == 20_000
    assert theirs.receive(1 << 20) == b"a" * 10_000 + b"b" * 15_000 + b"c" * 20_000


def test_what_tls_did_not_take_is_offered_again_whole() -> None:
    class Refusing(MemoryTransport):
        offered: list[int]

        def send(self, parts: object, *, more: bool) -> int:
            self.offered.append(sum(map(len, parts)))  # type: ignore[call-overload]
            return 0

    clock = Clock()
    ours, _ = MemoryTransport.pair(capacity=1 << 20)
    ours.__class__ = Refusing
    ours.offered = []  # type: ignore[attr-defined]
    bucket = TokenBucket(100_000, clock=clock)
    transport = PacedTransport(ours, bucket)
    transport.send((b"a" * 50_000,), more=False)
    bucket.take(20_000)
    transport.send((b"a" * 50_000,), more=False)
    assert ours.offered == [25_000, 25_000]  # type: ignore[attr-defined]


def test_batches_are_small_enough_that_acks_come_every_few_seconds() -> None:
    assert max_batch_lines(1024) == 10
    assert max_batch_lines(1) == 1
    assert max_batch_lines(10**9) > 1_000_000


def test_a_paced_client_delivers_everything_and_a_stop_is_quick(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(200))
    with running_server(tmp_path) as server:
        with shipping(log, server.port, ack="auto", max_bytes_per_second=200_000) as run:
            assert run.result().problems == ()
        assert_conserved(range(200), server.stored_lines())
        append(log, range(200, 20_000))
        with shipping(log, server.port, ack="auto", max_bytes_per_second=1024, shutdown_timeout=0.2) as run:
            run.wait_for_acks(1)
            run.request_stop()
            with pytest.raises(DeliveryAbandoned):
                run.result()
