"""The answer queue: in order, in pieces, and cheap for any number of answers."""

from logferry.server.clients.sessions.answers import AnswerQueue, cost_of

OK, NO = b'{"status": "ok"}\n', b'{"status": "error"}\n'


def everything(queue: AnswerQueue) -> list[bytes]:
    pieces = []
    while queue:
        pieces.append(queue.next_piece())
    return pieces


def test_answers_leave_in_the_order_in_which_they_came() -> None:
    queue = AnswerQueue()
    queue.extend([(OK, 2), (NO, 1)])
    queue.add(OK)
    assert everything(queue) == [OK * 2 + NO + OK]
    assert not queue


def test_many_answers_leave_in_pieces_of_whole_lines() -> None:
    queue = AnswerQueue()
    queue.extend([(OK, 50_000), (NO, 3)])
    pieces = everything(queue)
    assert b"".join(pieces) == OK * 50_000 + NO * 3
    assert len(pieces) == 50_000 * len(OK) // (128 * 1024) + 1
    assert all(piece.endswith(b"\n") and len(piece) < 129 * 1024 for piece in pieces)


def test_identical_answers_share_one_entry() -> None:
    queue = AnswerQueue()
    for _ in range(1000):
        queue.add(OK)
    assert queue.cost == cost_of([(OK, 1)])
    assert everything(queue) == [OK * 1000]


def test_a_cleared_queue_owes_nothing() -> None:
    queue = AnswerQueue()
    queue.extend([(OK, 2)])
    queue.clear()
    assert not queue
    assert queue.cost == 0


def test_the_cost_is_that_of_the_answers_that_are_left() -> None:
    queue = AnswerQueue()
    answers = [(OK, 1), (NO, 100_000), (OK, 7)]
    queue.extend(answers)
    assert queue.cost == cost_of(answers)
    queue.next_piece()
    assert queue.cost == cost_of(answers[1:])
    everything(queue)
    assert queue.cost == 0
