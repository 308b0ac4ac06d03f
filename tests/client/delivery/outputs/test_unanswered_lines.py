"""Answers that name no line: which line each of them is for."""

import time

import pytest

from logferry.client.delivery.outputs.unanswered_lines import UnansweredLines, unanswered_part
from logferry.errors import ProtocolError
from logferry.model.batch import Batch
from logferry.model.source import Source
from tests.support.running import numbered_line

SOURCE = Source("app.log")


def batch(*numbers: int, acked: int = 0) -> Batch:
    lines = [numbered_line(number) for number in numbers]
    return Batch(SOURCE, 0, 1, b"".join(lines), len(lines), acked=acked)


def unanswered(*batches: Batch) -> UnansweredLines:
    lines = UnansweredLines()
    for each in batches:
        lines.add(each)
    return lines


def test_answers_go_to_the_oldest_lines() -> None:
    """Rule C1."""
    first, second = batch(0, 1, 2), batch(3, 4)
    lines = unanswered(first, second)
    assert list(lines.answer(4)) == [(first, 3), (second, 1)]
    assert lines.next_line() == (second, numbered_line(4)[:-1])
    assert list(lines.answer(1)) == [(second, 1)]
    assert not lines


def test_lines_that_were_answered_on_an_earlier_connection_are_not_sent_and_not_awaited() -> None:
    """Rule C2."""
    half, done = batch(0, 1, 2, acked=2), batch(3, acked=1)
    assert unanswered_part(half) == numbered_line(2)
    assert unanswered_part(done) == b""
    lines = unanswered(done, half)
    assert lines.next_line() == (half, numbered_line(2)[:-1])
    assert list(lines.answer(1)) == [(half, 1)]
    assert not lines


def test_more_answers_than_lines_are_an_error_after_those_that_were_sent() -> None:
    """Rule C4."""
    first = batch(0)
    lines = unanswered(first)
    answers = lines.answer(2)
    assert next(answers) == (first, 1)
    with pytest.raises(ProtocolError, match="1 more answers than it was sent lines"):
        next(answers)
    with pytest.raises(ProtocolError, match="more answers than it was sent lines"):
        lines.next_line()


def test_batches_without_lines_await_nothing() -> None:
    assert not unanswered(Batch(SOURCE, 0, 1))


def test_lines_are_named_one_by_one_without_looking_at_the_answered_ones_again() -> None:
    large = batch(*range(20_000))
    lines = unanswered(large)
    list(lines.answer(5000))
    begin = time.process_time()
    for number in range(5000, 20_000):
        assert lines.next_line() == (large, numbered_line(number)[:-1])
        list(lines.answer(1))
    assert time.process_time() - begin < 3  # each look at all of them would take a millisecond
    assert not lines
