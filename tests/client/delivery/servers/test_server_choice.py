"""Which of several servers a client uses, without a socket and without time passing."""

from collections import Counter

import pytest

from logferry.client.delivery.servers.retry import Backoff
from logferry.client.delivery.servers.server_choice import Reason, ServerChoice, in_order, reason_of
from logferry.errors import (
    DeliveryError,
    NotALogServer,
    NotAuthorised,
    PeerClosed,
    PeerTimeout,
    ServerFull,
    Unreachable,
)

REFUSED = Unreachable("cannot connect to a:1: refused", "refused")
DENIED = NotAuthorised("not authorised: who are you?")


class Used:
    """A choice among servers, and what it has said."""

    def __init__(self, *names: str, failback_after_s: float = 300.0) -> None:
        self.uses: list[tuple[str, Reason | None]] = []
        self.choice = ServerChoice(
            names,
            failback_after_s=failback_after_s,
            backoff=Backoff(uniform=lambda: 1.0),
            on_use=lambda name, reason: self.uses.append((name, reason)),
        )

    @property
    def name(self) -> str:
        return self.choice.names[self.choice.current]

    def fails(self, now: float = 0.0, error: DeliveryError = REFUSED) -> DeliveryError | None:
        return self.choice.failed(error, now)


def test_one_server_is_left_to_the_backoff_alone() -> None:
    used = Used("a:1")
    assert [used.fails(float(now)) for now in range(3)] == [REFUSED] * 3
    assert used.uses == []
    assert ServerChoice(()).failed(REFUSED, 0.0) is REFUSED


def test_the_next_one_follows_at_once_and_a_pause_only_when_all_have_failed() -> None:
    used = Used("a:1", "b:1", "c:1")
    assert used.fails() is None
    assert used.name == "b:1"
    assert used.fails(error=PeerTimeout("silent")) is None
    assert used.name == "c:1"
    assert used.fails(error=PeerClosed("closed")) is REFUSED
    assert used.name == "a:1"  # after the pause, all are tried again, the preferred one first
    assert [reason for _, reason in used.uses[:2]] == [Reason.UNREACHABLE, Reason.SILENT]


def test_of_all_failures_one_that_may_pass_by_itself_is_reported() -> None:
    used = Used("a:1", "b:1")
    assert used.fails(error=DENIED) is None
    assert used.fails(error=REFUSED) is REFUSED
    assert used.fails(error=DENIED) is None
    assert used.fails(error=DENIED) is DENIED


def test_a_dead_server_is_not_tried_each_time_that_another_one_fails() -> None:
    used, tried = Used("a:1", "b:1"), Counter[str]()
    for second in range(600):  # the second server breaks once a second, after it has stored something
        if used.name == "b:1":
            used.choice.delivered()
        tried[used.name] += 1
        if used.fails(float(second)) is None and used.name == "a:1":
            tried["a:1"] += 1
            used.fails(float(second))
    assert tried["a:1"] < 30
    assert tried["b:1"] > 500


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (REFUSED, Reason.UNREACHABLE),
        (Unreachable("it is another one", is_insecure=True), Reason.TLS),
        (DENIED, Reason.DENIED),
        (PeerClosed("closed"), Reason.CLOSED),
        (PeerTimeout("silent"), Reason.SILENT),
        (ServerFull("no space"), Reason.FULL),
        (NotALogServer("answered HTTP"), Reason.PROTOCOL),
    ],
)
def test_each_failure_has_a_reason_of_a_few(error: DeliveryError, reason: Reason) -> None:
    assert reason_of(error) is reason


class TestGoingBack:
    def used(self, failback_after_s: float = 300.0) -> Used:
        used = Used("a:1", "b:1", failback_after_s=failback_after_s)
        used.fails()
        used.choice.connected(0.0)
        return used

    def test_it_needs_probes_that_have_succeeded_for_that_long(self) -> None:
        used = self.used()
        now, probes = 0.0, 0
        while used.choice.to_return_to(now) is None:
            assert used.choice.next_timer is not None
            now = used.choice.next_timer
            assert used.choice.probe_due(now) == 0
            assert used.choice.probe_due(now) is None  # one at a time
            used.choice.probed(0, "", now)
            probes += 1
        assert now == 330.0  # the first probe after half a minute, then 300 seconds
        assert probes == 11
        used.choice.go_back(0)
        assert used.name == "a:1"
        assert used.uses[-1] == ("a:1", Reason.RETURNED)
        assert used.choice.next_timer is None

    def test_a_probe_that_fails_begins_it_anew_and_probes_back_off(self) -> None:
        used = self.used(failback_after_s=1.0)
        used.choice.probed(0, "", 1.0)
        used.choice.probed(0, "no answer", 1.25)
        assert used.choice.why_not_first == "no answer"
        used.choice.probed(0, "", 2.0)
        assert used.choice.to_return_to(2.5) is None
        assert used.choice.to_return_to(3.0) == 0
        for _ in range(10):
            used.choice.probed(0, "no answer", 10.0)
        assert used.choice.next_timer == 40.0

    def test_without_probes_nothing_is_guessed(self) -> None:
        assert self.used().choice.to_return_to(10**6) is None

    def test_an_earlier_server_is_better_than_a_later_one_even_if_it_is_not_the_first(self) -> None:
        used = Used("a:1", "b:1", "c:1", failback_after_s=1.0)
        used.fails()
        used.fails()
        used.choice.connected(0.0)
        used.choice.probed(1, "", 1.0)
        used.choice.probed(0, "dead", 1.0)
        assert used.choice.to_return_to(2.0) == 1


class TestVisiting:
    def test_a_later_server_is_checked_now_and_then_and_left_alone_after_a_visit(self) -> None:
        used = Used("a:1", "b:1", "c:1")
        used.choice.connected(0.0)
        assert used.choice.check_due(0.0) is None
        now = used.choice.next_timer
        assert now is not None
        assert [used.choice.check_due(now) for _ in range(3)] == [1, 2, None]
        assert used.choice.next_timer == now + 300.0
        used.choice.visit(2, 7, now)
        assert used.uses[-1] == ("c:1", Reason.REPAIR)
        used.choice.go_back(0)
        used.choice.connected(now)
        assert used.choice.check_due(now + 3599.0) == 1
        assert used.choice.check_due(now + 3599.0) is None
        assert used.choice.check_due(now + 3600.0) == 2


def test_spread_divides_clients_and_a_new_server_moves_only_its_share() -> None:
    three, four = ["a:1", "b:1", "c:1"], ["a:1", "b:1", "c:1", "d:1"]
    clients = [f"client-{number}" for number in range(1000)]
    before = {client: three[in_order(three, client, "spread")[0]] for client in clients}
    after = {client: four[in_order(four, client, "spread")[0]] for client in clients}
    assert all(270 < count < 400 for count in Counter(before.values()).values())
    moved = {client for client in clients if before[client] != after[client]}
    assert {after[client] for client in moved} == {"d:1"}
    assert 190 < len(moved) < 310


def test_spread_is_stable_whatever_the_order_in_which_servers_are_named() -> None:
    names, mixed = ["a:1", "b:1", "c:1"], ["c:1", "a:1", "b:1"]
    for client in ("x", "y", "z"):
        by_name = [names[place] for place in in_order(names, client, "spread")]
        assert by_name == [mixed[place] for place in in_order(mixed, client, "spread")]
    assert in_order(names, "x", "failover") == [0, 1, 2]
