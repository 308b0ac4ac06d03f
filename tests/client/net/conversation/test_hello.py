"""Questions and their answers, over a transport in memory: the first words, signs of life, and silence."""

import json
from collections.abc import Callable
from typing import TypeVar

import pytest

from logferry.client.net.conversation.hand_over import hand_over
from logferry.client.net.conversation.hello import answers_a_blank_line, ask, greet
from logferry.client.net.transports.memory import MemoryTransport
from logferry.client.net.waiting.readiness import READ, Readiness
from logferry.client.net.waiting.steps import Steps, Task, run
from logferry.errors import PeerClosed, PeerTimeout, ProtocolError
from logferry.protocol.delivery.client import DeliveryClientProtocol
from logferry.protocol.messages.answers import NotUnderstood, Welcome
from logferry.protocol.messages.reports import ReportPage
from logferry.protocol.messages.writing import answer_line, control_line
from tests.support.builders import Clock

T = TypeVar("T")

WELCOME = answer_line("hello", version=1, max_batch_bytes=1000, durability="os")
ALIVE = answer_line("alive")
REPORT = answer_line(
    "report", source="s", known=False, committed=0, lines=0, crc32=0, extents=[], losses=[], more=False
)


class Peer:
    """The other end: hears what is said, and says something at given times."""

    def __init__(self, *, capacity: int = 1024) -> None:
        self.clock = Clock()
        self.ours, self._theirs = MemoryTransport.pair(capacity=capacity)
        self.heard = b""
        self._unsaid = b""
        self._plans: list[tuple[float, Callable[[], object]]] = []

    def say(self, data: bytes, *, after_s: float = 0.0) -> None:
        """Send something when so much time has passed."""

        def begin() -> None:
            self._unsaid += data

        self._plans.append((self.clock.now + after_s, begin))

    def close(self, *, after_s: float = 0.0) -> None:
        """Close when so much time has passed."""
        self._plans.append((self.clock.now + after_s, self._theirs.close))

    def take(self, steps: Steps[T]) -> T:
        """Take steps while time passes and the peer does what it plans."""
        return run(steps, wait=self._wait, clock=self.clock)

    def _wait(self, interest: Readiness, timeout_s: float) -> dict[int, int]:
        self.heard += self._theirs.receive(100) or b""
        self._go_on_saying()
        until = self.clock.now + timeout_s
        while self._plans and self._plans[0][0] <= until:
            when, plan = self._plans.pop(0)
            self.clock.now = max(self.clock.now, when)
            plan()
            self._go_on_saying()
            if self._ready(interest):
                return self._ready(interest)
        if not self._ready(interest):
            self.clock.now = until
        return self._ready(interest)

    def _go_on_saying(self) -> None:
        if self._unsaid:
            self._unsaid = self._unsaid[self._theirs.send((self._unsaid,), more=False) :]

    def _ready(self, interest: Readiness) -> dict[int, int]:
        ready = {fd: self.ours.ready() & events for fd, events in interest.items()}
        return {fd: events for fd, events in ready.items() if events}


def hello(peer: Peer) -> Steps[object]:
    return greet(
        peer.ours,
        DeliveryClientProtocol(),
        client_id="c1",
        client_host="web-1",
        encodings=("gzip",),
        timeout_s=10.0,
    )


@pytest.mark.parametrize("capacity", [1, 7, 1024])
def test_the_hello_is_answered_with_a_welcome_however_little_the_transport_takes(capacity: int) -> None:
    """Rule E1."""
    peer = Peer(capacity=capacity)
    for place in range(len(WELCOME)):
        peer.say(WELCOME[place : place + 1], after_s=1.0)
    assert isinstance(peer.take(hello(peer)), Welcome)
    fields = {"logferry": "hello", "version": 1, "client": "c1", "host": "web-1", "encodings": ["gzip"]}
    assert json.loads(peer.heard) == fields


@pytest.mark.parametrize("answer", [b'{"status": "ok", "message": "received"}\n', b'{"status": "error"}\n'])
def test_a_server_that_does_not_know_the_hello_answers_it_as_a_line(answer: bytes) -> None:
    """Rule E2."""
    peer = Peer()
    peer.say(answer)
    assert isinstance(peer.take(hello(peer)), NotUnderstood)


def test_a_server_that_does_not_answer_is_silent_after_the_limit() -> None:
    peer = Peer()
    began = peer.clock.now
    with pytest.raises(PeerTimeout, match="has not answered the hello within 10 s"):
        peer.take(hello(peer))
    assert peer.clock.now == began + 10


def test_bytes_that_are_not_an_answer_do_not_extend_the_limit() -> None:
    peer = Peer()
    for second in range(1, 20):
        peer.say(b"{", after_s=float(second))
    began = peer.clock.now
    with pytest.raises(PeerTimeout):
        peer.take(hello(peer))
    assert peer.clock.now == began + 10


def test_signs_of_life_extend_the_limit() -> None:
    """Rule E14."""
    peer, protocol = Peer(), DeliveryClientProtocol()
    protocol.receive_data(WELCOME)
    for second in range(9, 60, 9):
        peer.say(ALIVE, after_s=float(second))
    peer.say(REPORT, after_s=60.0)
    question = control_line("report", source="s", after=0)
    answer = peer.take(ask(peer.ours, protocol, question, timeout_s=10.0, what="a question"))
    assert isinstance(answer, ReportPage)


def test_a_server_that_closes_is_peer_closed() -> None:
    peer = Peer()
    peer.close(after_s=1.0)
    with pytest.raises(PeerClosed, match="the server closed the connection"):
        peer.take(hello(peer))


def test_a_server_that_takes_no_data_is_silent() -> None:
    peer = Peer(capacity=0)
    with pytest.raises(PeerTimeout, match="the server accepts no data"):
        peer.take(hello(peer))


def test_only_a_server_that_answers_a_blank_line_is_alive() -> None:
    """Rule L5."""
    alive, closed, silent = Peer(), Peer(), Peer()
    alive.say(b'{"status": "error", "message": "empty line"}\n')
    closed.close()
    answers = [peer.take(answers_a_blank_line(peer.ours, timeout_s=5.0)) for peer in (alive, closed, silent)]
    assert answers == [True, False, False]
    assert alive.heard == b"\n"


# --- steps and the end of a connection


def test_a_task_waits_for_its_descriptor_or_its_time_and_returns_its_result() -> None:
    peer = Peer()
    task = Task(hello(peer), 0.0)
    assert (task.interest(), task.deadline) == ({}, 0.0)
    task.advance({}, 0.0)
    assert task.interest() == {peer.ours.fileno(): READ}
    assert task.deadline == 10.0
    task.advance({}, 5.0)
    assert not task.is_done
    peer._theirs.send((WELCOME,), more=False)
    task.advance({peer.ours.fileno(): READ}, 6.0)
    assert task.is_done
    assert isinstance(task.result, Welcome)
    assert task.interest() == {}


def test_the_end_waits_until_the_peer_has_taken_everything_and_closed() -> None:
    """Rule C7."""
    peer = Peer()
    peer.ours.send((b"x" * 250,), more=False)
    peer.close(after_s=0.5)
    began = peer.clock.now
    peer.take(hand_over(peer.ours, timeout_s=5.0))
    assert len(peer.heard) == 250
    assert peer.clock.now - began == pytest.approx(0.5, abs=0.1)


def test_a_peer_that_never_closes_is_left_after_a_moment() -> None:
    peer = Peer()
    began = peer.clock.now
    peer.take(hand_over(peer.ours, timeout_s=5.0))
    assert peer.clock.now - began == pytest.approx(1.0, abs=0.1)


def test_a_peer_that_sends_without_end_is_left_after_a_moment() -> None:
    """Rule C7."""
    peer = Peer()
    endless = peer.ours.receive
    peer.ours.receive = lambda limit: endless(limit) or b"x"  # type: ignore[method-assign]
    began = peer.clock.now
    peer.take(hand_over(peer.ours, timeout_s=5.0))
    assert peer.clock.now - began == pytest.approx(1.0, abs=0.1)


def test_a_peer_that_takes_nothing_any_more_is_silent_and_what_it_has_not_taken_is_said() -> None:
    """Rule C7."""
    peer = Peer()
    peer._theirs.receive = lambda limit: None  # type: ignore[method-assign]
    peer.ours.send((b"x" * 250,), more=False)
    with pytest.raises(PeerTimeout, match="the receiver has not taken the last 250 bytes"):
        peer.take(hand_over(peer.ours, timeout_s=5.0))


def test_a_peer_that_breaks_off_at_the_end_has_lost_what_it_had_not_read() -> None:
    peer = Peer()
    peer.ours.send((b"x" * 250,), more=False)
    peer._plans.append((0.0, peer._theirs.reset))
    with pytest.raises(PeerClosed, match="what the receiver had not read is lost"):
        peer.take(hand_over(peer.ours, timeout_s=5.0))


@pytest.mark.parametrize("every_s", [1.0, 4.9])
def test_heartbeats_alone_do_not_keep_a_request_waiting_for_ever(every_s: float) -> None:
    peer = Peer()
    began = peer.clock.now
    for number in range(400):
        peer.say(ALIVE, after_s=number * every_s)
    with pytest.raises(PeerTimeout, match="has not answered a request within 30"):
        peer.take(ask(peer.ours, welcomed(), b"?\n", timeout_s=5.0, what="a request"))
    assert peer.clock.now < began + 310.0


def test_a_flood_of_heartbeats_ends_a_request() -> None:
    peer = Peer(capacity=10_000_000)
    peer.say(ALIVE * 10_001)
    with pytest.raises(ProtocolError, match="10001 signs of life instead of an answer to a request"):
        peer.take(ask(peer.ours, welcomed(), b"?\n", timeout_s=5.0, what="a request"))


def welcomed() -> DeliveryClientProtocol:
    protocol = DeliveryClientProtocol()
    protocol.receive_data(WELCOME)
    return protocol


def test_an_answer_that_comes_byte_by_byte_costs_no_more_than_its_bytes() -> None:
    protocol = DeliveryClientProtocol()
    line = answer_line("hello", version=1, max_batch_bytes=1000, durability="os", more="x" * 200_000)
    answers = [answer for place in range(len(line)) for answer in protocol.receive_data(line[place : place + 1])]
    assert [type(answer) for answer in answers] == [Welcome]
