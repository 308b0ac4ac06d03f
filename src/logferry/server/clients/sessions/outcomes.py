"""Outcomes of the delivery extension's requests, on their way to becoming answer lines.

Acks are cumulative: of several positions of one source in a row, the last one says all, so a group of a thousand small
batches is answered with one line a source.
"""

from typing import Final

from logferry.protocol.acks import MAX_REASON_CHARS
from logferry.protocol.delivery import answer_line, refusal_line
from logferry.protocol.delivery_answers import BatchRefused, Position
from logferry.server.clients.sessions.base import Answers, ClientDelivery, add_answer


class Outcomes:
    """What is to be answered to a group of deliveries, in order."""

    def __init__(self, *, durability: str) -> None:
        self._durability: Final = durability
        self._outcomes: list[tuple[bytes, int] | Position] = []
        self._last_position: dict[str, int] = {}  # where in `_outcomes`

    def add(self, delivery: ClientDelivery) -> None:
        """Add what the store decided about a delivery, after the answers that the delivery brings itself."""
        self._outcomes += delivery.answers
        outcome = delivery.source_request.outcome if delivery.source_request else None
        if isinstance(outcome, Position):
            self._add_position(outcome)
        elif isinstance(outcome, BatchRefused):
            self._last_position.pop(outcome.source, None)
            self._outcomes.append((_refusal(outcome), 1))

    def take_answers(self) -> Answers:
        """Return the answers to everything that was added since the last call."""
        answers: Answers = []
        for outcome in self._outcomes:
            if isinstance(outcome, Position):
                add_answer(answers, self._position_line(outcome), 1)
            else:
                add_answer(answers, *outcome)
        self._outcomes.clear()
        self._last_position.clear()
        return answers

    def _add_position(self, position: Position) -> None:
        if position.is_answer_to_open:
            self._last_position.pop(position.source, None)
            self._outcomes.append(position)
            return
        index = self._last_position.setdefault(position.source, len(self._outcomes))
        self._outcomes[index : index + 1] = [position]

    def _position_line(self, position: Position) -> bytes:
        fields = {
            "source": position.source,
            "committed": position.committed,
            "lines": position.lines,
            "crc32": position.crc32,
        }
        if position.is_answer_to_open:
            return answer_line("open", **fields)
        return answer_line("received", **fields, durability=self._durability)


def _refusal(refused: BatchRefused) -> bytes:
    return refusal_line(
        refused.reason[:MAX_REASON_CHARS],
        source=refused.source,
        committed=refused.committed,
        is_final=refused.is_final,
    )
