"""The queue between reading and sending, the thread that fills it, and the monitor that holds back connecting."""

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logferry.client.delivery import resilient as resilient_module
from logferry.client.delivery.batches.batch_queue import BatchQueue
from logferry.client.delivery.batches.batches import RenderingProducer
from logferry.client.delivery.batches.prefetch import PrefetchingProducer, max_batch_lines
from logferry.client.net.waiting.poller import PAUSE_S
from logferry.client.net.waiting.wakeup import Wakeup
from logferry.errors import DeliveryAbandoned
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.telemetry.metrics import Metrics
from tests.support import fakes
from tests.support.announcing import AnnouncingReader, rate_of
from tests.support.fakes import FakeServer, Talk
from tests.support.running import DEADLINE_S, numbered_line, wait_until
from tests.support.shipping import Conservation, append, assert_conserved, conservation, log_line, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")

SOURCE = Source("app.log")


def batch(lines: int, *, line_bytes: int = 10) -> Batch:
    return Batch(SOURCE, 0, 1, (b"x" * (line_bytes - 1) + b"\n") * lines, lines)


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def threads_of_ours() -> list[str]:
    ours = ("producer", "health-monitor", "metrics-reporter", "resolver")
    return [thread.name for thread in threading.enumerate() if thread.name in ours]


# --- the queue ---


def test_the_queue_is_bounded_in_lines(wakeup: Wakeup) -> None:
    queue = BatchQueue(max_lines=10, not_empty=wakeup)
    assert queue.try_put(batch(6), timeout_s=0)
    assert queue.try_put(batch(4), timeout_s=0)
    assert not queue.try_put(batch(1), timeout_s=0)
    assert queue.lines == 10
    queue.try_get()
    assert queue.try_put(batch(6), timeout_s=0)


def test_the_queue_is_bounded_in_bytes(wakeup: Wakeup) -> None:
    queue = BatchQueue(max_lines=1000, max_bytes=100, not_empty=wakeup)
    assert queue.try_put(batch(1, line_bytes=60), timeout_s=0)
    assert not queue.try_put(batch(1, line_bytes=60), timeout_s=0)
    assert queue.try_put(batch(1, line_bytes=40), timeout_s=0)


def test_the_queue_is_bounded_in_batches_that_have_no_lines(wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.client.delivery.batches.batch_queue._MAX_BATCHES", 3)
    queue = BatchQueue(max_lines=10, not_empty=wakeup)
    assert [queue.try_put(batch(0), timeout_s=0) for _ in range(4)] == [True, True, True, False]


def test_while_batches_are_small_the_producer_is_several_of_them_ahead(wakeup: Wakeup) -> None:
    """What each of them costs the consumer beside its lines is then shared."""
    queue = BatchQueue(max_lines=10_000, not_empty=wakeup)
    begin = time.monotonic()
    for _ in range(100):
        assert queue.try_put(batch(1), timeout_s=DEADLINE_S)
    assert time.monotonic() - begin < 5  # a wait for the consumer before each would be 25


def test_an_empty_queue_takes_any_batch(wakeup: Wakeup) -> None:
    queue = BatchQueue(max_lines=10, max_bytes=100, not_empty=wakeup)
    assert queue.try_put(batch(1000), timeout_s=0)
    assert not queue.try_put(batch(1), timeout_s=0)


def test_the_queue_keeps_the_order(wakeup: Wakeup) -> None:
    queue = BatchQueue(max_lines=100, not_empty=wakeup)
    batches = [batch(lines) for lines in (3, 1, 2)]
    for each in batches:
        queue.try_put(each, timeout_s=0)
    assert [queue.try_get() for _ in range(4)] == [*batches, None]
    assert queue.lines == 0


def test_room_wakes_the_one_who_waits_for_it(wakeup: Wakeup) -> None:
    queue = BatchQueue(max_lines=1, not_empty=wakeup)
    queue.try_put(batch(1), timeout_s=0)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(queue.try_put(batch(1), timeout_s=DEADLINE_S)))
    thread.start()
    queue.try_get()
    thread.join(DEADLINE_S)
    assert answers == [True]


def test_without_bounds_what_is_in_hand_still_fits(wakeup: Wakeup) -> None:
    queue = BatchQueue(max_lines=1, not_empty=wakeup)
    queue.try_put(batch(1), timeout_s=0)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(queue.try_put(batch(1), timeout_s=DEADLINE_S)))
    thread.start()
    queue.lift_bounds()
    thread.join(DEADLINE_S)
    assert answers == [True]
    assert queue.lines == 2


@pytest.mark.parametrize(("buffer_size", "lines"), [(1, 1), (3, 1), (4, 1), (1000, 250), (50_000, 12_500)])
def test_a_batch_is_never_more_than_a_part_of_the_buffer(buffer_size: int, lines: int) -> None:
    assert max_batch_lines(buffer_size) == lines


# --- the producer ---


@contextmanager
def producing(
    reader: AnnouncingReader, wakeup: Wakeup, *, poll_interval_s: float = 60.0, max_lines: int = 1000
) -> Iterator[PrefetchingProducer]:
    metrics = Metrics()
    producer = PrefetchingProducer(
        RenderingProducer(reader, metrics=metrics),
        max_lines=max_lines,
        poll_interval_s=poll_interval_s,
        metrics=metrics,
        wakeup=wakeup,
    )
    producer.start()
    try:
        yield producer
    finally:
        producer.stop()
        producer.join()
        reader.close()


def test_announced_changes_wake_the_producer_and_not_the_engine(wakeup: Wakeup) -> None:
    reader = AnnouncingReader()
    with producing(reader, wakeup) as producer:
        assert producer.wake_fds == ()
        for number in range(3):
            reader.grow(log_line(number))
            assert next_batch(producer).payload == numbered_line(number)


def next_batch(producer: PrefetchingProducer) -> Batch:
    """Wait for a batch."""
    found: list[Batch] = []

    def has_come() -> bool:
        found.extend(filter(None, [producer.next_batch()]))
        return bool(found)

    wait_until(has_come, "there is a batch")
    return found[0]


def test_announcements_that_no_check_resets_do_not_make_the_producer_spin(wakeup: Wakeup) -> None:
    reader = AnnouncingReader(is_deaf=True)
    reader.grow(b"")
    with producing(reader, wakeup):
        assert rate_of(lambda: reader.polls, at_least=100) <= 1 / PAUSE_S + 1
        assert reader.reads <= reader.polls + 2


def test_while_the_queue_is_full_announced_changes_do_not_wake_the_producer(wakeup: Wakeup) -> None:
    reader = AnnouncingReader(is_deaf=True, is_endless=True)
    reader.grow(b"")
    with producing(reader, wakeup, poll_interval_s=0.02, max_lines=1):
        wait_until(lambda: reader.reads == 2, "one batch is queued, one is in hand")
        assert rate_of(lambda: reader.polls, at_least=10) <= 1 / 0.02 + 5
        assert reader.reads == 2


def test_a_producer_that_always_has_a_batch_looks_at_the_files_in_between(wakeup: Wakeup) -> None:
    reader = AnnouncingReader(is_endless=True)
    with producing(reader, wakeup, poll_interval_s=0.005) as producer:
        wait_until(lambda: producer.next_batch() and reader.polls >= 3, "it has looked while it was busy")


def test_a_producer_with_nothing_left_waits_until_a_source_is_sent_back_or_the_end(wakeup: Wakeup) -> None:
    reader = AnnouncingReader(is_deaf=True)
    reader.end()
    reader.grow(b"")
    with producing(reader, wakeup, poll_interval_s=0.001) as producer:
        wait_until(lambda: producer.is_finished, "it has nothing left")
        assert reader.polls == 0


def test_a_producer_that_failed_raises_its_error_also_after_a_source_was_sent_back(
    wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = AnnouncingReader()
    monkeypatch.setattr(reader, "read", fails)
    with producing(reader, wakeup) as producer:
        with pytest.raises(RuntimeError, match="cannot read"):
            wait_until(lambda: producer.is_finished, "the thread has failed")
        producer.send_back(batch(1).source, 0, one_by_one_until=0)
        with pytest.raises(RuntimeError, match="cannot read"):
            wait_until(lambda: producer.is_finished, "the failure is still there")


def fails(*_: object, **__: object) -> None:
    raise RuntimeError("cannot read")


# --- the whole ---


def test_a_full_buffer_slows_the_reader_and_never_drops(tmp_path: Path) -> None:
    lines, most_queued = 100_000, 0
    log = append(tmp_path / "app.log", range(lines))

    def slow(talk: Talk) -> None:
        while got := talk.read_lines(1000):
            nonlocal most_queued
            most_queued = max(most_queued, client.metrics.total().gauges.queue_lines)
            talk.ack(len(got))

    with FakeServer(slow, receive_buffer=4096) as server:
        with shipping(log, server.port, resilient=True, buffer_size=1000) as client:
            assert client.result().problems == ()
        assert conservation(range(lines), server.lines) == Conservation()
        assert client.counters.lines_acked == lines
    assert 0 < most_queued <= 1000


@pytest.mark.parametrize("buffer_size", [1, 2, 7])
def test_the_smallest_buffers_deliver_everything(tmp_path: Path, buffer_size: int) -> None:
    log = append(tmp_path / "app.log", range(500))
    with FakeServer(fakes.ack_every_line) as server:
        with shipping(log, server.port, resilient=True, buffer_size=buffer_size) as client:
            client.result()
        assert conservation(range(500), server.lines) == Conservation()


def test_while_the_server_is_away_no_more_is_read_than_fits(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(300_000))  # 23 MB rendered
    with (
        FakeServer(fakes.accept_and_close) as server,
        shipping(log, server.port, resilient=True, buffer_size=50_000, shutdown_timeout=0.1) as client,
    ):
        wait_until(lambda: client.metrics.total().gauges.queue_lines > 37_000, "the buffer is full")
        in_window = 8 * 1024 * 1024 // len(numbered_line(1))
        assert client.counters.lines_read < in_window + 50_000 + 3 * 12_500
        with pytest.raises(DeliveryAbandoned):
            client.stop()


def test_rotations_are_noticed_while_the_queue_is_full_and_the_server_is_away(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(1000))
    may_serve = threading.Event()

    def closed_at_first(talk: Talk) -> None:
        if may_serve.is_set():
            fakes.ack_every_line(talk)

    with FakeServer(closed_at_first) as server:
        with shipping(log, server.port, resilient=True, buffer_size=100, mode="continuous") as client:
            wait_until(lambda: client.counters.reconnects > 0 and client.counters.lines_read > 0, "it has tried")
            for rotation in range(1, 4):
                os.rename(log, tmp_path / f"app.log.{rotation}")
                append(log, range(rotation * 1000, (rotation + 1) * 1000))
                wait_until(lambda: is_open(log), "the new file is held open")
            for rotation in range(1, 4):
                (tmp_path / f"app.log.{rotation}").unlink()
            may_serve.set()
            client.wait_for_acks(4000)
            client.stop()
        assert_conserved(range(4000), server.lines, retried=client.counters.lines_retried)


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    wanted = path.stat()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            status = os.stat(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def test_the_monitor_holds_back_connecting_until_the_server_takes_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[str | None] = ["Connection refused"]
    probes = 0

    def probe(*_: object, **__: object) -> str | None:
        nonlocal probes
        probes += 1
        return answers[0]

    monkeypatch.setattr(resilient_module, "probe_any", probe)
    log = append(tmp_path / "app.log", range(10))
    with (
        FakeServer(fakes.in_turn(fakes.accept_and_close, fakes.ack_every_line)) as server,
        shipping(log, server.port, resilient=True) as client,
    ):
        wait_until(lambda: client.counters.reconnects == 1, "the first connection has failed")
        seen = probes
        wait_until(lambda: probes > seen + 5, "it was probed more than once", deadline_s=30)
        assert len(server.talks) == 1
        answers[0] = None
        client.result()
        assert len(server.talks) == 2


def test_attempts_that_are_counted_are_made_whatever_the_monitor_says(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(10))
    with FakeServer(fakes.accept_and_close) as server:
        port = server.port
    with (
        shipping(log, port, resilient=True, max_attempts=3) as client,
        pytest.raises(DeliveryAbandoned, match="Connection refused; gave up after 3 failures in a row"),
    ):
        client.result()


def test_a_stop_does_not_drop_what_the_producer_has_in_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that was read, but found no room in the queue, must not count as delivered."""
    next_batch, may_take = PrefetchingProducer.next_batch, threading.Event()
    monkeypatch.setattr(
        PrefetchingProducer, "next_batch", lambda producer: next_batch(producer) if may_take.is_set() else None
    )
    log = append(tmp_path / "app.log", range(5))
    with FakeServer(fakes.ack_every_line) as server:
        with shipping(log, server.port, resilient=True, buffer_size=4) as client:
            wait_until(lambda: client.counters.lines_read == 5, "four lines are queued, the fifth waits for room")
            client.request_stop()
            wait_until(lambda: client.metrics.total().gauges.queue_lines == 5, "the fifth is queued too")
            may_take.set()
            assert client.result().problems == ()
        assert conservation(range(5), server.lines) == Conservation()


def test_a_producer_that_fails_ends_the_run_with_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(RenderingProducer, "next_batch", bug)
    log = append(tmp_path / "app.log", range(10))
    with (
        FakeServer(fakes.ack_every_line) as server,
        shipping(log, server.port, resilient=True) as client,
        pytest.raises(RuntimeError, match="a bug"),
    ):
        client.result()


@pytest.mark.parametrize("script", [fakes.ack_every_line, fakes.accept_and_close])
def test_all_threads_have_ended_after_a_run(tmp_path: Path, script: fakes.Script) -> None:
    log = append(tmp_path / "app.log", range(10))
    with FakeServer(script) as server:
        with shipping(log, server.port, resilient=True, max_attempts=2, metrics_interval=0.01) as client:
            wait_until(lambda: client.is_over, "the run is over")
        assert "producer" not in threads_of_ours()
        assert "metrics-reporter" not in threads_of_ours()
        wait_until(lambda: threads_of_ours() == [], "the monitor's last probe is over")


def test_metrics_are_reported_every_interval_in_both_modes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for resilient in (False, True):
        caplog.clear()
        log = append(tmp_path / f"{resilient}.log", range(10))
        with FakeServer(fakes.ack_every_line) as server:
            more = {"resilient": resilient, "mode": "continuous", "metrics_interval": 0.05}
            with shipping(log, server.port, **more) as client:
                wait_until(
                    lambda: sum((acked := reported("acked", caplog.text))[:-1]) == 10 and len(acked) >= 3,
                    "three reports, and all lines in those before the last",
                )
                client.stop()
        assert sum(reported("read", caplog.text)) == 10  # lines read in one interval may be acked in the next
        assert reported("acked", caplog.text)[-1] == 0, "each report is of its own interval"


def reported(what: str, log: str) -> list[int]:
    """Return the number that each metrics report in a log gives."""
    return [int(number) for number in re.findall(rf"metrics: .*?{what} (\d+)", log)]
