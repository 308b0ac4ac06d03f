"""A client that has nothing to send: when it connects, what it asks, and what it sends again. No real time passes."""

import logging
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.output import Guarantee, Located
from logferry.client.delivery.positions.reconciliation import PAGE_INTERVAL_S, PAGE_SOURCES
from logferry.config import ShipSettings
from logferry.errors import DeliveryAbandoned
from logferry.model.source import Source
from logferry.protocol.messages.features import POSITIONS
from tests.support.memory_delivery import MemoryOutput, Run, Stock, answer_all, unreachable
from tests.support.running import numbered_line
from tests.support.shipping import ship_settings

LINES = [numbered_line(number) for number in range(100, 110)]
SIZE = len(LINES[0])
LISTED = frozenset({POSITIONS})


def settings(**changes: Any) -> ShipSettings:
    return ship_settings(Path("app.log"), 1, **({"mode": "continuous", "max_attempts": 0} | changes))


def acked(name: str = "one", *, lines: int = 10, **fields: Any) -> Source:
    shipped = LINES[fields.get("asked_from", 0) // SIZE : lines]
    crc32 = zlib.crc32(b"".join(shipped))
    values: dict[str, Any] = {"committed": lines * SIZE, "lines": lines, "crc32": crc32, "store": "memory", **fields}
    return Source(f"{name}.log", id=name, **values)


def run_for(run: Run, seconds: float) -> None:
    run.time.at(seconds, run.stop.request)
    run.engine.run()


def quiet(*sources: Source, shutdown_timeout: float = 10.0, **more: Any) -> Run:
    """Return an engine whose sources are all acked to their end."""
    run = Run(
        settings(shutdown_timeout=shutdown_timeout),
        dict.fromkeys(sources, LINES),
        is_endless=True,
        **({"features": LISTED} | more),
    )
    run.progress.known = {source.id: source for source in sources}
    return run


# --- when it connects


@pytest.mark.parametrize("guarantee", list(Guarantee))
def test_a_client_that_follows_files_connects_although_they_are_quiet(guarantee: Guarantee) -> None:
    run = quiet(guarantee=guarantee)
    run_for(run, 1.0)
    assert run.observed == [f"connected: {guarantee.value}", "closed"]
    assert run.output.attempts == [1000.0]


def test_a_wrong_address_shows_at_once(caplog: pytest.LogCaptureFixture) -> None:
    run = quiet(acked())
    run.output.behaviours[0] = unreachable()
    run_for(run, 10.0)
    assert run.observed[0] == "failed: cannot connect to memory"
    assert "cannot connect to memory; failure 1 in a row, retrying in 0.5 s" in caplog.text


def test_attempts_without_anything_to_send_count_too() -> None:
    run = Run(settings(max_attempts=3), {}, is_endless=True)
    run.output.behaviours[0] = unreachable()
    with pytest.raises(DeliveryAbandoned, match="gave up after 3 failures in a row"):
        run.engine.run()


def test_a_batch_run_connects_only_when_it_has_something_to_send() -> None:
    run = Run(settings(mode="batch"), {}, features=LISTED)
    run.engine.run()
    assert run.output.attempts == []


def break_off(output: MemoryOutput) -> None:
    """End each connection as soon as it has answered."""
    answer_all(output)
    output.break_off()


def test_a_quiet_client_comes_back_after_its_connection_has_ended_and_not_too_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = quiet(acked())
    run.output.stock["one"] = Stock(10 * SIZE, LINES)
    run.output.behaviours[0] = break_off
    run_for(run, 120.0)
    pauses = [after - before for before, after in zip(run.output.attempts, run.output.attempts[1:], strict=False)]
    assert [round(pause, 1) for pause in pauses[:5]] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert max(pauses) < 31
    assert caplog.records == []  # a server that ends a quiet connection is no failure


@pytest.mark.parametrize("more", [{}, {"guarantee": Guarantee.AT_LEAST_ONCE}])
def test_a_server_that_cannot_say_what_it_has_is_left_alone_until_there_is_something_to_send(more: Any) -> None:
    run = quiet(acked(), features=frozenset(), **more)
    run.output.behaviours[0] = break_off
    run_for(run, 120.0)
    assert len(run.output.attempts) == 1
    assert run.output.asked == []


# --- what it asks


def test_e22_sources_are_asked_about_page_by_page() -> None:
    """Rule E22."""
    sources = [acked(str(number), lines=0) for number in range(2 * PAGE_SOURCES + 100)]
    run = quiet(*sources)
    run_for(run, 3 * PAGE_INTERVAL_S)
    assert [len(page) for page in run.output.asked] == [PAGE_SOURCES, PAGE_SOURCES, 100]
    assert [source_id for page in run.output.asked for source_id in page] == [source.id for source in sources]


def test_a_client_that_has_asked_about_everything_sleeps() -> None:
    run = quiet(acked())
    run.output.stock["one"] = Stock(10 * SIZE, LINES)
    run.producer.patience_s = 1000.0
    run_for(run, 5000.0)
    assert len(run.time.waits) < 10


def test_a_server_that_cannot_read_its_positions_now_is_asked_again_later() -> None:
    """Rule E22."""
    run = quiet(acked())
    run.output.cannot_locate = True
    run_for(run, 70.0)
    assert run.output.asked == [["one"]] * 3
    assert run.producer.sent_back == []


# --- what it sends again


def test_e18_what_a_store_lacks_is_sent_again_once(caplog: pytest.LogCaptureFixture) -> None:
    """Rules E18 and E22."""
    caplog.set_level(logging.INFO)
    one, whole = acked(), acked("whole")
    run = quiet(one, whole)
    run.output.stock |= {"one": Stock(4 * SIZE, LINES[:4]), "whole": Stock(10 * SIZE, LINES)}
    run_for(run, 100.0)
    assert run.producer.sent_back == [("one", 4 * SIZE)]
    assert run.stored(one) == run.stored(whole) == LINES
    assert (one.committed, one.lines) == (10 * SIZE, 10)
    assert run.output.opened_ever == [["one"]]  # the other one is not even opened
    assert f"one.log: memory has only {4 * SIZE} bytes: memory had {10 * SIZE} bytes" in caplog.text
    assert f"memory lacks {6 * SIZE} bytes that were acked before (files: 1)" in caplog.text


def test_e18_another_store_gets_all_of_it_and_is_remembered() -> None:
    """Rules E18 and E22."""
    one, whole = acked(store="other"), acked("whole", store="other")
    run = quiet(one, whole)
    run.output.stock["whole"] = Stock(10 * SIZE, LINES)
    run_for(run, 100.0)
    assert run.stored(one) == LINES
    assert one.store == whole.store == "memory"


def test_a_source_with_new_lines_is_left_to_its_open() -> None:
    one = acked(lines=6)
    run = quiet(one)
    run.output.stock["one"] = Stock(2 * SIZE, LINES[:2])
    run_for(run, 100.0)
    assert run.stored(one) == LINES
    assert run.producer.sent_back == [("one", 2 * SIZE)]


@pytest.mark.parametrize("server", ["", "memory"])
def test_what_the_plain_protocol_shipped_to_this_server_is_not_sent_again(server: str) -> None:
    run = quiet(acked(plain_until=10 * SIZE, plain_server=server, store=""))
    run_for(run, 100.0)
    assert run.producer.sent_back == []


def test_what_the_plain_protocol_shipped_to_another_server_does_not_count() -> None:
    one = acked(plain_until=10 * SIZE, plain_server="elsewhere:9000", store="")
    run = quiet(one)
    run_for(run, 100.0)
    assert run.stored(one) == LINES


def test_what_was_not_asked_for_is_skipped_in_another_store_too() -> None:
    one = acked(asked_from=3 * SIZE, store="other")
    run = quiet(one)
    run_for(run, 100.0)
    assert run.stored(one) == LINES[3:]
    assert run.output.stock["one"].lost == [(0, 3 * SIZE, "not asked for")]


# --- what it does not believe


@pytest.mark.parametrize("store", ["memory", "other"])
def test_a_store_with_other_content_up_to_the_checkpoint_gets_the_file_as_a_new_source(store: str) -> None:
    """A third party that knows the ID of a source has skipped its bytes in the store."""
    one = acked(store=store)
    run = quiet(one)
    run.output.stock["one"] = Stock(10 * SIZE, [])
    run_for(run, 100.0)
    (new,) = run.producer.content
    assert run.stored(new) == LINES
    assert run.producer.sent_back == [("one", 0), ("one", None)]


@pytest.mark.parametrize("committed", [10 * SIZE + 1, 2**62])
def test_a_store_that_has_more_than_the_file_is_not_recorded_as_one_that_has_it(committed: int) -> None:
    one = acked(store="other")
    run = quiet(one)
    run.output.stock["one"] = Stock(committed, LINES)
    run_for(run, 100.0)
    assert one.store == "other"
    assert run.producer.sent_back == []


def test_a_client_that_compares_a_quiet_file_with_what_a_store_has_more_stops_between_two_chunks() -> None:
    """Nobody would wait for a file of many gigabytes, rendered again in the engine's thread."""
    run = quiet(acked(), shutdown_timeout=5.0)
    run.output.stock["one"] = Stock(20 * SIZE, LINES)
    chunks: list[int] = []

    def compare(*_: Any, between: Callable[[], object], **__: Any) -> None:
        for number in range(1000):
            chunks.append(number)
            run.time.now += 1.0
            if number == 10:
                run.stop.request()
            between()

    run.producer.crc32_behind = compare  # type: ignore[method-assign, assignment]
    with pytest.raises(DeliveryAbandoned, match="stopped"):
        run.engine.run()
    assert 10 < len(chunks) < 20


def test_a_position_of_another_content_in_a_store_that_was_set_back_is_noticed_when_the_source_is_opened() -> None:
    """The position itself becomes the checkpoint, so what was acked before has to be remembered."""
    one = acked()
    run = quiet(one)
    run.output.stock["one"] = Stock(4 * SIZE, [])
    run_for(run, 100.0)
    (new,) = run.producer.content
    assert run.stored(new) == LINES


# --- a batch run, before it ends


def run_of(*sources: Source, **more: Any) -> Run:
    """Return a batch run of files that nobody has yet."""
    return Run(settings(mode="batch"), dict.fromkeys(sources, LINES), **({"features": LISTED} | more))


def loses(source_id: str, *, when: int = 10, keeps: int = 4) -> Callable[[MemoryOutput], None]:
    """Answer `when` batches, then end the connection, and go back to fewer lines of a source."""

    def behave(output: MemoryOutput) -> None:
        for opened in list(output.opened):
            output.answer_open(opened)
        for batch in list(output.arrived)[: when - sum(map(len, (each.payloads for each in output.stock.values())))]:
            output.store(batch)
        if sum(len(stock.payloads) for stock in output.stock.values()) >= when:
            output.break_off()
            output.stock[source_id] = Stock(keeps * SIZE, LINES[:keeps])

    return behave


def test_a_batch_run_sends_again_what_the_server_has_lost_of_a_file_that_was_finished(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rules E18 and E22: the server goes back to an older state, and only the next file makes the client reconnect."""
    one, two = Source("one.log", id="one"), Source("two.log", id="two")
    run = run_of(one, two)
    run.output.behaviours.appendleft(loses("one", when=12))
    run.engine.run()
    assert run.stored(one) == run.stored(two) == LINES
    assert run.producer.sent_back == [("one", 4 * SIZE)]
    assert run.output.asked == [["one", "two"]]
    assert f"memory lacks {6 * SIZE} bytes that were acked before (files: 1)" in caplog.text
    assert run.counters.lines_unaccounted == 0
    assert run.counters.lines_stored_before == 0


def test_a_batch_run_that_loses_its_connection_while_it_asks_connects_once_more() -> None:
    one, two = Source("one.log", id="one"), Source("two.log", id="two")
    run = run_of(one, two)

    def ends_when_asked(output: MemoryOutput) -> None:
        answer_all(output)
        if output.asked:
            output.events[:] = [event for event in output.events if not isinstance(event, Located)]
            output.break_off()

    run.output.behaviours.extendleft([ends_when_asked, loses("one", when=12)])
    run.engine.run()
    assert run.stored(one) == run.stored(two) == LINES
    assert len(run.output.asked) == 2
    assert run.output.attempts[-1] - run.output.attempts[-2] >= 0.25  # it backs off


def test_a_batch_run_gives_up_if_the_server_cannot_say_what_it_has() -> None:
    one, two = Source("one.log", id="one"), Source("two.log", id="two")
    run = Run(settings(mode="batch", max_attempts=3), dict.fromkeys((one, two), LINES), features=LISTED)
    run.output.behaviours.appendleft(loses("one", when=12))
    run.output.cannot_locate = True
    with pytest.raises(DeliveryAbandoned, match=r"cannot say now what it has.*the server was not asked what it has"):
        run.engine.run()


def test_a_batch_run_with_one_connection_asks_nothing() -> None:
    one, two = Source("one.log", id="one"), Source("two.log", id="two")
    run = run_of(one, two)
    run.engine.run()
    assert run.output.asked == []
