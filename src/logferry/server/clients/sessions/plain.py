"""The plain protocol: lines and frames, with an answer to each line, in order."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from logferry.model.event_times import joined
from logferry.protocol.lines.validation import Lines
from logferry.protocol.plain.acks import ACK_OK, error_ack
from logferry.protocol.plain.server import Broken, Met, PlainServerProtocol, ServerEvent
from logferry.server.clients.sessions.answers import cost_of
from logferry.server.clients.sessions.base import (
    Answers,
    Channel,
    ClientDelivery,
    SessionOver,
    SessionTerms,
    Turn,
    add_answer,
)
from logferry.server.storage.log_names import LogName

# Join more pieces than this: a copy is cheaper than a writev of many small buffers.
_MAX_PIECES: Final = 16

# What a delivery costs in addition to its lines and answers.
OVERHEAD_BYTES: Final = 1024

# After this many refusals in a row, reasons are cut to their kind, so that answers are equal and share memory.
_FULL_REASONS: Final = 100


class PlainSession(SessionOver[PlainServerProtocol]):
    """Lines and frames, with an answer to each line. The store keeps the lines in `log`."""

    protocol = "plain"
    expects_signs_of_life = False
    answers_on_receipt = True
    open_sources = 0

    def __init__(self, channel: Channel, log: LogName, *, terms: SessionTerms) -> None:
        super().__init__(PlainServerProtocol(limits=terms.limits, accept=terms.accept))
        self._channel = channel
        self._log = log
        self._answers: Answers = []
        self._refusals = 0  # in a row

    def take(self, data: bytes) -> Turn:
        """See Session; likewise below."""
        return self._combine(self._protocol.receive_data(data))

    def hold(self, data: bytes) -> None:
        self._protocol.hold_data(data)

    @property
    def work(self) -> float:
        return self._protocol.step.used

    def take_more(self) -> Turn:
        return self._combine(self._protocol.next_events())

    def take_end(self) -> Turn:
        return self._combine(self._protocol.receive_eof())

    def stored(self, delivery: ClientDelivery) -> int:
        self._answers += delivery.answers
        return delivery.lines

    def take_answers(self) -> Answers:
        answers, self._answers = self._answers, []
        return answers

    def notify_damage(self, sources: Mapping[str, Sequence[str]]) -> None:
        pass

    def discard(self) -> None:
        self._protocol.discard()

    def leave(self) -> ClientDelivery | None:
        return None

    def _combine(self, events: Iterable[ServerEvent]) -> Turn:
        """Combine the events of one read into one delivery."""
        delivery = ClientDelivery(self._log, [], 0, 0, self._channel, [])
        is_broken = False
        for event in events:
            if isinstance(event, Lines):
                delivery.pieces.append(event.payload)
                delivery.times = joined(delivery.times, event.times) if delivery.lines else event.times
                delivery.lines += event.count
                self._refusals = 0
                delivery.size += len(event.payload)
                add_answer(delivery.answers, ACK_OK, event.count)
            elif isinstance(event, Met):
                is_broken = True
                self._channel.record.note_stranger(event.stranger)
                if event.stranger.answer:
                    add_answer(delivery.answers, event.stranger.answer, 1)
            else:
                is_broken = isinstance(event, Broken)
                self._channel.record.note_rejected(event.reason)
                add_answer(delivery.answers, self._refusal(event.reason), 1)
        delivery.overhead = OVERHEAD_BYTES + cost_of(delivery.answers)
        if len(delivery.pieces) > _MAX_PIECES:
            delivery.pieces = [b"".join(delivery.pieces)]
        return Turn([delivery] if delivery.answers else [], is_broken)

    def _refusal(self, reason: str) -> bytes:
        """Return the answer to a line or frame that is refused; in a long run of them, each only says which kind."""
        self._refusals += 1
        return _error_ack(reason if self._refusals <= _FULL_REASONS else reason.partition(":")[0])


_error_ack = lru_cache(maxsize=64)(error_ack)  # one object for many answers of the same text
