"""Which time limits a connection exceeds, on a clock that the test moves."""

import pytest

from logferry.server.clients.connection.patience import Overdue, Patience, Watch

PATIENCE = Patience(ack_stall_s=30, linger_s=2, alive_s=5, idle_s=600)


def overdue(watch: Watch, now: float, *, is_idle: bool = True, client_waits: bool = False, untaken: int = 0) -> object:
    return watch.overdue(now, is_idle=is_idle, client_waits=client_waits, untaken_bytes=lambda: untaken)


def test_the_shortest_limit_is_the_minimum_of_all() -> None:
    assert PATIENCE.shortest_s == 2
    assert Patience(idle_s=0.1).shortest_s == 0.1


def test_silence_is_measured_from_the_last_byte() -> None:
    watch = Watch(PATIENCE, 0)
    assert overdue(watch, 600) is None
    assert overdue(watch, 601) is Overdue.SILENCE
    watch.heard = 500
    assert overdue(watch, 1100) is None
    assert overdue(watch, 1101) is Overdue.SILENCE


def test_a_client_that_waits_for_the_server_is_not_silent() -> None:
    assert overdue(Watch(PATIENCE, 0), 10_000, is_idle=False) is None


def test_a_client_that_waits_gets_a_sign_of_life_now_and_then() -> None:
    watch = Watch(PATIENCE, 0)
    assert overdue(watch, 5, is_idle=False, client_waits=True) is None
    assert overdue(watch, 6, is_idle=False, client_waits=True) is Overdue.SIGN_OF_LIFE
    watch.answered = 6
    assert overdue(watch, 11, is_idle=False, client_waits=True) is None


def test_a_client_that_reads_no_acks_is_dropped_and_a_slow_client_is_not() -> None:
    watch = Watch(PATIENCE, 0)
    watch.blocked(100, 1000)
    assert watch.is_blocked
    assert overdue(watch, 129, untaken=1000) is None
    assert overdue(watch, 131, untaken=999) is None  # the client has read one byte
    assert overdue(watch, 161, untaken=999) is None
    assert overdue(watch, 162, untaken=999) is Overdue.ACKS_NOT_TAKEN
    watch.unblocked()
    assert overdue(watch, 162) is None


@pytest.mark.parametrize("is_blocked", [False, True])
def test_a_client_that_does_not_close_is_cut_off(is_blocked: bool) -> None:
    watch = Watch(PATIENCE, 0)
    if is_blocked:
        watch.blocked(0, 10)
    watch.closing(50)
    assert overdue(watch, 52) is None
    assert overdue(watch, 52.1) is Overdue.CLOSE
