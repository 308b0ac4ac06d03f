"""A worker's thread: it starts, wakes, stops in time, and what it fails with reaches whoever joins it."""

import threading

import pytest

from logferry.worker import Worker
from tests.support.running import DEADLINE_S, wait_until


def test_it_runs_until_it_is_stopped() -> None:
    rounds = []

    def run(worker: Worker) -> None:
        while not worker.wait(0.001):
            rounds.append(threading.current_thread().name)

    worker = Worker(run, name="rounds")
    worker.start()
    wait_until(lambda: len(rounds) >= 2, "two rounds")
    assert worker.is_running
    assert worker.stop(DEADLINE_S)
    assert not worker.is_running
    assert set(rounds) == {"rounds"}


def test_a_long_wait_ends_when_it_is_woken_and_the_next_one_waits_again() -> None:
    woken = []

    def run(worker: Worker) -> None:
        while not worker.is_stopping:
            worker.wait()
            woken.append(worker.is_woken)

    worker = Worker(run, name="sleeper")
    worker.start()
    worker.wake()
    wait_until(lambda: len(woken) == 1, "the wake-up")
    assert worker.stop(DEADLINE_S)
    assert woken == [False, False]


def test_a_wake_up_before_the_wait_is_not_lost() -> None:
    worker = Worker(lambda worker: worker.wait(DEADLINE_S), name="late")
    worker.wake()
    assert worker.is_woken
    worker.start()
    assert worker.join(DEADLINE_S)


def test_a_wait_that_nobody_ends_says_so() -> None:
    answers: list[bool] = []
    worker = Worker(lambda worker: answers.append(worker.wait(0.001)), name="alone")
    worker.start()
    assert worker.join(DEADLINE_S)
    assert answers == [False]


def test_a_target_that_waits_elsewhere_is_woken_by_its_own_means() -> None:
    elsewhere = threading.Event()
    worker = Worker(lambda _: elsewhere.wait(), name="elsewhere", on_stop=elsewhere.set)
    worker.start()
    assert worker.stop(DEADLINE_S)


def test_a_thread_that_does_not_end_in_time_is_left_behind() -> None:
    stuck = threading.Event()
    worker = Worker(lambda _: stuck.wait(), name="stuck")
    worker.start()
    assert not worker.stop(0.001)
    stuck.set()
    assert worker.join(DEADLINE_S)


def test_the_thread_that_joins_gets_the_failure() -> None:
    def fail(_: Worker) -> None:
        raise ValueError("bug")

    worker = Worker(fail, name="failing")
    worker.start()
    with pytest.raises(ValueError, match="bug"):
        worker.stop(DEADLINE_S)
    assert isinstance(worker.failure, ValueError)


def test_a_thread_that_only_waits_for_the_end_finds_the_failure_in_the_worker() -> None:
    ended, found = threading.Event(), list[BaseException | None]()

    def note_end() -> None:
        found.append(worker.failure)
        ended.set()

    worker = Worker(lambda _: [][0], name="failing", on_end=note_end)
    worker.start()
    assert ended.wait(DEADLINE_S)
    assert isinstance(found[0], IndexError)
    assert worker.wait_for_end(DEADLINE_S), "which does not raise"


def test_one_that_was_never_started_has_ended() -> None:
    assert Worker(lambda _: None, name="never").stop()
