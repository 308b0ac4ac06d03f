"""Waiting for descriptors that announce changes of files: what ends a wait, and how seldom they are listened to."""

import socket
import threading
import time

import pytest

from logferry.client.net.waiting.poller import MAX_PAUSE_S, PAUSE_FACTOR, PAUSE_S, Poller
from logferry.client.net.waiting.readiness import READ
from logferry.client.net.waiting.wakeup import Wakeup
from tests.support.builders import Clock
from tests.support.running import DEADLINE_S


def test_an_announcement_ends_a_wait(announcement: Wakeup) -> None:
    poller = Poller()
    threading.Timer(0.01, announcement.set).start()
    assert poller.poll({}, [announcement.fileno()], DEADLINE_S) == ({}, True)


def test_without_an_announcement_the_time_runs_out(announcement: Wakeup) -> None:
    assert Poller().poll({}, [announcement.fileno()], 0.005) == ({}, False)


def test_what_is_wanted_and_what_announces_are_told_apart(
    announcement: Wakeup, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    wanted = {ours.fileno(): READ}
    theirs.send(b"x")
    assert Poller().poll(wanted, [announcement.fileno()], DEADLINE_S) == ({ours.fileno(): READ}, False)
    announcement.set()
    assert Poller().poll(wanted, [announcement.fileno()], DEADLINE_S) == ({ours.fileno(): READ}, True)


def test_an_announcement_that_is_never_reset_is_returned_at_a_limited_rate(announcement: Wakeup) -> None:
    poller, began, times = Poller(), time.monotonic(), 50
    announcement.set()
    for _ in range(times):
        assert poller.poll({}, [announcement.fileno()], DEADLINE_S) == ({}, True)
    assert time.monotonic() - began >= (times - 1) * PAUSE_S


def test_a_descriptor_that_is_closed_is_announced_only_so_often() -> None:
    closed = Wakeup()
    fd = closed.fileno()
    closed.close()
    poller, began, times = Poller(), time.monotonic(), 20
    for _ in range(times):
        assert poller.poll({}, [fd], DEADLINE_S) == ({}, True)
    assert time.monotonic() - began >= (times - 1) * PAUSE_S


def test_during_a_pause_other_descriptors_still_end_a_wait(
    announcement: Wakeup, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    clock_stands_still = Poller(lambda: 0.0)
    announcement.set()
    assert clock_stands_still.poll({}, [announcement.fileno()], DEADLINE_S) == ({}, True)
    theirs.send(b"x")
    ready, is_announced = clock_stands_still.poll({ours.fileno(): READ}, [announcement.fileno()], DEADLINE_S)
    assert ready == {ours.fileno(): READ}
    assert not is_announced


@pytest.mark.parametrize(("took_s", "rest_s"), [(0.01, 0.01 * PAUSE_FACTOR), (60.0, MAX_PAUSE_S)], ids=["some", "long"])
def test_the_longer_a_check_takes_the_longer_is_the_pause(announcement: Wakeup, took_s: float, rest_s: float) -> None:
    """Lines of thousands of files gather meanwhile; but a disk that does not answer is no reason to be deaf."""
    clock = Clock()
    poller = Poller(clock)
    announcement.set()
    poller.pause(took_s)
    clock.now += 0.99 * rest_s
    assert poller.poll({}, [announcement.fileno()], 0.0) == ({}, False)
    clock.now += 0.02 * rest_s
    assert poller.poll({}, [announcement.fileno()], 0.0) == ({}, True)


def test_a_pause_is_at_most_as_long_as_the_wait(announcement: Wakeup) -> None:
    clock_stands_still = Poller(lambda: 0.0)
    announcement.set()
    clock_stands_still.poll({}, [announcement.fileno()], DEADLINE_S)
    assert clock_stands_still.poll({}, [announcement.fileno()], 0.0) == ({}, False)
