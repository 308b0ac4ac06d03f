"""The delivery engine against receivers that follow a script: window, acks, resend, limits, end."""

import itertools
import json
import logging
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import DeliveryAbandoned
from logferry.model.render_spec import PLAIN, RenderSpec
from logferry.protocol.messages.writing import answer_line
from logferry.protocol.plain.acks import ACK_OK, error_ack
from tests.support import fakes
from tests.support.fakes import FakeServer, Talk
from tests.support.running import DEADLINE_S, numbered_line, wait_until
from tests.support.shipping import Conservation, append, assert_conserved, conservation, log_line, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")


def rendered(numbers: range) -> list[bytes]:
    return [numbered_line(number) for number in numbers]


def test_every_line_is_sent_once_and_in_order(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(1000))
    with FakeServer(fakes.ack_every_line) as server, shipping(log, server.port) as client:
        assert client.result().problems == ()
        assert server.lines == rendered(range(1000))
        assert client.counters.lines_acked == client.counters.lines_shipped == 1000
        assert client.counters.lines_retried == 0


def test_by_default_many_lines_are_in_flight_before_the_first_ack(tmp_path: Path) -> None:
    """Rule C1."""

    def ack_all_after_the_last(talk: Talk) -> None:
        talk.ack(len(talk.read_lines(1000)))

    log = append(tmp_path / "app.log", range(1000))
    with FakeServer(ack_all_after_the_last) as server, shipping(log, server.port) as client:
        assert client.result().problems == ()
        assert server.lines == rendered(range(1000))


def test_acks_may_come_in_pieces_of_any_size(tmp_path: Path) -> None:
    sizes = (random.Random(7).randint(1, 130) for _ in itertools.count())
    log = append(tmp_path / "app.log", range(2100))
    with FakeServer(fakes.ack_in_pieces(sizes, lines_at_once=7)) as server, shipping(log, server.port) as client:
        client.result()
        assert client.counters.lines_acked == 2100
        assert server.lines == rendered(range(2100))


def test_after_a_break_exactly_the_unanswered_lines_are_sent_again(tmp_path: Path) -> None:
    """Rule C2."""
    log = append(tmp_path / "app.log", range(500))
    script = fakes.in_turn(fakes.ack_then_reset(123), fakes.ack_then_reset(77), fakes.ack_every_line)
    with FakeServer(script) as server, shipping(log, server.port) as client:
        client.result()
        first, second, third = (talk.lines for talk in server.talks)
        assert first == rendered(range(123))
        assert second == rendered(range(123, 200))
        assert third == rendered(range(200, 500))
        assert client.counters.lines_retried == (500 - 123) + (500 - 200)
        assert client.counters.reconnects == 2


def test_acks_that_came_before_a_reset_count(tmp_path: Path) -> None:
    """A server that stops acks what it has, and resets because it has not read the rest."""
    answered = 1000  # their acks fit into the socket's buffer, else the reset would overtake some

    def ack_late_then_reset(talk: Talk) -> None:
        talk.read_lines(answered)
        talk.stay_until_told()
        talk.ack(answered)
        talk.reset()

    log = append(tmp_path / "app.log", range(60_000))
    script = fakes.in_turn(ack_late_then_reset, fakes.ack_every_line)
    with FakeServer(script) as server, shipping(log, server.port) as client:
        wait_until(lambda: server.talks and len(server.talks[0].lines) == answered, "the lines have come")
        server.may_end.set()
        client.result()
        assert server.talks[1].lines == rendered(range(answered, 60_000))


def test_an_error_ack_rejects_its_line_and_delivery_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rule C3."""
    log = append(tmp_path / "app.log", range(100))
    refused = {numbered_line(3), numbered_line(50)}
    with FakeServer(fakes.refuse(refused.__contains__, "out of cheese")) as server:
        with shipping(log, server.port) as client:
            assert client.result().problems == ("2 lines were refused by the server",)
        assert server.lines == rendered(range(100))
        assert (client.counters.lines_acked, client.counters.lines_rejected) == (98, 2)
    told = [message for message in caplog.messages if "out of cheese" in message]
    assert len(told) == 2
    assert "line 3" in told[0]
    assert "line 50" in told[1]


def test_refusals_by_the_thousand_fill_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = append(tmp_path / "app.log", range(1000))
    with FakeServer(fakes.refuse(lambda _: True)) as server, shipping(log, server.port) as client:
        assert client.result().problems == ("1000 lines were refused by the server",)
    *messages, rest = [message for message in caplog.messages if "refused" in message]
    assert (len(messages), "990" in rest) == (10, True)


def test_an_error_that_answers_nothing_rejects_nothing(tmp_path: Path) -> None:
    """Some servers say why they close. No line is in flight on that connection, so none may be lost by it."""

    def complain(talk: Talk) -> None:
        talk.read_lines(10)
        talk.ack(10)
        talk.say(error_ack("closing, you are idle"))
        talk.stay_until_told()

    log = append(tmp_path / "app.log", range(10))
    script = fakes.in_turn(complain, fakes.ack_every_line)
    with FakeServer(script) as server, shipping(log, server.port, mode="continuous") as client:
        client.wait_for_acks(10)
        append(log, range(10, 20))
        client.wait_for_acks(20)
        assert client.stop().problems == ()
        assert_conserved(range(20), server.lines, retried=client.counters.lines_retried)


def test_a_line_that_is_refused_before_it_has_come_whole_holds_nothing_up(tmp_path: Path) -> None:
    """Larger than all buffers, and refused at its beginning: its rest must go out, though nobody waits for it."""
    log = append(tmp_path / "app.log", [0])
    with log.open("ab") as file:
        file.write(b"x" * 12 * 1024 * 1024 + b"\n" + log_line(1))

    def refuse_early(talk: Talk) -> None:
        talk.read_line()
        talk.ack()
        wait_until(talk.has_more, "the long line has begun")
        talk.say(error_ack("too long"))
        talk.read_lines(2)
        talk.ack()

    with FakeServer(refuse_early) as server:
        with shipping(log, server.port, max_line_bytes=16 * 1024 * 1024) as client:
            assert client.result().problems == ("1 lines were refused by the server",)
        assert [server.lines[0], server.lines[2]] == rendered(range(2))


def test_a_receiver_that_refuses_a_line_and_reads_no_further_is_given_up(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"x" * 12 * 1024 * 1024 + b"\n" + log_line(1))

    def refuse_and_stay(talk: Talk) -> None:
        talk.read()
        talk.say(error_ack("too long"))
        talk.stay_until_told()

    with FakeServer(fakes.in_turn(refuse_and_stay, refuse_and_stay, fakes.ack_every_line)) as server:
        with shipping(log, server.port, max_line_bytes=16 * 1024 * 1024, ack_timeout=0.3) as client:
            assert client.result().problems == ("1 lines were refused by the server",)
        assert server.lines == [numbered_line(1)]


def test_more_acks_than_lines_end_the_connection_and_count_for_nothing(tmp_path: Path) -> None:
    """Rules C4 and C9."""

    def ack_twice(talk: Talk) -> None:
        talk.read_lines(10)
        talk.ack(20)
        talk.stay_until_told()

    log = append(tmp_path / "app.log", range(10))
    script = fakes.in_turn(ack_twice, fakes.ack_every_line)
    with FakeServer(script) as server, shipping(log, server.port, mode="continuous") as client:
        client.wait_for_acks(10)
        append(log, range(10, 30))
        client.wait_for_acks(30)
        client.stop()
        assert_conserved(range(30), server.lines, retried=10)
        assert (len(server.talks), client.counters.lines_retried) == (2, 10)


@pytest.mark.parametrize("script", [fakes.answer_rubbish, fakes.half_an_ack, fakes.accept_and_close, fakes.swallow])
def test_a_receiver_that_answers_no_line_is_given_up_after_so_many_attempts(
    tmp_path: Path, script: fakes.Script
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with FakeServer(script) as server, shipping(log, server.port, max_attempts=3, ack_timeout=0.1) as client:
        with pytest.raises(
            DeliveryAbandoned, match="gave up after 3 failures in a row, 10 lines in flight are not acked"
        ):
            client.result()
        wait_until(lambda: len(server.talks) == 3, "the receiver, slower than the client, has seen all three")
        assert client.counters.lines_acked == 0


def test_an_ack_starts_the_count_of_attempts_anew(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(10))
    with FakeServer(fakes.ack_then_reset(1)) as server, shipping(log, server.port, max_attempts=2) as client:
        client.result()
        assert server.lines == rendered(range(10))


@pytest.mark.parametrize("resilient", [False, True])
def test_basic_batch_mode_gives_up_by_itself_and_resilient_mode_does_not(tmp_path: Path, resilient: bool) -> None:
    def close_many_times(talk: Talk) -> None:
        if talk.number > 7:
            fakes.ack_every_line(talk)

    log = append(tmp_path / "app.log", range(10))
    with FakeServer(close_many_times) as server, shipping(log, server.port, resilient=resilient) as client:
        if resilient:
            client.result()
            assert_conserved(range(10), server.lines)
        else:
            with pytest.raises(DeliveryAbandoned, match="5 failures"):
                client.result()


def test_no_ack_within_the_limit_ends_the_connection_and_the_next_one_delivers(tmp_path: Path) -> None:
    """Rule C5."""
    log = append(tmp_path / "app.log", range(10))
    script = fakes.in_turn(fakes.swallow, fakes.ack_every_line)
    with FakeServer(script) as server, shipping(log, server.port, ack_timeout=0.1) as client:
        client.result()
        assert [len(talk.lines) for talk in server.talks] == [10, 10]
        assert client.counters.lines_retried == 10


def test_sending_more_is_no_sign_of_life_of_a_receiver_that_never_acks(tmp_path: Path) -> None:
    """Rule C5."""
    log = append(tmp_path / "app.log", range(1))
    script = fakes.in_turn(fakes.swallow, fakes.ack_every_line)
    with FakeServer(script) as server:
        with shipping(log, server.port, mode="continuous", ack_timeout=0.3, poll_interval=0.01) as client:
            numbers = itertools.count(1)
            # A new line every few milliseconds, for as long as it takes: the file is never quiet for the ack timeout.
            wait_until(lambda: (append(log, [next(numbers)]), len(server.talks) > 1)[1], "it connects again")
            sent = next(numbers)
            client.wait_for_acks(sent)
            client.stop()
        assert_conserved(range(sent), server.lines, retried=client.counters.lines_retried)


def test_an_ack_that_is_slow_but_within_the_limit_is_waited_for(tmp_path: Path) -> None:
    def one_ack_at_a_time(talk: Talk) -> None:
        talk.read_lines(10)
        for _ in range(10):
            threading.Event().wait(0.05)
            talk.ack()

    log = append(tmp_path / "app.log", range(10))
    with FakeServer(one_ack_at_a_time) as server, shipping(log, server.port, ack_timeout=0.3) as client:
        client.result()  # 0.5 s in all, longer than the limit for one ack
        assert len(server.talks) == 1


def test_the_deadline_ends_an_unfinished_run(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(10))
    with (
        FakeServer(fakes.swallow) as server,
        shipping(log, server.port, deadline=0.2) as client,
        pytest.raises(DeliveryAbandoned, match=r"deadline of 0.2 s has passed; 10 lines in flight are not acked"),
    ):
        client.result()


def test_a_stop_waits_for_the_acks_of_what_was_read(tmp_path: Path) -> None:
    def ack_when_told(talk: Talk) -> None:
        talk.read_lines(100)
        talk.stay_until_told()
        talk.ack(100)

    log = append(tmp_path / "app.log", range(100))
    with FakeServer(ack_when_told) as server, shipping(log, server.port, mode="continuous") as client:
        wait_until(lambda: len(server.lines) == 100, "all lines are in flight")
        client.request_stop()
        append(log, range(100, 110))
        server.may_end.set()
        assert client.result().problems == ()
        assert client.counters.lines_acked == client.counters.lines_read == 100


def test_a_stop_ends_after_its_limit_when_no_acks_come(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(100))
    with (
        FakeServer(fakes.swallow) as server,
        shipping(log, server.port, mode="continuous", shutdown_timeout=0.1) as client,
    ):
        wait_until(lambda: len(server.lines) == 100, "all lines are in flight")
        with pytest.raises(DeliveryAbandoned, match="stopped; 100 lines in flight are not acked"):
            client.stop()


def test_a_stop_without_patience_is_clean_when_nothing_is_in_flight(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(10))
    with (
        FakeServer(fakes.ack_every_line) as server,
        shipping(log, server.port, mode="continuous", shutdown_timeout=0.0) as client,
    ):
        client.wait_for_acks(10)
        assert client.stop().problems == ()


def test_a_stop_in_the_middle_of_a_batch_run_is_no_success(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(400_000))  # more than a window holds
    with FakeServer(fakes.never_read) as server, shipping(log, server.port, shutdown_timeout=0.1) as client:
        wait_until(lambda: client.counters.lines_shipped > 0, "it has begun")
        with pytest.raises(DeliveryAbandoned):
            client.stop()


def test_a_connection_that_was_closed_while_idle_is_replaced_without_complaint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = append(tmp_path / "app.log", range(10))

    def ten_then_close(talk: Talk) -> None:
        talk.read_lines(10)
        talk.ack(10)

    with FakeServer(ten_then_close) as server, shipping(log, server.port, mode="continuous") as client:
        for start in range(0, 50, 10):
            client.wait_for_acks(start + 10)
            wait_until(lambda: server.talks[-1].is_over, "the server has closed")
            append(log, range(start + 10, start + 20))
        client.wait_for_acks(60)
        client.stop()
        assert_conserved(range(60), server.lines, retried=client.counters.lines_retried)
    # A line that was sent into a connection that had just been closed counts as a failure; waiting ones do not.
    assert client.counters.lines_rejected == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_no_deadlock_when_both_buffers_are_full(tmp_path: Path) -> None:
    """The server answers each line at once and reads no further before its acks are taken (rule A3)."""

    def big_answers(talk: Talk) -> None:
        while lines := talk.read_lines(1000):
            # 60 KB more than an ack has to be: the client must read while its own data does not move.
            padded = ACK_OK.replace(b"received", b"received" + b"!" * 2000)
            talk.say(padded * len(lines))

    log = append(tmp_path / "app.log", range(20_000))
    with FakeServer(big_answers, receive_buffer=4096) as server, shipping(log, server.port) as client:
        client.result()
        assert server.lines == rendered(range(20_000))


def test_a_receiver_that_never_reads_costs_bounded_memory(tmp_path: Path) -> None:
    """Rules C1 and C5."""
    log = append(tmp_path / "app.log", range(400_000))
    with (
        FakeServer(fakes.never_read) as server,
        shipping(log, server.port, ack_timeout=0.5, max_attempts=1) as client,
    ):
        with pytest.raises(DeliveryAbandoned, match="no ack and no progress"):
            client.result()
        assert client.counters.lines_read * len(numbered_line(100_000)) < 12 * 1024 * 1024


@pytest.mark.parametrize("batch_size", [1, 7, 5000, None])
def test_no_frame_holds_more_lines_than_the_batch_size(tmp_path: Path, batch_size: int | None) -> None:
    log = append(tmp_path / "app.log", range(6000))
    with FakeServer(fakes.ack_every_frame) as server:
        with shipping(log, server.port, compress=True, batch_size=batch_size) as client:
            client.result()
        sizes = [len(lines) for lines in server.talks[0].frames]
        assert server.lines == rendered(range(6000))
    if batch_size == 1:
        assert sizes == [1] * 6000
    assert max(sizes) <= (batch_size or 6000)
    assert client.counters.bytes_wire > 0


def test_a_resent_batch_keeps_to_the_batch_size(tmp_path: Path) -> None:
    def two_frames_then_reset(talk: Talk) -> None:
        talk.read_frame()
        talk.ack(3)  # of five: the rest begins in the middle of a frame
        talk.reset()

    log = append(tmp_path / "app.log", range(20))
    script = fakes.in_turn(two_frames_then_reset, fakes.ack_every_frame)
    with FakeServer(script) as server, shipping(log, server.port, compress=True, batch_size=5) as client:
        client.result()
        assert [len(lines) for lines in server.talks[1].frames] == [5, 5, 5, 2]
        assert server.talks[1].lines == rendered(range(3, 20))


def test_without_acks_everything_is_handed_over_before_the_end(tmp_path: Path) -> None:
    """Rule C7."""

    def read_late(talk: Talk) -> None:
        talk.stay_until_told()
        fakes.swallow(talk)

    log = append(tmp_path / "app.log", range(50_000))
    with FakeServer(read_late, receive_buffer=4096) as server, shipping(log, server.port, ack="none") as client:
        wait_until(lambda: client.counters.lines_shipped > 0, "it has begun")
        assert not client.is_over
        server.may_end.set()
        assert client.result().problems == ()
        wait_until(lambda: server.talks[0].is_over, "the receiver has read to the end")
        assert conservation(range(50_000), server.lines) == Conservation()


def test_without_acks_a_receiver_that_takes_nothing_is_given_up(tmp_path: Path) -> None:
    """Rule C7."""
    log = append(tmp_path / "app.log", range(1000))
    with (
        FakeServer(fakes.never_read, receive_buffer=4096) as server,
        shipping(log, server.port, ack="none", ack_timeout=0.2, max_attempts=1) as client,
        pytest.raises(DeliveryAbandoned, match="has not taken the last"),
    ):
        client.result()


def test_without_acks_a_receiver_that_breaks_off_at_the_end_is_no_success(tmp_path: Path) -> None:
    def break_off(talk: Talk) -> None:
        talk.stay_until_told()
        talk.reset()

    log = append(tmp_path / "app.log", range(1000))
    with (
        FakeServer(break_off, receive_buffer=4096) as server,
        shipping(log, server.port, ack="none", max_attempts=1) as client,
    ):
        client.wait_for_acks(1000)  # all is in the kernel's hands, but not in the receiver's
        server.may_end.set()
        with pytest.raises(DeliveryAbandoned):
            client.result()


def test_without_acks_many_connections_that_end_are_no_failures_in_a_row(tmp_path: Path) -> None:
    def one_read(talk: Talk) -> None:
        talk.read_lines(50)

    log = append(tmp_path / "app.log", range(0))
    with (
        FakeServer(one_read) as server,
        shipping(log, server.port, ack="none", mode="continuous", max_attempts=2) as client,
    ):
        for round_number in range(6):
            append(log, range(round_number * 50, (round_number + 1) * 50))
            wait_until(lambda: len(server.talks) > round_number or client.is_over, "it has connected again")  # noqa: B023
            wait_until(lambda: server.talks[-1].is_over or client.is_over, "the receiver has closed")
        assert client.stop().problems == ()


def test_answers_of_a_receiver_that_should_not_give_any_are_passed_over(tmp_path: Path) -> None:
    """Rule C7."""
    log = append(tmp_path / "app.log", range(5000))
    with FakeServer(fakes.ack_every_line) as server, shipping(log, server.port, ack="none") as client:
        client.result()
        wait_until(lambda: server.talks[0].is_over, "the receiver has read to the end")
        assert server.lines == rendered(range(5000))


def test_a_run_with_nothing_to_send_never_connects(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(0))
    with FakeServer(fakes.ack_every_line) as server, shipping(log, server.port) as client:
        assert client.result().problems == ()
        assert server.talks == []


def test_the_summary_of_a_run_counts_what_happened(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(100))
    with log.open("ab") as file:
        file.write(b"\n   \n")
    with FakeServer(fakes.ack_every_line) as server, shipping(log, server.port) as client:
        client.result()
    counters, latency = client.counters, client.metrics.total().latency
    assert (counters.lines_read, counters.lines_blank, counters.bytes_read) == (102, 2, log.stat().st_size)
    assert counters.bytes_wire == sum(map(len, server.lines))
    assert latency.count == 100
    assert 0 < latency.average_s <= latency.max_s < DEADLINE_S


def test_the_check_for_conservation_notices_each_kind_of_damage() -> None:
    lines = rendered(range(4))
    assert conservation(range(4), lines) == Conservation()
    assert conservation(range(4), lines[:3]) == Conservation(missing=1)
    assert conservation(range(4), [*lines, lines[1]]) == Conservation(repeated=1)
    assert conservation(range(4), [*lines, b"rubbish\n"]) == Conservation(altered=1)
    assert conservation(range(4), [lines[1], lines[0], *lines[2:]]) == Conservation(reordered=1)


# --- many sources on one connection


def files_of_one_line(folder: Path, count: int) -> list[Path]:
    return [append(folder / f"{number:04}.log", [number]) for number in range(count)]


def welcome(talk: Talk) -> None:
    talk.read_line()
    talk.say(answer_line("hello", version=1, max_batch_bytes=10**6, durability="os"))


def read_fields(talk: Talk) -> dict[str, Any]:
    """Return the next control line; nothing if the client has left."""
    said: dict[str, Any] = json.loads(talk.read_line() or b"{}")
    return said


def say_open(talk: Talk, opening: Mapping[str, Any]) -> None:
    talk.say(answer_line("open", source=opening["source"], committed=0, lines=0, crc32=0))


def ack_batches(talk: Talk) -> None:
    """Take batches of one line, and opens between them, until the client ends."""
    while fields := read_fields(talk):
        if fields["logferry"] == "open":
            say_open(talk, fields)
        else:
            talk.read_line()
            talk.say(answer_line("received", source=fields["source"], committed=fields["end"], lines=1, crc32=0))


def sent_batches(lines: Sequence[bytes]) -> int:
    return sum(line.startswith(b'{"logferry": "batch"') for line in lines)


def test_many_sources_are_opened_before_the_first_answer_and_the_answers_may_come_in_any_order(
    tmp_path: Path,
) -> None:
    """Rule E4."""

    def answer_late(talk: Talk) -> None:
        welcome(talk)
        for opening in reversed([read_fields(talk) for _ in range(100)]):
            say_open(talk, opening)
        ack_batches(talk)

    logs = files_of_one_line(tmp_path, 100)
    with FakeServer(answer_late) as server, shipping(logs, server.port, **once(tmp_path)) as client:
        assert client.result().problems == ()
        assert client.counters.lines_acked == 100
        assert sent_batches(server.lines) == 100


def test_a_source_whose_open_is_not_answered_holds_back_neither_the_lines_nor_the_checkpoints_of_others(
    tmp_path: Path,
) -> None:
    def ignore_one(talk: Talk) -> None:
        welcome(talk)
        openings = [read_fields(talk) for _ in range(20)]
        for opening in openings[1:]:
            say_open(talk, opening)
        for _ in openings[1:]:
            batch = read_fields(talk)
            talk.read_line()
            talk.say(answer_line("received", source=batch["source"], committed=batch["end"], lines=1, crc32=0))
        talk.stay_until_told()
        say_open(talk, openings[0])
        ack_batches(talk)

    def committed() -> list[int]:
        return [checkpoint.committed for checkpoint in Checkpoints(tmp_path / "state", read_only=True)]

    logs = files_of_one_line(tmp_path, 20)
    with FakeServer(ignore_one) as server, shipping(logs, server.port, **once(tmp_path, poll_interval=0.01)) as client:
        client.wait_for_acks(19)
        wait_until(lambda: sum(map(bool, committed())) == 19, "their checkpoints are saved")
        server.may_end.set()
        assert client.result().problems == ()
    assert sum(map(bool, committed())) == 20


def test_a_source_and_its_rendering_are_on_disk_before_any_of_it_is_sent(tmp_path: Path) -> None:
    state = tmp_path / "state"
    found: list[tuple[str, list[tuple[str, int, RenderSpec]]]] = []

    def look(talk: Talk) -> None:
        welcome(talk)
        while fields := read_fields(talk):
            if fields["logferry"] == "open":
                say_open(talk, fields)
                continue
            known = Checkpoints(state, read_only=True)
            found.append((fields["source"], [(each.id, *entry) for each in known for entry in each.renderings]))
            talk.read_line()
            talk.say(answer_line("received", source=fields["source"], committed=fields["end"], lines=1, crc32=0))

    logs = files_of_one_line(tmp_path, 10)
    with FakeServer(look) as server, shipping(logs, server.port, **once(tmp_path)) as client:
        client.result()
    assert len(found) == 10
    for source, known in found:
        assert (source, 0, replace(PLAIN, skips_nuls=True)) in known


def test_the_price_of_registering_many_sources_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[int] = []
    register_all = Checkpoints.register_all

    def counting(self: Checkpoints, sources: Any) -> None:
        sources = list(sources)
        registered.append(len(sources))
        register_all(self, sources)

    monkeypatch.setattr(Checkpoints, "register_all", counting)

    def answer_together(talk: Talk) -> None:
        welcome(talk)
        talk.say(
            b"".join(
                answer_line("open", source=each["source"], committed=0, lines=0, crc32=0)
                for each in [read_fields(talk) for _ in range(100)]
            )
        )
        ack_batches(talk)

    logs = files_of_one_line(tmp_path, 100)
    with FakeServer(answer_together) as server, shipping(logs, server.port, **once(tmp_path)) as client:
        client.result()
    assert sum(registered) == 100
    assert len(registered) <= 5


def test_an_answer_to_an_open_that_nobody_has_asked_ends_the_connection(tmp_path: Path) -> None:
    """Rule C4."""

    def answer_twice(talk: Talk) -> None:
        welcome(talk)
        opening = read_fields(talk)
        say_open(talk, opening)
        say_open(talk, opening)
        talk.stay_until_told()

    def work(talk: Talk) -> None:
        welcome(talk)
        ack_batches(talk)

    logs = files_of_one_line(tmp_path, 1)
    script = fakes.in_turn(answer_twice, work)
    with FakeServer(script) as server, shipping(logs, server.port, **once(tmp_path)) as client:
        assert client.result().problems == ()
        assert len(server.talks) == 2
