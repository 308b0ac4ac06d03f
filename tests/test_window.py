"""The window of unacked batches: which answers it takes, and what is left to send again."""

import time

import pytest

from logferry.client.shipper import WINDOW_BYTES
from logferry.client.source_file import Source
from logferry.client.window import Batch, Window, rest_of
from logferry.errors import PeerConfused
from tests.support import numbered_line

SOURCE = Source("app.log")


def batch(*numbers: int, in_flight: bool = True) -> Batch:
    lines = [numbered_line(number) for number in numbers]
    return Batch(SOURCE, 0, 1, b"".join(lines), len(lines), in_flight=in_flight)


def window_of(*batches: Batch, max_bytes: int = 10**6) -> Window:
    window = Window(max_bytes=max_bytes)
    for each in batches:
        window.add(each)
    return window


def test_answers_go_to_the_oldest_lines_and_complete_batches_are_forgotten() -> None:
    """Rules C1 and C2."""
    first, second = batch(0, 1, 2), batch(3, 4)
    window = window_of(first, second)
    assert list(window.answer(4)) == [(first, 3), (second, 1)]
    assert list(window.take_done()) == [first]
    assert list(window) == [second]
    assert rest_of(second) == numbered_line(4)
    assert window.unacked_lines == 1


def test_what_was_not_sent_on_this_connection_cannot_be_answered_on_it() -> None:
    """Rule C4."""
    window = window_of(batch(0), batch(1, in_flight=False))
    answers = window.answer(2)
    next(answers)
    with pytest.raises(PeerConfused, match="more answers than it got lines"):
        next(answers)
    with pytest.raises(PeerConfused):
        window.next_unanswered_line()
    assert window.unacked_lines == 1


def test_an_empty_window_takes_no_answers() -> None:
    window = window_of()
    with pytest.raises(PeerConfused):
        list(window.answer(1))
    with pytest.raises(PeerConfused):
        window.next_unanswered_line()


def test_the_bound_counts_bytes_and_lets_one_batch_in_always() -> None:
    """Rule C1."""
    large = batch(*range(100))
    window = window_of(max_bytes=10)
    assert window.has_room
    window.add(large)
    assert not window.has_room
    list(window.answer(99))
    assert not window.has_room
    list(window.answer(1))
    assert list(window.take_done()) == [large]
    assert window.has_room


def test_a_window_is_8_mib_of_rendered_lines() -> None:
    """Rule C1."""
    assert WINDOW_BYTES == 8 * 1024 * 1024


def test_lines_are_named_one_by_one_without_looking_at_the_answered_ones_again() -> None:
    large = batch(*range(20_000))
    window = window_of(large)
    list(window.answer(5000))
    begin = time.process_time()
    for number in range(5000, 20_000):
        assert window.next_unanswered_line() == (large, numbered_line(number)[:-1])
        list(window.answer(1))
    assert time.process_time() - begin < 3  # each look at all of them would take a millisecond
    assert rest_of(large) == b""
