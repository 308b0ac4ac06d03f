"""Repeated messages: the first at once, then counts, nothing silently left out, in bounded memory."""

import itertools
import logging
import threading
from collections.abc import Iterator

import pytest

from logferry.telemetry.log_limits import LAST_INTERVAL_S, FloodGuard, RateLimit, RepeatLimit
from tests.support.running import DEADLINE_S

logger = logging.getLogger("logferry.tests.log_limits")


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger=logger.name):
        yield


# --- one condition that lasts -----------------------------------------------------------------------------------------


def test_a_repeated_message_is_logged_once_and_then_counted(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    limit = RepeatLimit(logger, interval_s=60, clock=clock)
    assert limit.log(logging.ERROR, "disk", "cannot write %s", "/data")
    for _ in range(2000):
        clock.now += 1 / 64
        assert not limit.log(logging.ERROR, "disk", "cannot write %s", "/data")
    clock.now += 60 - 2000 / 64
    assert limit.log(logging.ERROR, "disk", "cannot write %s", "/data")
    assert caplog.messages == ["cannot write /data", "cannot write /data (repeated 2001 times in 60 s)"]


def test_the_first_few_messages_can_all_be_logged(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    limit = RepeatLimit(logger, first=3, clock=clock)
    for number in range(5):
        clock.now += 1
        limit.log(logging.ERROR, "line", "refused line %d", number)
    clock.now += 60
    limit.log(logging.ERROR, "line", "refused line %d", 5)
    assert caplog.messages == [
        *(f"refused line {number}" for number in range(3)),
        "refused line 5 (repeated 3 times in 62 s)",
    ]


def test_messages_with_different_keys_do_not_hide_each_other(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    limit = RepeatLimit(logger, clock=clock)
    for path in ("/a", "/b", "/a", "/b"):
        limit.log(logging.WARNING, path, "cannot read %s", path)
    assert caplog.messages == ["cannot read /a", "cannot read /b"]


def test_counts_of_a_long_outage_become_rarer_up_to_one_an_hour(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    limit = RepeatLimit(logger, interval_s=60, clock=clock)
    moments = []
    for second in range(0, 6 * 3600, 30):
        clock.now = 1000.0 + second
        if limit.log(logging.ERROR, "net", "no route"):
            moments.append(second)
    steps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert steps == [60, 120, 240, 480, 960, 1920, *[LAST_INTERVAL_S] * (len(steps) - 6)]
    assert len(caplog.messages) == len(moments)


def test_a_condition_that_is_over_logs_its_count_and_is_new_the_next_time(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    limit = RepeatLimit(logger, clock=clock)
    limit.log(logging.ERROR, "disk", "full")
    limit.log(logging.ERROR, "disk", "full")
    clock.now += 3
    assert limit.over("disk")
    assert not limit.over("disk")
    limit.log(logging.ERROR, "disk", "full")
    assert caplog.messages == ["full", "full (repeated once in 3 s)", "full"]


def test_a_recovery_is_logged_with_the_repeats_only_after_a_failure(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    limit = RepeatLimit(logger, clock=clock)
    assert not limit.over("disk", "writing to %s again", "/data")
    assert not limit.all_over("writing to %s again", "/data")
    for reason in ("full", "full", "broken"):
        limit.log(logging.ERROR, reason, reason)
    clock.now += 3
    assert limit.all_over("writing to %s again", "/data")
    limit.log(logging.ERROR, "full", "full")
    assert limit.over("full", "writing again")
    assert caplog.messages == [
        "full",
        "broken",
        "writing to /data again (repeated once in 3 s)",
        "full",
        "writing again",
    ]
    assert [caplog.records[2].levelno, caplog.records[4].levelno] == [logging.INFO, logging.INFO]


def test_the_end_of_a_run_logs_what_was_left_out(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    limit = RepeatLimit(logger, clock=clock)
    for key in ("a", "b", "b", "b"):
        limit.log(logging.WARNING, key, "lost %s", key)
    limit.flush()
    limit.flush()
    assert caplog.messages == ["lost a", "lost b", "lost b (repeated 2 times in 0 s)"]
    assert caplog.records[-1].levelno == logging.WARNING


def test_any_number_of_keys_takes_bounded_memory_and_no_count_is_lost(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    limit = RepeatLimit(logger, max_keys=3, clock=clock)
    for key in ("a", "a", "b", "c", "b", "a", "d"):
        limit.log(logging.INFO, key, "key %s", key)
    assert caplog.messages == ["key a", "key b", "key c", "key d"], "c is the oldest, and was never repeated"
    limit.log(logging.INFO, "e", "key e")
    assert caplog.messages[-2:] == ["key e", "key b (repeated once in 0 s)"]


def test_messages_below_the_log_level_are_not_counted(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    limit = RepeatLimit(logger, clock=clock)
    assert not limit.log(logging.DEBUG, "x", "detail")
    limit.flush()
    assert caplog.messages == []


def test_a_message_with_a_percent_sign_needs_no_values(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    limit = RepeatLimit(logger, clock=clock)
    limit.log(logging.ERROR, "x", "100% full")
    limit.log(logging.ERROR, "x", "100% full")
    limit.flush()
    assert caplog.messages == ["100% full", "100% full (repeated once in 0 s)"]


# --- many events of a kind --------------------------------------------------------------------------------------------


def test_in_a_busy_second_a_few_events_are_logged_and_the_others_counted(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    limit = RateLimit(logger, per_second=2, what="connects", clock=clock)
    assert [limit.log(logging.INFO, "client %d", number) for number in range(5)] == [True, True, False, False, False]
    clock.now += 1
    limit.log(logging.INFO, "client %d", 5)
    assert caplog.messages == [
        "client 0",
        "client 1",
        "... 3 more connects in 1.0 s were not logged",
        "client 5",
    ]


def test_after_the_last_event_a_regular_call_logs_the_count(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    limit = RateLimit(logger, per_second=1, what="refusals", clock=clock)
    limit.log(logging.INFO, "refused")
    limit.log(logging.WARNING, "refused")
    limit.flush_if_due()
    assert caplog.messages == ["refused"]
    clock.now += 1.5
    limit.flush_if_due()
    limit.flush()
    assert caplog.messages == ["refused", "... 1 more refusals in 1.5 s were not logged"]
    assert caplog.records[-1].levelno == logging.WARNING


def test_the_end_of_a_run_logs_the_count_of_the_present_second(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    limit = RateLimit(logger, per_second=0, what="events", clock=clock)
    limit.log(logging.INFO, "x")
    limit.flush()
    assert caplog.messages == ["... 1 more events in 0.0 s were not logged"]


def test_threads_lose_no_count(caplog: pytest.LogCaptureFixture) -> None:
    limit = RepeatLimit(logger)

    def log_often() -> None:
        for _ in range(500):
            limit.log(logging.ERROR, "x", "same")

    threads = [threading.Thread(target=log_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    limit.flush()
    assert caplog.messages[0] == "same"
    assert caplog.messages[1].startswith("same (repeated 1999 times")


def test_a_flood_that_lasts_is_logged_less_and_less_until_it_pauses(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    limit = RateLimit(logger, per_second=3, what="connects", clock=clock)
    for _ in range(3600 * 10):
        clock.now += 0.1
        limit.log(logging.INFO, "client")
    assert len(caplog.messages) < 300, "an hour of a flood is four lines a minute"
    clock.now += 120
    limit.flush_if_due()
    clock.now += 120
    limit.flush_if_due()
    caplog.clear()
    for _ in range(4):
        limit.log(logging.INFO, "client")
    clock.now += 1
    limit.flush_if_due()
    assert caplog.messages == ["client"] * 3 + ["... 1 more connects in 1.0 s were not logged"]


def test_messages_that_are_all_different_are_limited_too(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    """Keys may come from a peer: an address that changes with each connection, a path, a reason."""
    limit = RepeatLimit(logger, clock=clock)
    for number in range(100_000):
        clock.now += 0.001
        limit.log(logging.WARNING, number, "stranger %d", number)
        if number % 2:
            limit.log(logging.WARNING, number, "stranger %d", number)
    assert len(caplog.messages) < 250
    assert "different messages" in caplog.text


# --- the log as a whole -----------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(clock: Clock) -> Iterator[tuple[logging.Logger, list[str], FloodGuard]]:
    """A logger whose only handler has a guard, and the messages that pass."""
    messages: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler, guard, own = Keeper(), FloodGuard(per_second=2, clock=clock), logging.getLogger("logferry.tests.guarded")
    handler.addFilter(guard)
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    yield own, messages, guard
    own.removeHandler(handler)


def test_a_statement_that_logs_in_a_flood_is_limited_and_counted(
    guarded: tuple[logging.Logger, list[str], FloodGuard], clock: Clock
) -> None:
    """A writer of log files can rotate a thousand times a second."""
    own, messages, guard = guarded
    for number in range(100):
        own.info("%s is a new file now", number)
    own.info("another statement")
    assert messages == ["0 is a new file now", "1 is a new file now", "another statement"]
    clock.now += 1
    own.info("a third statement")
    assert messages[3:] == [
        "... 98 more messages like '%s is a new file now' in 1.0 s were not logged",
        "a third statement",
    ]
    for number in range(3):
        own.info("%s is a new file now, again", number)
    guard.flush()
    assert messages[-1] == "... 1 more messages like '%s is a new file now, again' in 0.0 s were not logged"


def test_at_debug_level_the_guard_suppresses_nothing(
    guarded: tuple[logging.Logger, list[str], FloodGuard],
) -> None:
    own, messages, _ = guarded
    own.setLevel(logging.DEBUG)
    for number in range(100):
        own.info("%s", number)
    assert len(messages) == 100


@pytest.mark.parametrize("kind", ["repeats", "rate", "guard"])
def test_a_signal_handler_may_log_while_a_limit_is_at_work(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The handler runs in the thread that it interrupts: here, whenever a limit asks for the time or shows a value."""
    is_handling = False

    def interrupt() -> float:
        nonlocal is_handling
        if not is_handling:
            is_handling = True
            log("handler")
            is_handling = False
        return 1000.0

    class Interrupting:
        def __str__(self) -> str:
            return str(interrupt())

    is_handling = True
    repeats, rate = RepeatLimit(logger), RateLimit(logger, per_second=9, what="events", clock=interrupt)
    guard = FloodGuard(clock=interrupt)
    is_handling = False

    def log(text: str) -> None:
        record = logging.LogRecord(logger.name, logging.INFO, text, 1, text, (), None)
        if kind == "repeats":
            repeats.log(logging.INFO, text, "%s %s", text, "" if is_handling else Interrupting())
        elif kind == "rate":
            rate.log(logging.INFO, "%s", text)
        elif guard.filter(record):
            logger.info("%s", text)

    thread = threading.Thread(target=log, args=("main",), daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert {record.getMessage().split()[0] for record in caplog.records} == {"main", "handler"}
