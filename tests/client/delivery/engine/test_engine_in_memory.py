"""The delivery engine between a producer and an output in memory: no socket, no file, no time that passes by itself."""

import logging
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.engine import engine
from logferry.client.delivery.output import (
    BatchRejected,
    Guarantee,
    LineRejected,
    OutputLimits,
    Stored,
)
from logferry.client.delivery.positions.resume import StoredRanges
from logferry.config import ShipSettings
from logferry.errors import DeliveryAbandoned
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.messages.reports import Extent, RecordedLoss
from tests.support.memory_delivery import (
    STALL_S,
    MemoryOutput,
    Run,
    Stock,
    answer_all,
    answer_nothing,
    answer_then_break,
    unreachable,
)
from tests.support.running import numbered_line
from tests.support.shipping import ship_settings

LINES = [numbered_line(number) for number in range(100, 200)]
SIZE = len(LINES[0])

GUARANTEES = pytest.mark.parametrize("guarantee", list(Guarantee), ids=lambda guarantee: guarantee.name.lower())


def settings(**changes: Any) -> ShipSettings:
    return ship_settings(Path("app.log"), 1, **({"mode": "continuous", "max_attempts": 0} | changes))


def source(name: str = "one", **fields: Any) -> Source:
    return Source(f"{name}.log", id=name, **fields)


def stock_of(lines: Sequence[bytes], *, committed: int | None = None) -> Stock:
    return Stock(sum(map(len, lines)) if committed is None else committed, list(lines))


def crc32_of(lines: Sequence[bytes]) -> int:
    return zlib.crc32(b"".join(lines))


# --- the window and the order ---


@GUARANTEES
def test_every_line_is_submitted_once_in_order_and_the_checkpoint_follows(guarantee: Guarantee) -> None:
    one = source()
    run = Run(settings(), {one: LINES}, lines_per_batch=7, guarantee=guarantee)
    run.engine.run()
    assert run.stored(one) == LINES
    assert one.committed == 100 * SIZE
    assert (run.counters.lines_shipped, run.counters.lines_acked, run.counters.lines_retried) == (100, 100, 0)
    assert run.observed == [f"connected: {guarantee.value}", "closed"]
    if guarantee is Guarantee.EXACTLY_ONCE:
        assert (one.lines, one.crc32, one.plain_until) == (100, crc32_of(LINES), 0)
    else:
        assert one.plain_until == one.committed


def test_a_source_is_known_on_disk_before_the_output_has_anything_of_it() -> None:
    content = {source(name): LINES[:3] for name in "abc"}
    run = Run(settings(), content)
    run.engine.run()
    for each in content:
        of_source = [what for what, source_id in run.output.happened if source_id == each.id]
        assert of_source == ["registered", "submitted", "submitted", "submitted"]


def test_the_price_of_knowing_many_sources_is_shared() -> None:
    run = Run(settings(), {source(f"s{number}"): [LINES[0]] for number in range(100)})
    run.engine.run()
    assert sum(map(len, run.progress.registered)) == 100
    assert len(run.progress.registered) == 1


@GUARANTEES
def test_no_more_is_taken_than_fits_into_the_window(guarantee: Guarantee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WINDOW_BYTES", 10 * (SIZE + 512))
    run = Run(settings(shutdown_timeout=0.0), {source(): LINES}, guarantee=guarantee)
    run.output.behaviours[0] = answer_nothing
    run.time.at(5.0, run.stop.request)
    with pytest.raises(DeliveryAbandoned, match="stopped; 10 lines in flight are not acked after 0 s"):
        run.engine.run()
    assert len(run.output.connections[0]) == 10


@GUARANTEES
def test_an_output_that_is_full_gets_the_rest_when_it_has_room(guarantee: Guarantee) -> None:
    one = source()
    run = Run(settings(), {one: LINES}, guarantee=guarantee, room=3)
    run.engine.run()
    assert run.stored(one) == LINES
    assert [len(connection) for connection in run.output.connections] == [100]


def test_a_checkpoint_waits_for_the_batches_before_it_and_not_for_those_of_other_sources() -> None:
    slow, quick = source("slow"), source("quick")
    seen: list[tuple[int, int]] = []

    def backwards(output: MemoryOutput) -> None:
        answer_nothing(output)
        if len(output.arrived) == 6:
            for batch in reversed([batch for batch in output.arrived if batch.source is slow][1:]):
                output.arrived.remove(batch)
                output.events.append(Stored(batch, batch.lines))
            for batch in [batch for batch in output.arrived if batch.source is quick]:
                output.store(batch)
        elif len(output.arrived) == 1:
            seen.append((slow.committed, quick.committed))
            output.store(output.arrived[0])

    run = Run(settings(), {slow: LINES[:3], quick: LINES[:3]})
    run.output.behaviours[0] = backwards
    run.engine.run()
    assert seen == [(0, 3 * SIZE)]
    assert slow.committed == 3 * SIZE


# --- broken connections ---


@GUARANTEES
def test_after_a_break_exactly_what_is_not_stored_is_submitted_again(guarantee: Guarantee) -> None:
    """Rule C2."""
    one = source()
    run = Run(settings(), {one: LINES}, guarantee=guarantee)
    run.output.behaviours.extendleft([answer_then_break(20), answer_then_break(30)])
    run.engine.run()
    assert run.stored(one) == LINES
    assert [connection[0].start // SIZE for connection in run.output.connections] == [0, 30, 50]
    assert run.counters.lines_retried == (100 - 30) + (100 - 50)
    assert run.counters.reconnects == 2
    failure = "failed: the server closed the connection"
    connected = f"connected: {guarantee.value}"
    assert run.observed == [connected, "closed", failure] * 2 + [connected, "closed"]


def test_a_batch_that_never_left_does_not_count_as_sent_again() -> None:
    def break_off_in_the_middle(output: MemoryOutput) -> None:
        answer_nothing(output)
        if output.arrived:
            output.break_off()

    run = Run(settings(), {source(): LINES[:10]}, room=4)
    run.output.behaviours.appendleft(break_off_in_the_middle)
    run.engine.run()
    assert (run.counters.lines_shipped, run.counters.lines_retried) == (10, 4)


def test_a_part_of_a_batch_that_is_stored_is_not_submitted_again() -> None:
    """Rule C2: with line acks a batch is answered line by line."""
    one = source()

    def half(output: MemoryOutput) -> None:
        if output.arrived:
            output.stock[one.id] = stock_of(LINES[:6])
            output.events.append(Stored(output.arrived[0], 6))
            output.break_off()

    run = Run(settings(), {one: LINES[:10]}, lines_per_batch=10, guarantee=Guarantee.AT_LEAST_ONCE)
    run.output.behaviours.appendleft(half)
    run.engine.run()
    assert run.stored(one) == LINES[:10]
    assert run.counters.lines_retried == 4


def test_failures_in_a_row_are_waited_after_for_longer_and_longer_and_an_answer_ends_the_row() -> None:
    """Rule C6."""
    run = Run(settings(backoff_max=3.0), {source(): LINES[:5]})
    refused = [unreachable() for _ in range(4)]
    run.output.behaviours.extendleft([*refused[:1], answer_then_break(1), *refused])
    run.engine.run()
    attempts = run.output.attempts
    pauses = [round(after - before, 2) for before, after in pairwise(attempts)]
    assert pauses == [0.5, 1.0, 2.0, 3.0, 0.5, 1.0]


def test_an_output_that_cannot_be_reached_is_given_up_after_so_many_attempts() -> None:
    run = Run(settings(max_attempts=3), {source(): LINES[:5]})
    run.output.behaviours[0] = unreachable()
    with pytest.raises(
        DeliveryAbandoned, match="cannot connect to memory; gave up after 3 failures in a row, 5 lines in flight"
    ):
        run.engine.run()
    assert len(run.output.attempts) == 3


def test_a_connection_that_ends_while_nothing_is_in_flight_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    one = source()

    def close_when_idle(output: MemoryOutput) -> None:
        answer_all(output)
        if one.committed == 5 * SIZE:
            output.break_off()

    run = Run(settings(), {one: LINES[:5]}, is_endless=True)
    run.output.behaviours[0] = close_when_idle
    run.time.at(1.0, run.stop.request)
    run.engine.run()
    assert run.observed == ["connected: exactly once", "closed"]
    assert run.counters.reconnects == 0
    assert caplog.records == []


def test_a_stall_ends_the_connection_and_the_next_one_delivers() -> None:
    """Rule C5."""
    one = source()
    run = Run(settings(), {one: LINES[:5]})
    run.output.behaviours.appendleft(answer_nothing)
    run.engine.run()
    assert run.stored(one) == LINES[:5]
    assert run.output.attempts[1] - run.output.attempts[0] == pytest.approx(STALL_S + 0.5, abs=0.1)
    assert "failed: no ack and no progress" in run.observed


def test_a_gate_holds_back_the_next_connection() -> None:
    class Gate:
        failures = 0
        asked = 0

        def connection_failed(self) -> None:
            self.failures += 1

        def stalled(self, reason: str) -> None:
            raise AssertionError("nothing was withheld")

        def may_connect(self) -> bool:
            self.asked += 1
            return self.asked > 7

    gate = Gate()
    run = Run(settings(poll_interval=1.0), {source(): LINES[:5]}, gate=gate)
    run.output.behaviours.appendleft(unreachable())
    run.engine.run()
    assert gate.failures == 1
    assert gate.asked == 8
    assert run.output.attempts[1] - run.output.attempts[0] >= 7


# --- refusals ---


def test_a_line_that_is_refused_is_counted_and_passed_over() -> None:
    """Rule C3."""
    one = source()

    def refuse_second(output: MemoryOutput) -> None:
        if output.arrived:
            (batch,) = output.arrived
            output.events += [Stored(batch, 1), LineRejected(batch, LINES[1], "no"), Stored(batch, 8)]
            output.arrived.clear()

    run = Run(settings(), {one: LINES[:10]}, lines_per_batch=10, guarantee=Guarantee.AT_LEAST_ONCE)
    run.output.behaviours[0] = refuse_second
    run.engine.run()
    assert (run.counters.lines_acked, run.counters.lines_rejected) == (9, 1)
    assert one.committed == 10 * SIZE


def test_a_line_that_is_given_up_is_progress_and_the_next_one_does_not_wait_for_it() -> None:
    one = source()

    def refuse_lines(output: MemoryOutput) -> None:
        answer_nothing(output)
        for batch in list(output.arrived):
            if batch.lines:
                output.events.append(BatchRejected(one.id, output.stock[one.id].committed, "bad", is_final=True))
                return
            output.store(batch)

    run = Run(settings(), {one: LINES[:20]}, lines_per_batch=20)
    run.output.behaviours[0] = refuse_lines
    run.engine.run()
    assert run.counters.lines_rejected == len(run.output.stock[one.id].lost) == 20
    assert set(run.output.attempts) == {run.output.attempts[0]}


def test_lines_that_are_larger_than_the_server_accepts_do_not_wait_for_each_other() -> None:
    """The client knows that without an answer, so no answer says that a source has got further."""
    one = source()
    run = Run(settings(), {one: LINES[:20]}, limits=OutputLimits(max_batch_bytes=SIZE - 1))
    run.engine.run()
    assert run.counters.lines_rejected == len(run.output.stock[one.id].lost) == 20
    assert set(run.output.attempts) == {run.output.attempts[0]}


def test_of_a_batch_that_is_refused_for_good_only_the_bad_line_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """Rule E11."""
    one = source()

    def refuse(output: MemoryOutput) -> None:
        answer_nothing(output)
        for batch in list(output.arrived):
            if LINES[13] in batch.payload:
                output.events.append(BatchRejected(one.id, output.stock[one.id].committed, "bad", is_final=True))
                return
            output.store(batch)

    run = Run(settings(), {one: LINES[:30]}, lines_per_batch=10)
    run.output.behaviours[0] = refuse
    run.engine.run()
    assert run.stored(one) == LINES[:13] + LINES[14:30]
    assert run.output.stock[one.id].lost == [(13 * SIZE, 14 * SIZE, "refused by the server: bad")]
    assert (run.counters.lines_acked, run.counters.lines_rejected, run.counters.reconnects) == (29, 1, 0)
    assert [message for message in caplog.messages if "refused a line (bad)" in message] != []


def test_a_batch_without_lines_that_is_refused_for_good_counts_as_a_failure() -> None:
    """A server that refuses even the skip of a line must not make the client reconnect without a pause."""
    one = source()

    def refuse(output: MemoryOutput) -> None:
        answer_nothing(output)
        output.events += [BatchRejected(one.id, 0, "bad", is_final=True) for _ in list(output.arrived)[:1]]

    run = Run(settings(max_attempts=3), {one: LINES[:1]})
    run.output.behaviours[0] = refuse
    with pytest.raises(DeliveryAbandoned, match="the server refused a batch: bad; gave up after 3 failures in a row"):
        run.engine.run()


def test_a_batch_that_is_larger_than_the_output_takes_is_sent_line_by_line() -> None:
    one = source()
    run = Run(settings(), {one: LINES[:20]}, lines_per_batch=10, limits=OutputLimits(max_batch_bytes=5 * SIZE))
    run.engine.run()
    assert run.stored(one) == LINES[:20]
    assert run.counters.reconnects == 0


def test_a_refusal_that_is_not_final_goes_back_to_where_the_output_is() -> None:
    """Rule E10."""
    one = source()

    def lose_some(output: MemoryOutput) -> None:
        answer_nothing(output)
        for batch in list(output.arrived)[:5]:
            output.store(batch)
        if output.arrived:
            output.stock[one.id] = stock_of(LINES[:4])  # restored from a backup
            output.store(output.arrived[0])

    run = Run(settings(), {one: LINES[:12]}, lines_per_batch=2)
    run.output.behaviours.appendleft(lose_some)
    run.engine.run()
    assert run.stored(one) == LINES[:12]
    assert run.producer.sent_back == [("one", 4 * SIZE)]
    assert run.counters.reconnects == 1


# --- positions ---


@pytest.mark.parametrize("stored", [0, 3, 5, 8, 10])
def test_a_source_goes_on_where_the_output_has_it(stored: int) -> None:
    """Rules E17 and E18."""
    one = source(committed=5 * SIZE, lines=5, crc32=crc32_of(LINES[:5]))
    run = Run(settings(), {one: LINES[:10]})
    stock = run.output.stock[one.id] = stock_of(LINES[:stored])
    run.engine.run()
    assert stock.data == b"".join(LINES[:10])
    assert (one.committed, one.lines, one.crc32) == (10 * SIZE, 10, crc32_of(LINES[:10]))
    assert run.producer.sent_back == ([("one", stored * SIZE)] if stored < 5 else [])


def test_a_file_whose_content_the_output_does_not_have_is_a_new_source(caplog: pytest.LogCaptureFixture) -> None:
    """Rule E17."""
    one = source()
    run = Run(settings(), {one: LINES[:10]})
    run.output.stock[one.id] = stock_of(LINES[50:58])
    run.engine.run()
    (new,) = run.producer.content
    assert run.stored(new) == LINES[:10]
    assert run.stored(one) == LINES[50:58]
    assert "is not the file that the server knows as one" in caplog.text


def test_what_an_earlier_run_has_passed_over_is_found_in_the_extents() -> None:
    one = source()
    held = [LINES[0], *LINES[2:5]]  # line 1 was refused
    pieces = [(0, SIZE, LINES[:1]), (2 * SIZE, 5 * SIZE, LINES[2:5])]
    extents = [Extent(start, end, len(lines), crc32_of(lines), "ok", "x") for start, end, lines in pieces]
    ranges = StoredRanges(extents, [RecordedLoss(SIZE, 2 * SIZE, "refused by the server: no")])
    run = Run(settings(), {one: LINES[:10]}, stored_ranges={one.id: ranges})
    run.output.stock[one.id] = stock_of(held, committed=5 * SIZE)
    run.engine.run()
    assert run.stored(one) == [*held, *LINES[5:10]]
    assert [each.id for each in run.producer.content] == [one.id]


def test_what_was_shipped_without_positions_is_said_to_be_elsewhere() -> None:
    one = source(committed=5 * SIZE, plain_until=5 * SIZE)
    run = Run(settings(), {one: LINES[:10]})
    run.engine.run()
    assert run.stored(one) == LINES[5:10]
    assert run.output.stock[one.id].lost == [(0, 5 * SIZE, "shipped by the plain protocol before")]


def test_a_source_whose_open_is_not_answered_holds_back_no_other() -> None:
    """Rule E4."""
    silent, other = source("silent"), source("other")
    seen: list[int] = []

    def ignore_one(output: MemoryOutput) -> None:
        if other.id in output.opened:
            output.answer_open(other.id)
        for batch in list(output.arrived):
            output.store(batch)
        if len(run.output.stock.get(other.id, stock_of([])).payloads) == 10 and silent.id in output.opened:
            seen.append(other.committed)
            if len(seen) > 2:
                output.answer_open(silent.id)

    run = Run(settings(), {silent: LINES[:10], other: LINES[:10]})
    run.output.behaviours[0] = ignore_one
    run.engine.run()
    assert 10 * SIZE in seen
    assert run.stored(silent) == run.stored(other) == LINES[:10]


def test_when_a_connection_may_open_no_more_sources_another_one_begins() -> None:
    """Rule E4."""
    content = {source(f"s{number}"): LINES[:3] for number in range(5)}
    run = Run(settings(), content, limits=OutputLimits(max_sources=2))
    run.engine.run()
    assert [len(opened) for opened in run.output.opened_ever] == [2, 2, 1]
    assert all(run.stored(each) == LINES[:3] for each in content)
    assert run.counters.reconnects == 0
    assert run.counters.lines_retried == 0


# --- the end ---


def test_a_deadline_ends_the_run() -> None:
    run = Run(settings(deadline=10.0), {source(): LINES[:5]})
    run.output.behaviours[0] = answer_nothing
    with pytest.raises(DeliveryAbandoned, match="the deadline of 10 s has passed; 5 lines in flight are not acked"):
        run.engine.run()
    assert run.time.now == 1010.0


def test_a_stop_waits_for_what_is_in_flight() -> None:
    one = source()

    def answer_later(output: MemoryOutput) -> None:
        answer_nothing(output)
        if run.time.now >= 1003.0:
            answer_all(output)

    run = Run(settings(shutdown_timeout=5.0), {one: LINES[:5]}, is_endless=True)
    run.output.behaviours[0] = answer_later
    run.time.at(1.0, run.stop.request)
    run.engine.run()
    assert run.stored(one) == LINES[:5]


def test_a_stop_ends_while_the_output_is_away() -> None:
    run = Run(settings(shutdown_timeout=5.0), {source(): LINES[:5]})
    run.output.behaviours[0] = unreachable()
    run.time.at(100.0, run.stop.request)
    with pytest.raises(DeliveryAbandoned, match="stopped; 5 lines in flight are not acked after 5 s of waiting"):
        run.engine.run()
    assert run.time.now == 1105.0


def test_where_nobody_answers_the_end_is_awaited() -> None:
    """Rule C7."""
    run = Run(settings(), {source(): LINES[:5]}, guarantee=Guarantee.BEST_EFFORT)
    run.output.finish_takes_s = 7.0
    run.engine.run()
    assert run.time.now >= 1007.0


def test_where_nobody_answers_a_break_at_the_end_is_no_success() -> None:
    """Rule C7."""
    run = Run(settings(), {source(): LINES[:5]}, guarantee=Guarantee.BEST_EFFORT)
    run.output.finish_takes_s = 7.0
    run.output.fails_at_finish = True
    with pytest.raises(DeliveryAbandoned, match="the server closed the connection"):
        run.engine.run()


def test_a_run_with_nothing_to_deliver_never_connects() -> None:
    run = Run(settings(), {source(): []})
    run.engine.run()
    assert run.output.attempts == []


def test_batches_without_lines_move_the_checkpoint_and_count_as_no_answer() -> None:
    blank = source()
    run = Run(settings(), {blank: []})
    batches = [Batch(blank, 0, 10), Batch(blank, 10, 20)]
    run.producer.next_batch = lambda: batches.pop(0) if batches else None  # type: ignore[method-assign]
    run.producer._is_endless = True
    run.time.at(1.0, run.stop.request)
    run.engine.run()
    assert blank.committed == 20
    assert run.counters.lines_acked == 0


def refuse_all(output: MemoryOutput) -> None:
    """Refuse the first batch of each connection for good."""
    answer_nothing(output)
    if output.arrived:
        batch = output.arrived[0]
        output.events.append(BatchRejected(batch.source.id, batch.start, "no", is_final=True))


def test_a_server_that_refuses_every_line_is_not_connected_to_a_thousand_times_a_second() -> None:
    one = source()
    run = Run(settings(mode="batch"), {one: LINES[:50] * 4})
    store_skips = run.output.store

    def behave(output: MemoryOutput) -> None:
        for batch in [batch for batch in output.arrived if batch.lost]:
            store_skips(batch)
        refuse_all(output)

    run.output.behaviours[0] = behave
    run.engine.run()
    assert run.counters.lines_rejected == 200
    assert len(run.output.attempts) >= 200
    pauses = [round(after - before, 3) for before, after in pairwise(run.output.attempts)]
    assert pauses[:100] == [0.0] * 100
    assert all(0.005 <= pause <= 0.01 for pause in pauses[110:])
