"""Turns the outcomes of the delivery extension's requests into answer lines.

Acks are cumulative: the last of several positions of a source replaces the earlier positions, so the server answers a
group of a thousand small batches with one line per source.
"""

from typing import Final

from logferry.protocol.messages.answers import BatchRefused, Position, WindowRecorded
from logferry.protocol.messages.writing import answer_line, refusal_line
from logferry.protocol.plain.acks import MAX_REASON_CHARS
from logferry.server.clients.sessions.base import Answers, ClientDelivery, add_answer


class Outcomes:
    """The outcomes of a group of deliveries, in the order of their answers."""

    def __init__(self, *, durability: str) -> None:
        self._durability: Final = durability
        self._outcomes: list[tuple[bytes, int] | Position] = []
        self._last_position: dict[str, int] = {}  # index in `_outcomes`

    def add(self, delivery: ClientDelivery) -> None:
        """Add the answers that a delivery carries, then the store's outcome for it."""
        self._outcomes += delivery.answers
        outcome = delivery.source_request.outcome if delivery.source_request else None
        if isinstance(outcome, Position):
            self._add_position(outcome)
        elif isinstance(outcome, BatchRefused):
            self._last_position.pop(outcome.source, None)
            self._outcomes.append((_refusal(outcome), 1))
        elif isinstance(outcome, WindowRecorded):
            self._outcomes.append((answer_line("window", source=outcome.source), 1))

    def take_answers(self) -> Answers:
        """Return the answers to everything added since the last call."""
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
