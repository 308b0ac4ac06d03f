"""What every output does, whatever it speaks: the same tests for each, against a scripted peer over memory."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.output import (
    BatchRejected,
    Connected,
    Disconnected,
    Guarantee,
    LineRejected,
    Located,
    Output,
    OutputEvent,
    Sent,
    SourceAt,
    Stalled,
    Stored,
    Withheld,
)
from logferry.client.delivery.outputs import line_acks, logferry, unacknowledged
from logferry.client.delivery.outputs.auto import AutoEstablish
from logferry.client.delivery.outputs.establish import Dial
from logferry.client.delivery.outputs.pacing import PacedOutput, TokenBucket, paced
from logferry.client.delivery.outputs.server_output import ServerOutput
from logferry.client.net.transports.memory import MemoryTransport
from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.steps import Steps
from logferry.config import ShipSettings
from logferry.errors import PeerClosed, PeerTimeout, ProtocolError, Unreachable
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.messages.answers import Position, alive_line, positions_line
from logferry.protocol.messages.repairs import notice_line
from logferry.protocol.messages.writing import answer_line, refusal_line
from logferry.protocol.plain.acks import ACK_OK, error_ack
from tests.support.builders import Clock
from tests.support.memory_delivery import MemoryOutput, Time
from tests.support.running import numbered_line
from tests.support.shipping import ship_settings

LINES = [numbered_line(number) for number in range(100, 160)]
SIZE = len(LINES[0])
ACK_TIMEOUT_S = 5.0


@dataclass
class Talk:
    """One connection as the peer sees it: understands both protocols as far as it needs to, and answers as told."""

    theirs: MemoryTransport
    speaks_extension: bool
    answers: bool = True
    reads: bool = True
    refuses: bytes = b"\0"  # lines with this in them
    lines: list[bytes] = field(default_factory=list)
    control: list[dict[str, Any]] = field(default_factory=list)
    committed: dict[str, int] = field(default_factory=dict)
    _buffer: bytes = b""
    _unsaid: bytes = b""

    def serve(self) -> None:
        """Do what can be done now."""
        if self._unsaid:
            self._unsaid = self._unsaid[self.theirs.send((self._unsaid,), more=False) :]
        if not self.reads or self.theirs.is_closed:
            return
        data = self.theirs.receive(10_000)
        if data == b"" and not self._buffer:
            self.theirs.close()  # the client has ended its data
            return
        self._buffer += data or b""
        while b"\n" in self._buffer and self._take_one():
            pass

    def say(self, data: bytes) -> None:
        """Send something when there is room."""
        self._unsaid += data

    def _take_one(self) -> bool:
        line, _, rest = self._buffer.partition(b"\n")
        fields = json.loads(line) if line.startswith(b'{"logferry"') else {}
        size = fields.get("bytes", 0) if self.speaks_extension else 0
        if len(rest) < size:
            return False
        self._buffer = rest[size:]
        if fields and self.speaks_extension:
            self._answer_control(fields, rest[:size])
        else:
            self._answer_line(line + b"\n")
        return True

    def _answer_line(self, line: bytes) -> None:
        if not line.startswith(b'{"logferry"') and line.strip():
            self.lines.append(line)
        if self.answers:
            is_bad = self.refuses in line or line.startswith(b'{"logferry"') or not line.strip()
            self.say(error_ack("no") if is_bad else ACK_OK)

    def _answer_control(self, fields: dict[str, Any], payload: bytes) -> None:
        self.control.append(fields)
        self.lines += payload.splitlines(keepends=True)
        kind, source = fields["logferry"], fields.get("source", "")
        if kind == "hello":
            limits = {"max_batch_bytes": 10**6, "max_sources": 7}
            self.say(answer_line("hello", version=1, durability="os", store="s7", features=["x"], **limits))
        elif not self.answers:
            return
        elif kind == "open":
            self.say(self._position("open", source))
        elif self.refuses in payload:
            self.say(refusal_line("no", source=source, committed=self.committed.get(source, 0), is_final=True))
        elif kind in ("batch", "skip"):
            self.committed[source] = fields["end"]
            self.say(self._position("received", source))

    def _position(self, message: str, source: str) -> bytes:
        return answer_line(message, source=source, committed=self.committed.get(source, 0), lines=0, crc32=0)


class Servers:
    """See KnownServers."""

    client_id = "client"

    def __init__(self) -> None:
        self.known: set[str] = set()

    def knows_extension(self, server: str) -> bool:
        return server in self.known

    def learn_extension(self, server: str) -> None:
        self.known.add(server)


Make = Callable[[Dial, ShipSettings, Servers], Output]


class Bench:
    """An output, the peer behind it, and time."""

    def __init__(self, make: Make, guarantee: Guarantee, *, speaks_extension: bool, capacity: int = 1 << 20) -> None:
        self.clock = Clock()
        self.guarantee = guarantee
        self.talks: list[Talk] = []
        self.prepare: Callable[[Talk], None] = lambda talk: None  # each new connection
        self.is_away = False
        self.capacity = capacity
        self.servers = Servers()
        self._ours: list[MemoryTransport] = []
        self._speaks_extension = speaks_extension
        settings = ship_settings(Path("app.log"), 1, ack_timeout=ACK_TIMEOUT_S, batch_size=None)
        self.output = make(self._dial, settings, self.servers)

    def _dial(self) -> Steps[Transport]:
        if self.is_away:
            raise Unreachable("cannot connect to memory")
        ours, theirs = MemoryTransport.pair(capacity=self.capacity)
        self._ours.append(ours)
        self.talks.append(Talk(theirs, self._speaks_extension))
        self.prepare(self.talks[-1])
        yield from ()
        return ours

    def drive(self, *, passes_s: float = 0.0) -> list[OutputEvent]:
        """Let the peer work, and time pass; return what the output reports."""
        self.clock.now += passes_s
        for talk in self.talks:
            talk.serve()
        interest = self.output.interest()
        ready = {ours.fileno(): ours.ready() & interest.get(ours.fileno(), 0) for ours in self._ours}
        return self.output.drive({fd: events for fd, events in ready.items() if events}, self.clock.now)

    def drive_until(self, kind: type[OutputEvent], *, count: int = 1) -> list[OutputEvent]:
        """Drive until so many events of a kind were reported; return all events."""
        events: list[OutputEvent] = []
        for _ in range(100_000):
            events += self.drive(passes_s=0.001)
            if sum(isinstance(event, kind) for event in events) >= count:
                return events
        raise AssertionError(f"only {events}")

    def connect(self, *sources: Source) -> Connected:
        """Connect, and open sources where that is needed."""
        self.output.connect(self.clock.now)
        connected = self.drive_until(Connected)[-1]
        assert isinstance(connected, Connected)
        if sources and connected.guarantee is Guarantee.EXACTLY_ONCE:
            self.output.open(sources)
            self.drive_until(SourceAt, count=len(sources))
        return connected

    def submit_all(self, batches: Sequence[Batch]) -> list[OutputEvent]:
        """Submit batches as the output takes them, until all lines are stored; return all events."""
        events: list[OutputEvent] = []
        waiting, lines = list(batches), sum(batch.lines for batch in batches)
        for _ in range(100_000):
            while waiting and self.output.submit(waiting[0]):
                waiting.pop(0)
            events += self.drive(passes_s=0.001)
            if not waiting and sum(event.lines for event in events if isinstance(event, Stored)) >= lines:
                return events
        raise AssertionError(f"{len(waiting)} batches were not taken; {events[-3:]}")


def paced_output(dial: Dial, settings: ShipSettings, servers: Servers, bucket: TokenBucket) -> Output:
    """Return an output that sends as the bucket allows."""
    slow = paced(dial, bucket)
    return PacedOutput("memory", lambda: logferry.establish(slow, settings, servers, server="memory"), bucket)


WAYS: dict[str, tuple[Make, Guarantee, bool]] = {
    "line acks": (
        lambda dial, settings, servers: ServerOutput("memory", line_acks.LineAckEstablish(dial, settings)),
        Guarantee.AT_LEAST_ONCE,
        False,
    ),
    "unacknowledged": (
        lambda dial, settings, servers: ServerOutput("memory", lambda: unacknowledged.establish(dial, settings)),
        Guarantee.BEST_EFFORT,
        False,
    ),
    "logferry": (
        lambda dial, settings, servers: ServerOutput(
            "memory", lambda: logferry.establish(dial, settings, servers, server="memory")
        ),
        Guarantee.EXACTLY_ONCE,
        True,
    ),
    "logferry, paced": (
        lambda dial, settings, servers: paced_output(dial, settings, servers, TokenBucket(10**9)),
        Guarantee.EXACTLY_ONCE,
        True,
    ),
    "auto, extension": (
        lambda dial, settings, servers: ServerOutput("memory", AutoEstablish(dial, settings, servers, server="memory")),
        Guarantee.EXACTLY_ONCE,
        True,
    ),
    "auto, plain": (
        lambda dial, settings, servers: ServerOutput("memory", AutoEstablish(dial, settings, servers, server="memory")),
        Guarantee.AT_LEAST_ONCE,
        False,
    ),
}

ANSWERED = [name for name, (_, guarantee, _) in WAYS.items() if guarantee is not Guarantee.BEST_EFFORT]


def bench_of(way: str, **options: Any) -> Bench:
    make, guarantee, speaks_extension = WAYS[way]
    return Bench(make, guarantee, speaks_extension=speaks_extension, **options)


@pytest.fixture(params=WAYS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = bench_of(request.param)
    yield bench
    bench.output.abandon()


@pytest.fixture(params=ANSWERED)
def answered(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = bench_of(request.param)
    yield bench
    bench.output.abandon()


def source(name: str = "s") -> Source:
    return Source(f"{name}.log", id=name)


def batches_of(of: Source, *, lines_each: int = 5) -> list[Batch]:
    return [
        Batch(of, start * SIZE, (start + lines_each) * SIZE, b"".join(LINES[start : start + lines_each]), lines_each)
        for start in range(0, len(LINES), lines_each)
    ]


def test_it_connects_and_says_what_it_promises(bench: Bench) -> None:
    connected = bench.connect()
    assert (connected.server, connected.guarantee) == ("memory", bench.guarantee)
    is_limited = bench.guarantee is Guarantee.EXACTLY_ONCE
    assert (connected.limits.max_sources == 7, connected.limits.max_batch_bytes == 10**6) == (is_limited, is_limited)
    assert (connected.store, connected.features) == (("s7", frozenset({"x"})) if is_limited else ("", frozenset()))


def test_without_a_connection_it_takes_nothing_and_waits_for_nothing(bench: Bench) -> None:
    assert not bench.output.submit(batches_of(source())[0])
    assert bench.output.interest() == {}
    assert bench.output.next_timer() is None
    assert bench.drive() == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("capacity", [7, 100, 1 << 20])
def test_every_line_is_stored_once_and_in_order_however_little_goes_at_a_time(way: str, capacity: int) -> None:
    bench, one = bench_of(way, capacity=capacity), source()
    bench.connect(one)
    batches = batches_of(one)
    events = bench.submit_all(batches)
    sent = [batch for event in events if isinstance(event, Sent) for batch in event.begun]
    assert sent == batches
    stored = [event for event in events if isinstance(event, Stored)]
    assert [event.batch for event in stored if event.lines] == sorted(
        (event.batch for event in stored if event.lines), key=lambda batch: batch.start
    )
    assert sum(event.lines for event in stored) == len(LINES)
    for _ in range(20_000):
        if bench.talks[-1].lines == LINES:
            break
        bench.drive()
    assert bench.talks[-1].lines == LINES


def test_a_batch_is_begun_before_it_is_stored(bench: Bench) -> None:
    one, begun = source(), set[int]()
    bench.connect(one)
    for event in bench.submit_all(batches_of(one)):
        if isinstance(event, Sent):
            begun |= {batch.start for batch in event.begun}
        elif isinstance(event, Stored):
            assert event.batch.start in begun


def test_batches_without_lines_are_stored_too(bench: Bench) -> None:
    one = source()
    bench.connect(one)
    blank = Batch(one, 0, 10)
    assert bench.output.submit(blank)
    assert bench.drive_until(Stored)[-1] == Stored(blank, 0)


def test_it_is_full_while_the_peer_reads_nothing_and_loses_nothing(bench: Bench) -> None:
    bench.capacity = 1000
    one = source()
    bench.connect(one)
    bench.talks[-1].reads = False
    payload = b"".join(LINES) * 100
    taken = 0
    for number in range(1000):
        if not bench.output.submit(Batch(one, number * 10, number * 10 + 10, payload, len(LINES) * 100)):
            break
        bench.drive()
        taken += 1
    assert taken < 10
    bench.talks[-1].reads = True
    bench.capacity = 1 << 20
    for _ in range(100_000):
        if len(bench.talks[-1].lines) == taken * len(LINES) * 100:
            break
        bench.drive()
    assert bench.talks[-1].lines == LINES * 100 * taken


def test_a_peer_that_closes_is_reported_once_and_last(bench: Bench) -> None:
    one = source()
    bench.connect(one)
    bench.output.submit(batches_of(one)[0])
    bench.talks[-1].answers = False
    bench.drive()
    bench.talks[-1].theirs.close()
    events = bench.drive_until(Disconnected)
    assert isinstance(events[-1], Disconnected)
    assert isinstance(events[-1].error, PeerClosed)
    assert bench.drive() == []
    assert bench.output.interest() == {}


def test_answers_that_came_before_the_peer_closed_still_count(answered: Bench) -> None:
    one = source()
    answered.connect(one)
    batches = batches_of(one)
    for batch in batches:
        answered.output.submit(batch)
    answered.drive()
    talk = answered.talks[-1]
    talk.serve()
    talk.serve()
    talk.theirs.close()
    events = answered.drive_until(Disconnected)
    assert sum(event.lines for event in events if isinstance(event, Stored)) == len(LINES)


def test_on_the_next_connection_only_what_is_submitted_again_is_in_flight(answered: Bench) -> None:
    one = source()
    answered.connect(one)
    answered.talks[-1].answers = False
    lost, kept = batches_of(one)[:2]
    answered.output.submit(lost)
    answered.output.submit(kept)
    answered.drive()
    answered.talks[-1].theirs.close()
    answered.drive_until(Disconnected)
    answered.connect(one)
    answered.output.submit(kept)
    events = [*answered.drive_until(Stored), *answered.drive(), *answered.drive()]
    assert {event.batch.start for event in events if isinstance(event, Stored)} == {kept.start}
    assert answered.talks[-1].lines == LINES[5:10]


def test_what_is_abandoned_ends_without_an_event(bench: Bench) -> None:
    one = source()
    bench.connect(one)
    bench.output.submit(batches_of(one)[0])
    bench.output.abandon()
    assert bench.drive() == []
    assert bench.output.interest() == {}
    bench.connect(one)
    assert bench.submit_all(batches_of(one))


def test_an_attempt_can_be_abandoned(bench: Bench) -> None:
    bench.output.connect(bench.clock.now)
    bench.output.abandon()
    assert bench.drive() == []
    bench.connect()


def test_a_peer_that_cannot_be_reached_is_reported(bench: Bench) -> None:
    bench.is_away = True
    bench.output.connect(bench.clock.now)
    (event,) = bench.drive_until(Disconnected)
    assert isinstance(event, Disconnected)
    assert isinstance(event.error, Unreachable)
    bench.is_away = False
    bench.connect()


def test_a_peer_that_answers_nothing_is_a_stall_after_the_limit_and_not_before(answered: Bench) -> None:
    """Rules C5 and E15."""
    one = source()
    answered.connect(one)
    answered.talks[-1].answers = False
    answered.output.submit(batches_of(one)[0])
    answered.drive()
    answered.drive()
    timer = answered.output.next_timer()
    assert timer is not None
    assert timer <= answered.clock.now + ACK_TIMEOUT_S
    assert answered.drive(passes_s=ACK_TIMEOUT_S - 0.1) == []
    (event,) = answered.drive(passes_s=0.2)
    assert isinstance(event, Stalled)
    assert "no ack and no progress for 5 s" in event.reason


def test_a_peer_that_takes_nothing_is_a_stall(bench: Bench) -> None:
    bench.capacity = 300
    one = source()
    bench.connect(one)
    bench.talks[-1].reads = False
    bench.output.submit(Batch(one, 0, 1, b"".join(LINES), len(LINES)))
    bench.drive()
    bench.drive()
    assert any(isinstance(event, Stalled) for event in bench.drive(passes_s=ACK_TIMEOUT_S + 0.1))


def test_an_output_that_is_owed_nothing_never_stalls(bench: Bench) -> None:
    one = source()
    bench.connect(one)
    bench.submit_all(batches_of(one))
    for _ in range(5):
        assert bench.drive(passes_s=100.0) == []
    assert bench.output.next_timer() is None


def test_a_refusal_names_what_is_refused(answered: Bench) -> None:
    one = source()
    answered.connect(one)
    answered.talks[-1].refuses = LINES[2].strip()
    batch = batches_of(one)[0]
    answered.output.submit(batch)
    if answered.guarantee is Guarantee.EXACTLY_ONCE:
        assert answered.drive_until(BatchRejected)[-1] == BatchRejected(one.id, 0, "no", is_final=True)
    else:
        events = answered.drive_until(LineRejected)
        assert LineRejected(batch, LINES[2].strip(), "no") in events
        assert sum(event.lines for event in events if isinstance(event, Stored)) == 4


def test_an_answer_that_makes_no_sense_ends_the_connection(answered: Bench) -> None:
    """Rule C4."""
    one = source()
    answered.connect(one)
    answered.talks[-1].say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    event = answered.drive_until(Disconnected)[-1]
    assert isinstance(event, Disconnected)
    assert isinstance(event.error, ProtocolError)


def test_more_answers_than_lines_end_the_connection_and_none_of_them_counts() -> None:
    """Rules C4 and C9."""
    bench, one = bench_of("line acks"), source()
    bench.connect(one)
    bench.talks[-1].answers = False
    batch = batches_of(one)[0]
    bench.output.submit(batch)
    bench.drive()
    bench.talks[-1].say(ACK_OK * 7)
    events = bench.drive_until(Disconnected)
    assert not any(isinstance(event, Stored) for event in events)
    assert isinstance(events[-1], Disconnected)
    assert isinstance(events[-1].error, ProtocolError)


def test_after_everything_is_answered_there_is_nothing_to_finish(answered: Bench) -> None:
    one = source()
    answered.connect(one)
    answered.submit_all(batches_of(one))
    answered.output.finish(answered.clock.now)
    assert not answered.output.is_finishing


def test_without_answers_the_end_waits_until_the_peer_has_everything() -> None:
    """Rule C7."""
    bench, one = bench_of("unacknowledged"), source()
    bench.connect(one)
    bench.talks[-1].reads = False
    bench.submit_all(batches_of(one))
    bench.output.finish(bench.clock.now)
    for _ in range(10):
        assert bench.drive(passes_s=0.05) == []
        assert bench.output.is_finishing
    bench.talks[-1].reads = True
    for _ in range(100):
        bench.drive(passes_s=0.05)
    assert not bench.output.is_finishing
    assert bench.talks[-1].lines == LINES


def test_without_answers_a_peer_that_takes_nothing_at_the_end_is_reported() -> None:
    """Rule C7."""
    bench, one = bench_of("unacknowledged"), source()
    bench.connect(one)
    bench.talks[-1].reads = False
    bench.submit_all(batches_of(one))
    bench.output.finish(bench.clock.now)
    events = [event for _ in range(200) for event in bench.drive(passes_s=0.05)]
    (event,) = events
    assert isinstance(event, Disconnected)
    assert isinstance(event.error, PeerTimeout)
    assert not bench.output.is_finishing


# --- whether the answers of the plain protocol are in step


@pytest.mark.parametrize("delay_s", [0.0, 0.05], ids=["answered at once", "always one in flight"])
def test_lines_that_come_all_the_time_are_acked_after_a_pause(delay_s: float) -> None:
    """Rule C9: a line every 20 ms leaves no quiet moment."""
    bench, one = bench_of("line acks"), source()
    bench.connect(one)
    talk, due = bench.talks[-1], deque[float]()
    talk.answers = False
    waiting, events = [Batch(one, start, start + 1, LINES[0], 1) for start in range(300)], list[OutputEvent]()
    while waiting:
        if bench.output.submit(waiting[0]):
            waiting.pop(0)
        events += bench.drive(passes_s=0.02)
        due.extend([bench.clock.now + delay_s] * len(talk.lines))
        talk.lines.clear()
        while due and due[0] <= bench.clock.now:
            due.popleft()
            talk.say(ACK_OK)
    assert sum(event.lines for event in events if isinstance(event, Stored)) > 200


# --- answers of the delivery extension that nobody is owed


def received(source_id: str, committed: int) -> bytes:
    """Return an ack."""
    return answer_line("received", source=source_id, committed=committed, lines=0, crc32=0)


@pytest.mark.parametrize(
    "answer",
    [
        received("s", 10**9),
        received("s", 5 * SIZE + 1),
        received("another", 1),
        refusal_line("no", source="s", committed=0, is_final=True),
        refusal_line("no", source="another", committed=0, is_final=True),
        answer_line("open", source="s", committed=0, lines=0, crc32=0),
    ],
    ids=["far beyond", "one byte beyond", "of another source", "no batch", "no batch of another", "opened twice"],
)
def test_an_answer_to_what_was_not_sent_is_no_verdict_and_ends_the_connection(answer: bytes) -> None:
    """Rule E31."""
    bench, one = bench_of("logferry"), source()
    bench.connect(one)
    if b"received" in answer:
        bench.talks[-1].answers = False
        bench.output.submit(batches_of(one)[0])
        bench.drive()
        bench.drive()
    bench.talks[-1].say(answer)
    events = bench.drive_until(Disconnected)
    assert not any(isinstance(event, Stored | BatchRejected | SourceAt) for event in events)
    (disconnected,) = [event for event in events if isinstance(event, Disconnected)]
    assert isinstance(disconnected.error, ProtocolError)


@pytest.mark.parametrize(
    "answer",
    [
        received("s", -7),
        received("s", 5 * SIZE - 1),
        received("s", 6 * SIZE),
        received("s", 2**70),
        refusal_line("no", source="s", committed=-7, is_final=True),
        refusal_line("no", source="s", committed=4 * SIZE, is_final=True),
        refusal_line("no", source="s", committed=2**70, is_final=False),
    ],
    ids=["negative", "back", "in a batch", "huge", "refused before 0", "refused behind", "refused far beyond"],
)
def test_a_position_where_a_source_cannot_end_counts_for_nothing_and_ends_the_connection(answer: bytes) -> None:
    """Rule E31: the first batch is stored, the second is in flight."""
    bench, one = bench_of("logferry"), source()
    bench.connect(one)
    first, second, *_ = batches_of(one)
    bench.submit_all([first])
    bench.talks[-1].answers = False
    bench.output.submit(second)
    bench.drive()
    bench.drive()
    bench.talks[-1].say(answer)
    events = bench.drive_until(Disconnected)
    assert not any(isinstance(event, Stored | BatchRejected | SourceAt) for event in events)
    assert isinstance(events[-1], Disconnected)
    assert isinstance(events[-1].error, ProtocolError)


@pytest.mark.parametrize(
    ("heartbeat", "most_s"), [(alive_line(), 300.0), (alive_line(reason="the disk is full"), 3600.0)]
)
def test_signs_of_life_alone_are_a_stall_in_the_end(heartbeat: bytes, most_s: float) -> None:
    """Rule E35."""
    bench, one = bench_of("logferry"), source()
    bench.connect(one)
    bench.talks[-1].answers = False
    bench.output.submit(batches_of(one)[0])
    began, events = bench.clock.now, list[OutputEvent]()
    while not any(isinstance(event, Stalled) for event in events):
        bench.talks[-1].say(heartbeat)
        events = bench.drive(passes_s=ACK_TIMEOUT_S - 1)
        assert bench.clock.now - began < most_s + 10.0
    assert bench.clock.now - began > most_s - 10.0
    (stalled,) = [event for event in events if isinstance(event, Stalled)]
    assert stalled.reason.startswith("nothing but signs of life for")


def test_an_answer_that_moves_something_ends_the_wait() -> None:
    bench, one = bench_of("logferry"), source()
    bench.connect(one)
    for batch in batches_of(one)[:4]:
        bench.talks[-1].answers = False
        bench.output.submit(batch)
        for _ in range(50):
            bench.talks[-1].say(alive_line())
            assert not any(isinstance(event, Stalled) for event in bench.drive(passes_s=4.0))
        bench.talks[-1].say(received("s", batch.end))
        bench.drive_until(Stored)


@pytest.mark.parametrize("answer", [alive_line(), received("s", 0), notice_line("x")])
def test_a_flood_of_answers_that_move_nothing_ends_the_connection(answer: bytes) -> None:
    bench, one = bench_of("logferry"), source()
    bench.connect(one)
    bench.talks[-1].say(answer * 50_001)
    event = bench.drive_until(Disconnected)[-1]
    assert isinstance(event, Disconnected)
    assert "answers in a row that move nothing" in str(event.error)


@pytest.mark.parametrize("way", ["logferry", "auto, extension"])
@pytest.mark.parametrize(
    "absurd",
    [
        {"max_sources": 0},
        {"max_sources": -5},
        {"max_sources": 2**70},
        {"max_sources": True},
        {"max_batch_bytes": -1},
        {"max_batch_bytes": 0},
        {"max_batch_bytes": 50},
        {"max_batch_bytes": 2**70},
        {"max_batch_bytes": "many"},
        {"version": 0},
        {"version": -1},
        {"durability": None},
    ],
    ids=str,
)
def test_a_welcome_with_which_nothing_could_be_delivered_is_refused(way: str, absurd: dict[str, Any]) -> None:
    bench = bench_of(way)
    bench.prepare = lambda talk: setattr(talk, "answers", False)
    bench.output.connect(bench.clock.now)
    fields = {"version": 1, "max_batch_bytes": 10**6, "durability": "os", "max_sources": 10, **absurd}
    bench.drive()
    bench.talks[-1].speaks_extension = False  # it has no welcome of its own
    bench.talks[-1].say(answer_line("hello", **fields))
    (event,) = bench.drive_until(Disconnected)
    assert isinstance(event, Disconnected)
    assert isinstance(event.error, ProtocolError)
    assert "makes no sense" in str(event.error) or "is not part of the delivery extension" in str(event.error)


def test_the_first_of_small_batches_sent_together_may_be_answered_before_the_last_is_sent() -> None:
    bench, sources = bench_of("logferry", capacity=300), [source("a"), source("b"), source("c")]
    bench.connect(*sources)
    batches = [Batch(each, 0, SIZE, LINES[0], 1) for each in sources]
    events = bench.submit_all(batches)
    assert sorted(event.batch.source.id for event in events if isinstance(event, Stored)) == ["a", "b", "c"]


# --- what only the choice after the hello does


def test_a_server_that_was_welcome_once_never_gets_plain_lines() -> None:
    """Rule E2."""
    bench = bench_of("auto, plain")
    bench.servers.learn_extension("memory")
    bench.output.connect(bench.clock.now)
    event = bench.drive_until(Disconnected)[-1]
    assert isinstance(event, Disconnected)
    assert "no longer speaks the delivery extension" in str(event.error)


def test_a_server_that_closes_on_the_hello_but_answers_a_blank_line_gets_plain_lines() -> None:
    """Rule E2."""
    bench = bench_of("auto, plain")

    def close_on_hello(talk: Talk) -> None:
        answer = talk._answer_line

        def judge(line: bytes) -> None:
            if line.startswith(b'{"logferry"'):
                talk.theirs.close()
            else:
                answer(line)

        talk._answer_line = judge  # type: ignore[method-assign]

    bench.prepare = close_on_hello
    for _ in range(3):
        bench.output.connect(bench.clock.now)
        bench.drive_until(Disconnected)
    assert len(bench.talks) == 3 + 3, "asked whether it is alive, greeted, asked again"
    assert bench.connect().guarantee is Guarantee.AT_LEAST_ONCE


def test_a_server_that_closes_everything_is_away_and_is_greeted_again() -> None:
    """Rule E2."""
    bench = bench_of("auto, extension")
    bench.prepare = lambda talk: talk.theirs.close()
    for _ in range(8):
        bench.output.connect(bench.clock.now)
        bench.drive_until(Disconnected)
    bench.prepare = lambda talk: None
    assert bench.connect().guarantee is Guarantee.EXACTLY_ONCE


def test_only_the_extension_will_do_where_nothing_else_was_asked_for() -> None:
    make, guarantee, _ = WAYS["logferry"]
    bench = Bench(make, guarantee, speaks_extension=False)
    bench.output.connect(bench.clock.now)
    event = bench.drive_until(Disconnected)[-1]
    assert isinstance(event, Disconnected)
    assert isinstance(event.error, ProtocolError)


def test_e29_heartbeats_that_say_why_nothing_is_stored_are_passed_on_until_one_says_that_it_is() -> None:
    """Rules E22 and E29."""
    make, guarantee, _ = WAYS["logferry"]
    bench = Bench(make, guarantee, speaks_extension=True)
    bench.connect()
    bench.talks[-1].say(alive_line() + alive_line(reason="full", since=5.0) + alive_line() + alive_line())
    events = [event for _ in range(5) for event in bench.drive()]
    assert events == [Withheld("full", 5.0), Withheld("", 0.0)]
    bench.output.locate(["s1", "s2"])
    for _ in range(3):
        bench.drive()
    assert bench.talks[-1].control[-1] == {"logferry": "positions", "sources": ["s1", "s2"]}
    bench.talks[-1].say(positions_line([Position("s1", 7, 1, 3, False)]))
    assert [event for _ in range(5) for event in bench.drive() if isinstance(event, Located)] == [
        Located((SourceAt("s1", 7, 1, 3),))
    ]


# --- the output that tests of the engine use


@pytest.mark.parametrize("guarantee", list(Guarantee))
def test_the_output_in_memory_does_the_same(guarantee: Guarantee) -> None:
    time, one = Time(), source()
    output = MemoryOutput(time, guarantee=guarantee)
    as_output: Output = output
    assert not as_output.submit(batches_of(one)[0])
    assert as_output.interest() == {}
    assert as_output.next_timer() is None
    as_output.connect(time())
    assert [type(event) for event in as_output.drive({}, time())] == [Connected]
    if guarantee is Guarantee.EXACTLY_ONCE:
        as_output.open([one])
        assert [type(event) for event in as_output.drive({}, time())] == [SourceAt]
    batches = batches_of(one)
    assert all(map(as_output.submit, batches))
    events = as_output.drive({}, time())
    assert events == [events[0], *(Stored(batch, batch.lines) for batch in batches)]
    assert isinstance(events[0], Sent)
    as_output.abandon()
    assert as_output.drive({}, time()) == []
