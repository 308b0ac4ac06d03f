"""A connection and its session with a memory store: without sockets, threads or waiting."""

import time
import zlib
from collections.abc import Callable, Sequence

import pytest

from logferry.protocol.compressor import encode_frame
from logferry.protocol.messages.writing import control_line
from logferry.protocol.plain.server import Limits
from logferry.protocol.steps import STEP_BYTES
from logferry.server.clients.connection.patience import Patience
from logferry.server.clients.memory import flow_control, pressure
from logferry.server.clients.memory.flow_control import MAX_UNSTORED_BYTES, READ_BYTES, REST_BYTES, SOURCE_BYTES
from logferry.server.clients.memory.pressure import LEAST_BYTES_PER_S
from logferry.server.clients.sessions.base import ClientDelivery
from tests.support.clients import MIB, FakeClient, World
from tests.support.delivery import LINES, batch, hello, opening, position, size_of
from tests.support.running import numbered_line

PATIENCE = Patience(ack_stall_s=30, linger_s=2, alive_s=5, idle_s=600)


@pytest.mark.parametrize("step", [1, 7, 1_000_000], ids=["byte by byte", "seven bytes", "all in one"])
def test_a_plain_client_gets_an_answer_to_each_line(step: int) -> None:
    world = World()
    client = world.connect()
    sent = LINES[0] + b"rubbish\n" + encode_frame(LINES[1] + LINES[2], level=1)
    for start in range(0, len(sent), step):
        client.send(sent[start : start + step])
    assert client.statuses() == ["ok", "error", "ok", "ok"]
    assert world.stored_lines() == LINES[:3]
    assert world.budget.unstored == world.budget.partial == 0


@pytest.mark.parametrize("step", [1, 7, 1_000_000], ids=["byte by byte", "seven bytes", "all in one"])
def test_a_delivery_client_gets_a_position_for_each_batch(step: int) -> None:
    world = World()
    client = world.connect()
    sent = hello() + opening() + batch(LINES[:3], start=0) + batch(LINES[3:5], start=size_of(LINES[:3]))
    for start in range(0, len(sent), step):
        client.send(sent[start : start + step])
    answers = client.answers()
    assert [answer["message"] for answer in answers[:2]] == ["hello", "open"]
    assert answers[-1] == position(LINES[:5])
    assert world.stored_lines() == LINES[:5]


@pytest.mark.parametrize("sent", [b"", LINES[0][:1], b'{"logf'])
def test_the_connection_ends_when_the_client_stops_sending(sent: bytes) -> None:
    world = World()
    client = world.connect()
    if sent:
        client.send(sent)
    client.finish_sending()
    assert client.is_gone
    assert client.statuses() == (["error"] if sent else [])
    assert world.roster.is_empty


def test_the_last_line_needs_no_newline() -> None:
    world = World()
    client = world.connect()
    client.send(LINES[0] + LINES[1][:-1])
    client.finish_sending()
    assert client.statuses() == ["ok", "ok"]
    assert world.stored_lines() == LINES[:2]


def test_nothing_is_answered_before_the_store_has_it() -> None:
    world = World()
    plain, delivery = world.connect(), world.connect(port=5001)
    delivery.send(hello() + opening())
    assert len(delivery.answers()) == 2
    world.store.stall("No space left on device")
    plain.send(LINES[0] + b"rubbish\n")
    delivery.send(batch(LINES[1:2], start=0))
    assert plain.received == delivery.received == b""
    world.resume_store()
    assert plain.statuses() == ["ok", "error"]
    assert delivery.answers() == [position(LINES[1:2])]


def test_with_durability_none_a_plain_line_is_answered_immediately_and_a_batch_is_not() -> None:
    """Rules A2 and E8."""
    world = World(durability="none")
    plain, delivery = world.connect(), world.connect(port=5001)
    delivery.send(hello() + opening())
    delivery.answers()
    world.store.stall("No space left on device")
    plain.send(LINES[0])
    delivery.send(batch(LINES[1:2], start=0))
    assert (plain.statuses(), delivery.received) == (["ok"], b"")


def test_complete_lines_are_stored_after_the_client_has_gone() -> None:
    world = World()
    client = world.connect()
    world.store.stall("No space left on device")
    client.send(LINES[0] + LINES[1][:10])
    client.leave(ConnectionResetError(104, "Connection reset by peer"))
    assert world.budget.partial == 0
    world.resume_store()
    assert (world.stored_lines(), client.received) == (LINES[:1], b"")
    assert world.budget.unstored == 0


def gone(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    monkeypatch.setattr(client.connection.answering, "is_reset", lambda: True)
    return client


def test_what_is_refused_of_a_client_that_has_gone_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusing what one read has takes seconds, and what the system still holds of the client much longer."""
    world = World()
    client = world.connect()
    client.send(LINES[0])
    gone(client, monkeypatch).send(b"x\n" * 100_000)
    assert client.was_cut
    assert 100 <= world.counters.lines_rejected <= 300
    assert world.stored_lines() == LINES[:1]
    assert (world.budget.total, world.counters.connections) == (0, 0)


def test_what_is_stored_of_a_client_that_has_gone_is_judged_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    client = world.connect()
    client.send(b"x\n" * 5000)
    lines = [b"x\n" if number % 10 == 0 else numbered_line(number) for number in range(900)]
    gone(client, monkeypatch).send(b"".join(lines))
    assert not client.was_cut
    assert len(world.stored_lines()) == 810


def test_batches_of_a_client_that_has_gone_wait_until_it_sends_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    client = world.connect()
    client.send(hello() + opening())
    client.answers()
    gone(client, monkeypatch).send(control_line("ping") * 5000)
    assert client.was_cut
    assert len(client.answers()) < 500
    assert world.counters.connections == 0


def test_a_client_that_leaves_releases_its_sources() -> None:
    world = World()
    first, second = world.connect(), world.connect(port=5001)
    first.send(hello() + opening() + batch(LINES[:1], start=0))
    first.leave()
    second.send(hello() + opening())
    assert second.answers()[-1]["committed"] == len(LINES[0])


def test_reading_stops_at_the_limit_of_one_client_and_resumes_at_half_of_it() -> None:
    """Rule A3."""
    world = World()
    client, other = world.connect(), world.connect(port=5001)
    world.store.stall("No space left on device")
    block = b"".join(map(numbered_line, range(1000)))
    sent = 0
    while client.is_read_from:
        client.send(block)
        sent += len(block)
    assert 0.95 * MAX_UNSTORED_BYTES < sent < MAX_UNSTORED_BYTES + 2 * len(block)
    assert other.is_read_from
    world.resume_store()
    assert client.is_read_from
    assert client.statuses() == ["ok"] * (sent // len(block) * 1000)


def test_judging_in_steps_does_not_lower_the_level_that_stops_reading() -> None:
    """Rule A3."""
    world = World()
    client = world.connect()
    world.store.stall("No space left on device")
    lines = [numbered_line(number) for number in range(2 * STEP_BYTES // len(LINES[0]))]
    frame = encode_frame(b"".join(lines), level=1)
    sent = 0
    while client.is_read_from:
        client.connection.data_received(frame)  # reading pauses while it is judged
        sent += 1
        world.run()
    assert world.budget.unstored > MAX_UNSTORED_BYTES
    world.resume_store()
    assert client.is_read_from
    assert client.statuses() == ["ok"] * (sent * len(lines))


def test_while_the_total_is_too_high_only_clients_that_hold_little_are_read_from_in_small_pieces() -> None:
    world = World(memory_limit_bytes=MIB)
    first, second = world.connect(), world.connect(port=5001)
    world.store.stall("No space left on device")
    first.send(b"".join(map(numbered_line, range(20_000))))
    assert not first.is_read_from
    assert (second.is_read_from, second.max_size) == (True, 4096)
    while second.is_read_from:
        second.send(b"".join(map(numbered_line, range(50))))
    assert world.connect(port=5002).is_read_from
    world.resume_store()
    assert (first.is_read_from, first.max_size) == (True, READ_BYTES)
    assert (second.is_read_from, second.max_size) == (True, READ_BYTES)


def _put_the_store_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """Connect a client that sends more than the store may have waiting."""
    monkeypatch.setattr(flow_control, "_MAX_UNSTORED_BYTES", 100_000)
    world.store.stall("the disk is slow")
    client = world.connect(port=6000)
    client.send(b"".join(map(numbered_line, range(3000))))
    assert world.budget.is_store_alone
    return client


def test_who_sends_much_is_not_read_from_while_the_store_is_behind_and_who_sends_little_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    much, little = world.connect(), world.connect(port=5001)
    much.send(hello())
    much.send(control_line("ping", more="x" * 20_000))
    _put_the_store_behind(world, monkeypatch)
    for _ in range(3):
        assert (much.is_read_from, little.is_read_from) == (False, True)
        little.send(LINES[0])


def test_who_sends_little_cannot_keep_those_who_send_much_from_sending_by_keeping_the_store_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    much = world.connect()
    much.send(b"{" * 20_000)
    first = _put_the_store_behind(world, monkeypatch)
    other = world.connect(port=5001)
    other.connection.memory.submitted(200_000)  # small groups come back, and more waits than may: nobody adds to it
    world.roster.answer([])
    assert not much.is_read_from
    other.connection.memory.submitted(-100_000)
    world.resume_store()
    assert world.budget.is_store_alone
    assert [(client.is_read_from, client.max_size) for client in (much, first)] == [(True, REST_BYTES)] * 2
    much.send(b"{" * 20_000)
    assert not much.is_read_from


def test_clients_that_wait_for_the_store_go_on_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    waiting = [world.connect(port=number) for number in range(39)]
    for client in waiting:
        client.send(b"{" * 20_000)
    waiting.append(_put_the_store_behind(world, monkeypatch))
    little = world.connect(port=7000)
    while little.is_read_from:
        little.send(b"{" * 10_000)
        little.connection.memory.was_read(10)
    assert not any(client.is_read_from for client in waiting)
    world.store.resume()
    together: list[int] = []
    while world.scheduler.run_one():
        assert little.is_read_from or not together
        together.append(sum(client.is_read_from for client in waiting) - sum(together))
    assert [number for number in together if number] == [16, 16, 8]


def test_who_makes_no_progress_is_dropped_when_memory_is_short_and_the_others_go_on() -> None:
    """Rule A6."""
    world = World(memory_limit_bytes=MIB)
    stuck, large = world.connect(), world.connect(port=5001)
    stuck.send(b'{"level": "' + b"S" * 900_000)
    world.pass_time(0.5)
    large.send(b'{"level": "' + b"L" * 300_000)
    world.pass_time(0.9)
    large.send(b"L" * 100_000)
    world.pass_time(0.3)
    assert (stuck.received, stuck.server_has_closed, large.server_has_closed) == (b"", True, False)
    assert world.counters.clients_dropped == 1
    large.send(b'", "message": ""}\n')
    assert large.statuses() == ["ok"]
    assert world.budget.total == 0


def test_a_thousand_small_unfinished_messages_do_not_lock_out_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(memory_limit_bytes=MIB, max_connections=2000)
    small = [world.connect(port=port) for port in range(1000)]
    for client in small:
        if client.is_read_from:
            client.send(b"{" * 2000)
    world.pass_time(0.6)
    large = world.connect(port=5001)
    monkeypatch.setattr(large.connection.answering, "unread_bytes", lambda: 50_000)
    for _ in range(40):
        for _ in range(3):
            if not large.is_read_from:
                world.pass_time(0.6)
        assert large.is_read_from
        large.send(b"x" * 50_000)
    large.send(b"\n" + LINES[0])
    assert large.statuses() == ["error", "ok"]
    assert world.counters.clients_dropped > 0


def test_under_pressure_large_messages_are_completed_in_turn_and_nobody_is_dropped() -> None:
    world = World(memory_limit_bytes=MIB)
    clients = [world.connect(port=5000 + number) for number in range(20)]
    left = [b'{"level": "INFO", "message": "%s"}\n' % (b"x" * 500_000)] * len(clients)
    for _ in range(1000):
        for number, client in enumerate(clients):
            if client.is_read_from and left[number]:
                client.send(left[number][:100_000])
                left[number] = left[number][100_000:]
        assert world.budget.total < 3 * MIB
    assert not any(left)
    assert all(client.statuses() == ["ok"] for client in clients)
    assert (world.budget.total, world.counters.clients_dropped) == (0, 0)


def _crowd(world: World, monkeypatch: pytest.MonkeyPatch, *, size: int = 150_000) -> list[FakeClient]:
    """Connect nine clients that fill the memory with large messages and have sent more than is read.

    One of them has a turn at a time.
    """
    monkeypatch.setattr(pressure, "_TURNS", 1)
    crowd = [world.connect(port=6000 + number) for number in range(9)]
    for client in crowd:
        monkeypatch.setattr(client.connection.answering, "unread_bytes", lambda: 50_000)
        client.send(b'{"level": "' + b"C" * size)
    return crowd


def _begin(world: World, message: bytes) -> FakeClient:
    """Connect a client that sends the first 30 KB of a message, which is more than its share among ten."""
    client = world.connect()
    client.send(hello())
    client.send(message[:30_000])
    return client


def _pass_turns(crowd: Sequence[FakeClient], *, until: Callable[[], bool], size: int = 150_000) -> int:
    """Complete the message of the client that has the turn, and begin another one, up to 30 times; return how often."""
    for turn in range(30):
        if until():
            return turn
        next(client for client in crowd if client.connection.memory.has_turn).send(b"\n" + b"C" * size)
    return 30


@pytest.mark.parametrize(
    "message",
    [
        control_line("ping", more="x" * 40_000),
        control_line("report", source="s1", after=0, more="x" * 40_000),
        control_line("positions", sources=["s" * 60] * 600),
        control_line("ping", more="x" * 40_000) + b"{" * 30_000,
    ],
    ids=["ping", "report", "positions", "ping, and the next message"],
)
def test_a_turn_ends_with_the_message_whatever_comes_of_it(monkeypatch: pytest.MonkeyPatch, message: bytes) -> None:
    world = World(memory_limit_bytes=MIB)
    first, crowd = _begin(world, message), _crowd(world, monkeypatch)
    _pass_turns(crowd, until=lambda: first.connection.memory.has_turn)
    first.send(message[30_000:])
    assert not first.connection.memory.has_turn
    assert any(client.connection.memory.has_turn for client in crowd)


def test_a_client_that_has_completed_its_message_while_it_waited_gets_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(memory_limit_bytes=MIB)
    crowd = _crowd(world, monkeypatch)
    message = control_line("ping", more="x" * 40_000)
    first = _begin(world, message)
    assert not first.is_read_from
    first.send(message[30_000:])  # as the rest is read
    assert first.answers()[-1]["message"] == "alive"
    turns = _pass_turns(crowd, until=lambda: first.connection.memory.has_turn)
    assert turns == 30


def test_a_client_that_holds_little_does_not_keep_the_turn_when_it_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(memory_limit_bytes=MIB)
    stuck = _begin(world, control_line("ping", more="x" * 40_000))
    crowd = _crowd(world, monkeypatch)
    _pass_turns(crowd, until=lambda: stuck.connection.memory.has_turn)
    for _ in range(3):
        world.pass_time(0.1)
    assert not stuck.connection.memory.has_turn
    assert any(client.connection.memory.has_turn for client in crowd)
    assert world.counters.clients_dropped == 0  # there is room for what it holds


@pytest.mark.parametrize(("held_by_others", "is_dropped"), [(480_000, False), (650_000, True)])
def test_a_client_that_sends_slowly_in_its_turn_waits_for_the_next_one_or_is_dropped_if_memory_is_very_short(
    monkeypatch: pytest.MonkeyPatch, held_by_others: int, *, is_dropped: bool
) -> None:
    world = World(memory_limit_bytes=4 * MIB)
    slow = world.connect()
    slow.send(b"{" * 150_000)
    crowd = _crowd(world, monkeypatch, size=held_by_others)
    _pass_turns(crowd, until=lambda: slow.connection.memory.has_turn, size=held_by_others)
    for _ in range(6):
        if slow.connection.memory.has_turn:
            slow.send(b"x" * 75_000)
        world.pass_time(0.25)
    assert any(client.connection.memory.has_turn for client in crowd)
    assert slow.server_has_closed is is_dropped
    assert world.counters.clients_dropped == is_dropped
    monkeypatch.setattr(slow.connection.answering, "unread_bytes", lambda: 50_000)
    if not is_dropped:
        assert _pass_turns(crowd, until=lambda: slow.connection.memory.has_turn, size=held_by_others) < 15


def test_many_that_are_slow_with_large_messages_make_nobody_wait_that_has_a_smaller_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(memory_limit_bytes=16 * MIB)
    hogs = [world.connect(port=6000 + number) for number in range(20)]
    for hog in hogs:  # what they have sent waits, until they are read from
        monkeypatch.setattr(hog.connection.answering, "unread_bytes", lambda hog=hog: 50_000 * (not hog.is_read_from))
        hog.send(b'{"level": "' + b"C" * MIB)
    honest = world.connect()
    monkeypatch.setattr(honest.connection.answering, "unread_bytes", lambda: 50_000)
    honest.send(b'{"level": "INFO", "message": "' + b"x" * 300_000)
    assert not honest.is_read_from
    waited = 0
    while not honest.connection.memory.has_turn:
        assert waited < 8, "2 s"
        for hog in hogs:
            if hog.is_read_from:
                hog.send(b"C" * 300_000)  # 1.15 MiB/s
        world.pass_time(0.25)
        waited += 1
    honest.send(b'"}\n')
    assert honest.statuses() == ["ok"]


def test_a_client_that_has_waited_for_the_server_is_not_behind_when_it_is_read_from_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(memory_limit_bytes=MIB)
    crowd = _crowd(world, monkeypatch)
    waited = next(client for client in crowd if not client.is_read_from)
    world.scheduler.now += 10
    world.budget.change_limit(64 * MIB)  # there is room
    world.pass_time(0)
    assert waited.is_read_from
    monkeypatch.setattr(waited.connection.answering, "unread_bytes", lambda: 0)
    world.scheduler.now += 0.5
    assert waited.connection.reading.behind_s(world.scheduler.now, LEAST_BYTES_PER_S) <= 0.5


def test_who_has_sent_much_at_once_and_then_trickles_is_dropped_as_soon_as_who_has_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(memory_limit_bytes=MIB, max_connections=2000)
    trickling = [world.connect(port=port) for port in range(200)]  # each must send 80 KB/s
    for client in trickling:
        client.send(b"{" * 80_000)
    honest = world.connect(port=5001)
    honest.send(b"x" * 20_000)
    monkeypatch.setattr(honest.connection.answering, "unread_bytes", lambda: 50_000)
    for _ in range(6):
        world.pass_time(0.25)
        for client in trickling:
            if client.is_read_from:
                client.send(b"x")
    assert world.counters.clients_dropped > 100
    assert honest.is_read_from


def test_a_large_fleet_need_not_send_more_than_a_server_can_read() -> None:
    world = World(memory_limit_bytes=20 * MIB, max_connections=201)
    fleet = [world.connect(port=5000 + number) for number in range(200)]
    stuck = world.connect(port=4000)
    stuck.send(b"{" * 100_000)
    for _ in range(14):
        for client in fleet:
            client.send(b"x" * 9_000)  # 90 KB/s: together 18 MB/s
        world.pass_time(0.1)
    assert world.budget.is_tight
    assert stuck.server_has_closed
    assert not any(client.server_has_closed for client in fleet)


def test_a_client_is_not_read_from_while_it_does_not_read_its_acks() -> None:
    world = World()
    client = world.connect()
    client.connection.pause_writing()
    assert not client.is_read_from
    client.send(LINES[0])  # was already in transit
    assert client.received == b""
    client.connection.resume_writing()
    assert (client.statuses(), client.is_read_from) == (["ok"], True)


def test_a_client_that_reads_no_acks_at_all_is_dropped() -> None:
    world = World(patience=PATIENCE)
    client = world.connect()
    client.untaken_bytes = 1000
    client.connection.pause_writing()
    world.pass_time(29)
    client.untaken_bytes = 999
    world.pass_time(29)
    assert not client.is_gone
    world.pass_time(31)
    assert (client.was_cut, client.is_gone, world.counters.clients_dropped) == (True, True, 1)


def test_a_silent_client_is_closed_and_cut_off_when_it_does_not_close() -> None:
    world = World(patience=PATIENCE)
    client = world.connect()
    client.send(LINES[0])
    world.pass_time(601)
    assert (client.server_has_closed, client.is_gone) == (True, False)
    world.pass_time(3)
    assert client.is_gone
    assert world.counters.clients_dropped == 0


def test_a_waiting_delivery_client_gets_signs_of_life() -> None:
    """Rule E18 gives the reason; the plain protocol has no such message."""
    world = World(patience=PATIENCE)
    plain, delivery = world.connect(), world.connect(port=5001)
    delivery.send(hello() + opening())
    delivery.answers()
    world.store.stall("No space left on device")
    plain.send(LINES[0])
    delivery.send(batch(LINES[:1], start=0))
    for _ in range(3):
        world.pass_time(6)
    said = delivery.answers()
    assert [(answer["message"], answer["storing"], answer["reason"]) for answer in said] == [
        ("alive", False, "No space left on device")
    ] * 3
    assert abs(said[0]["since"] - time.time()) < 600
    assert plain.received == b""


def test_e29_a_heartbeat_of_a_server_that_stores_says_nothing_of_it() -> None:
    """Rule E29."""
    client = World().connect()
    client.send(hello() + control_line("ping"))
    assert client.answers()[1:] == [{"status": "ok", "message": "alive"}]


def test_a_large_frame_is_judged_in_steps_and_other_clients_have_their_turn() -> None:
    world = World()
    client, other = world.connect(), world.connect(port=5001)
    lines = [numbered_line(number) for number in range(3 * STEP_BYTES // len(LINES[0]))]
    client.connection.data_received(encode_frame(b"".join(lines), level=1))
    assert not client.is_read_from
    other.connection.data_received(LINES[0])
    world.run()
    assert client.statuses() == ["ok"] * len(lines)
    assert other.statuses() == ["ok"]
    assert client.is_read_from
    everything = world.stored_lines()
    assert everything.index(LINES[0], 1) < len(lines)  # the other client's line was stored between the steps


@pytest.mark.parametrize("is_delivery", [False, True])
def test_when_a_pass_has_done_enough_a_large_read_waits_for_a_turn_and_a_small_one_does_not(
    *, is_delivery: bool
) -> None:
    world = World()
    large, small = world.connect(), world.connect(port=5001)
    small.send(LINES[0])
    if is_delivery:
        large.send(hello() + opening())
    large.answers()
    world.scheduler.is_full = True
    lines = [numbered_line(number) for number in range(30)]
    large.connection.data_received(batch(lines, start=0) if is_delivery else b"".join(lines))
    assert (large.is_read_from, large.received) == (False, b"")
    assert large.connection.memory.unjudged >= len(b"".join(lines))
    small.connection.data_received(LINES[0])
    assert world.budget.unstored < 10_000  # of the small one
    world.run()
    assert large.is_read_from
    assert len(large.answers()) == (1 if is_delivery else 30)
    assert small.statuses() == ["ok", "ok"]
    assert world.budget.total == 0


@pytest.mark.parametrize(
    "data", [b"x\n" * 100, b"{}\n" * 9, encode_frame(b"x\n" * 200, level=6)], ids=["refused", "nine", "frame"]
)
def test_few_bytes_that_may_take_a_whole_step_wait_for_a_turn_too(data: bytes) -> None:
    world = World()
    client = world.connect()
    client.send(LINES[0])
    client.answers()
    world.scheduler.is_full = True
    client.connection.data_received(data)
    assert client.received == b""
    assert client.connection.memory.unjudged >= len(data)


def test_reads_that_wait_for_a_turn_count_as_what_waits_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    clients = [world.connect(port=number) for number in range(10)]
    monkeypatch.setattr(flow_control, "_MAX_UNSTORED_BYTES", 100_000)
    world.scheduler.is_full = True
    lines = b"".join(map(numbered_line, range(300)))
    for client in clients:
        if client.max_size != 4096:
            client.connection.data_received(lines)
    assert world.budget.is_store_alone
    assert world.budget.unjudged < 150_000
    world.run()
    assert (world.budget.total, world.budget.deferred, world.budget.is_tight) == (0, 0, False)


def test_who_completes_a_message_in_its_turn_is_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(memory_limit_bytes=MIB)
    crowd = _crowd(world, monkeypatch)
    world.scheduler.is_full = True
    turn = next(client for client in crowd if client.connection.memory.has_turn)
    turn.connection.data_received(b"C" * 100_000)  # its message goes on
    assert turn.connection.memory.has_turn


@pytest.mark.parametrize("is_delivery", [False, True])
def test_what_only_lengthens_a_message_waits_for_no_turn(*, is_delivery: bool) -> None:
    """So a message of several reads waits once, when it is complete."""
    world = World()
    client = world.connect()
    lines = [b'{"level": "INFO", "message": "%s"}\n' % (b"x" * 900_000)]
    message = b"".join(lines)
    if is_delivery:
        client.send(hello() + opening())
        client.answers()
        message = batch(lines, start=0)
    client.send(message[:100_000])
    world.scheduler.is_full = True
    for start in range(100_000, 800_000, 100_000):
        client.connection.data_received(message[start : start + 100_000])
        assert (client.connection.memory.unjudged, client.is_read_from) == (0, True)
    client.connection.data_received(message[800_000:])
    assert client.connection.memory.unjudged > 0
    world.run()
    assert client.statuses() == ["ok"]


def test_a_client_that_waits_for_room_gets_its_turn_in_the_next_pass_whatever_others_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(memory_limit_bytes=MIB)
    others = [world.connect(port=6000 + number) for number in range(9)]
    for client in others:
        monkeypatch.setattr(client.connection.answering, "unread_bytes", lambda: 50_000)
        client.connection.data_received(b'{"level": "' + b"C" * 150_000)  # the last of them waits, and nothing follows
    world.run()
    assert any(client.connection.memory.has_turn for client in others)


def test_the_end_after_a_large_frame_is_taken_when_the_frame_is_judged() -> None:
    world = World()
    client = world.connect()
    lines = [numbered_line(number) for number in range(3 * STEP_BYTES // len(LINES[0]))]
    client.connection.data_received(encode_frame(b"".join(lines), level=1))
    client.finish_sending()
    assert client.statuses() == ["ok"] * len(lines)
    assert client.is_gone


def test_after_a_broken_message_one_error_and_then_nothing() -> None:
    """Rule M7."""
    world = World(limits=Limits(max_frame_bytes=2000))
    client = world.connect()
    client.send(LINES[0] + (3000).to_bytes(4, "big") + b"\x1f\x8b" + b"x" * 100)
    client.send(LINES[1])
    assert client.statuses() == ["ok", "error"]
    assert client.server_has_closed
    assert world.stored_lines() == LINES[:1]
    client.finish_sending()
    assert client.is_gone


def test_a_delivery_client_that_breaks_a_rule_gets_its_acks_and_then_the_error() -> None:
    world = World()
    client = world.connect()
    client.send(hello() + opening() + batch(LINES[:1], start=0) + control_line("open", source="no/id", path="x"))
    answers = client.answers()
    assert [answer["message"] for answer in answers] == ["hello", "open", "received", "open: source is not an id"]
    assert client.server_has_closed


def test_reports_are_answered_one_after_the_other() -> None:
    world = World()
    client = world.connect()
    client.send(hello() + opening() + batch(LINES[:2], start=0))
    client.answers()
    client.send(control_line("report", source="s1", after=0) + control_line("report", source="other", after=0))
    first, second = client.answers()
    assert (first["source"], first["committed"], first["lines"]) == ("s1", size_of(LINES[:2]), 2)
    assert (second["source"], second["known"]) == ("other", False)


def test_e22_positions_are_answered_without_opening_a_source() -> None:
    """Rule E22."""
    world = World()
    client, other = world.connect(), world.connect()
    client.send(hello() + opening() + batch(LINES[:2], start=0))
    other.send(hello() + control_line("positions", sources=["s1", "s2"]))
    _, answer = other.answers()
    crc32 = zlib.crc32(b"".join(LINES[:2]))
    assert answer == {"status": "ok", "message": "positions", "positions": [["s1", size_of(LINES[:2]), 2, crc32]]}
    client.answers()
    client.send(batch(LINES[2:3], start=size_of(LINES[:2])))  # the source is still this connection's
    assert [answer["message"] for answer in client.answers()] == ["received"]


def test_e23_a_notice_for_a_connection_that_is_closing_is_discarded() -> None:
    """Rule E23."""
    world = World()
    client = world.connect()
    client.send(hello(features=["heal"], client="c1") + control_line("open", source="no/id", path="x"))
    client.answers()
    assert client.server_has_closed
    client.connection.notify_damage({"c1": ["s1"]})
    assert client.received == b""


def test_questions_of_a_client_that_is_dropped_for_memory_are_forgotten() -> None:
    world = World()
    client = world.connect()
    client.send(hello())
    client.connection.data_received(control_line("report", source="s1", after=0) * 10 + b"{")
    before = world.budget.owed
    client.connection.drop_for_memory()
    assert world.budget.owed <= before - 9 * 512
    world.run()
    assert len(client.answers()) <= 2  # to the hello, and to the question that was asked
    assert world.budget.total == 0


def test_questions_that_wait_when_the_client_stops_sending_are_answered() -> None:
    world = World()
    client = world.connect()
    client.send(hello())
    client.answers()
    client.connection.data_received(control_line("report", source="s1", after=0) * 3)
    client.finish_sending()
    assert [answer["message"] for answer in client.answers()] == ["report"] * 3
    assert client.server_has_closed


def test_a_question_before_a_broken_rule_is_answered_once_and_then_the_error() -> None:
    world = World()
    client = world.connect()
    client.send(hello())
    client.answers()
    questions = control_line("report", source="s1", after=0) * 3
    client.send(questions + control_line("open", source="no/id", path="x"))
    *_, last = [answer["message"] for answer in client.answers()]
    assert last == "open: source is not an id"
    assert client.server_has_closed


def test_a_report_for_a_client_that_has_gone_is_discarded() -> None:
    world = World()
    client = world.connect()
    client.send(hello())
    client.answers()
    client.connection.data_received(control_line("report", source="s1", after=0))
    client.leave()
    assert client.received == b""


def test_a_stop_stores_and_acks_complete_lines_and_takes_nothing_more() -> None:
    world = World()
    client = world.connect()
    world.store.stall("No space left on device")
    client.send(LINES[0] + LINES[1][:20])
    world.roster.stop_reading()
    assert not client.is_read_from
    assert not world.roster.has_nothing_pending
    world.resume_store()
    assert world.roster.has_nothing_pending
    world.roster.finish()
    assert (client.statuses(), client.server_has_closed) == (["ok"], True)
    assert world.stored_lines() == LINES[:1]
    late = world.connect(port=5001)
    assert (late.server_has_closed, late.received) == (True, b"")
    world.roster.cut()
    world.run()
    assert world.roster.is_empty
    assert late.is_gone


def test_a_connection_over_the_limit_is_closed_without_an_answer() -> None:
    """Rule A6."""
    world = World(max_connections=1)
    first, second = world.connect(), world.connect(port=5001)
    second.send(LINES[0])
    first.send(LINES[1])
    assert (second.received, second.server_has_closed, first.statuses()) == (b"", True, ["ok"])
    assert (world.counters.connections_refused, world.counters.connections_total) == (1, 2)
    assert world.stored_lines() == LINES[1:2]
    first.leave()
    assert world.connect(port=5002).server_has_closed is False


def test_a_silent_connection_makes_room_when_the_server_is_full_and_refuses_another() -> None:
    world = World(patience=PATIENCE, max_connections=2)
    silent, honest = world.connect(), world.connect(port=5001)
    honest.send(LINES[0])
    assert world.connect(port=5002).server_has_closed
    world.pass_time(6)
    assert (silent.server_has_closed, honest.server_has_closed) == (True, False)
    silent.leave()
    late = world.connect(port=5002)
    late.send(LINES[1])
    assert (late.statuses(), honest.statuses()) == (["ok"], ["ok"])


def test_a_connection_that_is_closed_as_soon_as_it_is_accepted_waits_for_room_too() -> None:
    world = World(patience=PATIENCE, max_connections=1)
    silent = world.connect()
    world.roster.note_refused()
    world.pass_time(6)
    assert silent.server_has_closed


def test_silent_connections_stay_when_the_server_is_full_and_has_refused_nobody_since() -> None:
    world = World(patience=PATIENCE, max_connections=2)
    silent = [world.connect(), world.connect(port=5001)]
    world.pass_time(6)
    assert [client.server_has_closed for client in silent] == [False, False]
    for client in silent:
        client.leave()
    silent = [world.connect(port=5002), world.connect(port=5004)]  # nobody has been idle for long
    assert world.connect(port=5003).server_has_closed
    world.pass_time(1)
    world.pass_time(6)
    assert [client.server_has_closed for client in silent] == [False, False]


def test_a_silent_connection_stays_while_the_server_has_room() -> None:
    world = World(patience=PATIENCE, max_connections=2)
    silent = world.connect()
    world.pass_time(6)
    assert not silent.server_has_closed


def test_clients_that_said_one_line_do_not_keep_all_places() -> None:
    world = World(max_connections=3)
    clients = [world.connect(port=5000 + number) for number in range(3)]
    for client in clients:
        client.send(LINES[0])
        world.pass_time(1)
    assert world.connect(port=6000).server_has_closed  # nobody has been idle for long yet
    world.pass_time(5)
    clients[0].send(LINES[1])  # it is busy again
    late = world.connect(port=6001)
    late.send(LINES[2])
    assert late.statuses() == ["ok"]
    assert [client.was_cut for client in clients] == [False, True, False]
    assert world.counters.connections == 3


def test_signs_of_life_and_the_beginning_of_a_message_keep_no_place() -> None:
    world = World(max_connections=2)
    pinging, unfinished = world.connect(), world.connect(port=5001)
    pinging.send(hello())
    unfinished.send(LINES[0] + LINES[1][:10])
    for _ in range(70):
        world.pass_time(1)
        pinging.send(control_line("ping"))
        unfinished.send(b"x")
    assert not world.connect(port=6001).server_has_closed
    assert not world.connect(port=6002).server_has_closed
    assert (pinging.was_cut, unfinished.was_cut) == (True, True)


def test_a_client_that_waits_for_the_store_keeps_its_place() -> None:
    world = World(max_connections=1)
    client = world.connect()
    world.store.stall("No space left on device")
    client.send(LINES[0])
    world.pass_time(100)
    assert world.connect(port=6001).server_has_closed
    world.resume_store()
    assert client.statuses() == ["ok"]


def held_back(world: World, client: FakeClient) -> None:
    """Have a store that stores nothing report that what it has of a client waits for a name on the disk."""
    group = [
        delivery
        for delivery in world.store._queue
        if isinstance(delivery, ClientDelivery) and delivery.channel is client.connection
    ]
    for delivery in group:
        delivery.is_held = True
    world.roster.hold(group)


def test_lines_that_wait_for_a_name_on_the_disk_keep_no_place_for_a_client_that_has_ended_its_side() -> None:
    world = World(max_connections=2)
    ended, waits = world.connect(), world.connect(port=5001)
    world.store.stall("no room for new files")
    for client, line in ((ended, LINES[0]), (waits, LINES[1])):
        client.send(line)
        held_back(world, client)
    ended.finish_sending()
    assert world.connect(port=6000).server_has_closed  # nobody has been idle for long yet
    world.pass_time(6)
    late = world.connect(port=6001)
    assert (ended.was_cut, waits.was_cut, late.server_has_closed) == (True, False, False)
    assert world.connect(port=6002).server_has_closed
    world.resume_store()
    assert waits.statuses() == ["ok"]
    assert world.stored_lines() == LINES[:2]
    assert world.budget.total == 0


def opened_sources(world: World, client: FakeClient, name: str, count: int) -> list[str]:
    """Open sources; return the kinds of the answers, without repetitions."""
    client.send(hello(client=name))
    for first in range(0, count, 100):
        for number in range(first, min(count, first + 100)):
            client.send(control_line("open", source=f"{name}-{number}", path="/p", known=0))
    return list(dict.fromkeys(answer.get("message", answer.get("logferry", "")) for answer in client.answers()))


def test_clients_that_hold_all_sources_and_do_nothing_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.server.clients.memory.flow_control._MAX_SOURCE_BYTES", 400 * SOURCE_BYTES)
    world = World(memory_limit_bytes=16 * 1024)
    hostile = [world.connect(port=5000 + number) for number in range(12)]
    for number, client in enumerate(hostile):  # each within its share when it opens them
        world.budget.clients = number + 1
        opened_sources(world, client, f"hostile-{number}", min(390, 400 // (4 * (number + 1))) if number else 390)
    world.pass_time(6)
    honest = world.connect(port=6000)
    assert opened_sources(world, honest, "honest", 100) == ["hello", "open"]
    assert (honest.server_has_closed, hostile[0].was_cut) == (False, True)
    assert world.budget.sources <= 500 * SOURCE_BYTES


def test_a_client_above_its_share_gets_room_from_clients_that_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.server.clients.memory.flow_control._MAX_SOURCE_BYTES", 400 * SOURCE_BYTES)
    world = World(memory_limit_bytes=16 * 1024)
    quiet, busy, honest = (world.connect(port=5000 + number) for number in range(3))
    opened_sources(world, quiet, "quiet", 200)
    world.pass_time(6)
    opened_sources(world, busy, "busy", 190)
    assert opened_sources(world, honest, "honest", 100) == ["hello", "open"]
    assert (quiet.was_cut, busy.was_cut) == (True, False)


def test_only_a_few_refused_connections_linger() -> None:
    world = World(max_connections=1)
    world.connect()
    refused = [world.connect(port=5001 + number) for number in range(8)]
    assert all(client.server_has_closed for client in refused)
    assert not world.roster.has_room_for(1)
    refused[0].leave()
    assert world.roster.has_room_for(1)


def test_a_thousand_pings_in_one_read_are_answered_with_one_write() -> None:
    world = World()
    client = world.connect()
    client.send(hello())
    client.answers()
    client.writes = 0
    client.send(control_line("ping") * 100)
    assert [answer["message"] for answer in client.answers()] == ["alive"] * 100
    assert client.writes == 1


def test_frames_are_inflated_in_turn_when_memory_is_short() -> None:
    world = World(memory_limit_bytes=MIB)
    clients = [world.connect(port=5000 + number) for number in range(10)]
    lines = b"".join(map(numbered_line, range(20_000)))  # 1.6 MB
    frame = encode_frame(lines, level=9)
    for client in clients:  # without giving any of them a turn
        client.connection.data_received(frame)
    most = 0
    while world.scheduler.run_one():
        most = max(most, world.budget.total)
    # The first step of each, and one that has the turn: inflated, and in the store's queue.
    assert most < MIB * 5 // 4 + len(clients) * READ_BYTES + 2 * len(lines)
    assert [len(client.statuses()) for client in clients] == [20_000] * len(clients)
    assert (world.budget.total, world.counters.clients_dropped) == (0, 0)


def fail(*_: object) -> None:
    raise ZeroDivisionError("a defect")


@pytest.mark.parametrize("method", ["take_more", "take_answers", "stored"])
def test_a_defect_while_serving_one_client_costs_only_its_connection(
    method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    first, second = world.connect(), world.connect(port=5001)
    for client in (first, second):
        client.send(LINES[0])
        client.answers()
    monkeypatch.setattr(first.connection._session, method, fail)
    world.store.stall("No space left on device")
    first.send(
        encode_frame(LINES[1] * (2 * STEP_BYTES // len(LINES[1])), level=1) if method == "take_more" else LINES[1]
    )
    first.send(LINES[1])
    second.send(LINES[1])
    world.resume_store()
    assert (first.was_cut, first.is_gone, first.received) == (True, True, b"")
    assert second.statuses() == ["ok"]
    assert world.budget.total == 0
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert ["10.0.0.7" in record.getMessage() for record in errors] == [True, False]  # once, then its traceback
    assert errors[1].exc_info
