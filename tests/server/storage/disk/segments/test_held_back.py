"""What waits for a name: in which order it is tried again, what is reported of it, and what is given up."""

from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.disk.segments.held_back import MAX_TRIED, HeldBack
from logferry.server.storage.log_names import LogName
from tests.support.stores import LINES, delivery

LOGS = [LogName("10.0.0.1", str(number)) for number in range(MAX_TRIED + 10)]


def _held() -> tuple[HeldBack, list[Delivery], list[Delivery]]:
    reported: list[Delivery] = []
    held = HeldBack(first_retry_s=0.0, on_held=reported.extend)
    deliveries = [delivery(LINES[0], log=log) for log in LOGS for _ in range(2)]
    assert held.hold(deliveries, LOGS) == []
    return held, deliveries, reported


def test_each_attempt_has_a_bounded_number_of_names_and_all_have_their_turn() -> None:
    held, deliveries, reported = _held()
    first = held.take()
    assert first == deliveries[: 2 * MAX_TRIED]
    assert held.hold(first, LOGS) == []
    second = held.take()
    assert second[:20] == deliveries[2 * MAX_TRIED :]
    assert len(second) == 2 * MAX_TRIED
    assert reported == deliveries  # each once


def test_what_is_given_up_waits_no_more_and_frees_its_names() -> None:
    held, deliveries, _ = _held()
    assert held.give_up(set(deliveries[:2]) | {delivery(LINES[1])}) == deliveries[:2]
    assert [each.is_given_up for each in deliveries[:3]] == [True, True, False]
    later = [delivery(LINES[1], log=LOGS[0]), delivery(LINES[1], log=LOGS[1])]
    assert held.without_held(later) == later[:1]
    assert len(held) == len(deliveries) - 1
