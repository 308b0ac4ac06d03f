"""The delivery extension's side of a conversation: requests become deliveries for the store, outcomes become answers.

Nothing about offsets is judged here: that is done in the order in which everything is stored (admission.py).
"""

from collections import deque
from typing import Final, Protocol

from logferry.protocol.acks import MAX_REASON_CHARS, error_ack
from logferry.protocol.delivery import (
    MAX_SOURCES,
    VERSION,
    BatchRefused,
    BatchRequest,
    Hello,
    Note,
    Open,
    Ping,
    Position,
    Report,
    Request,
    Skip,
    Violation,
    answer_line,
    refusal_line,
)
from logferry.protocol.delivery_server import DeliveryServerProtocol
from logferry.protocol.plain_server import Limits
from logferry.server.clients.sessions.plain import Answers, Owner, PeerDelivery, Turn, add_answer
from logferry.server.storage.deliveries import ReleaseSources, SourceRequest
from logferry.server.storage.segment_paths import LogName

ALIVE: Final = answer_line("alive")

# What a request without lines costs in memory, more or less.
_OVERHEAD_BYTES: Final = 2048

# Our client asks for one page after the other.
_MAX_WAITING_REPORTS: Final = 100

_MAX_PATH_CHARS: Final = 4096
_MAX_NAME_CHARS: Final = 255


class Reporter(Owner, Protocol):
    """The peer, which also has reports made."""

    def make_report(self, request: Report) -> None:
        """Have the report made in the background, then call `report_made`."""


class DeliveryConversation:
    """Batches of sources; each answered with how far its source is stored."""

    answers_on_receipt = False  # a position that was told must be true after a restart, whatever the durability

    def __init__(self, owner: Reporter, number: int, *, limits: Limits, durability: str) -> None:
        self._owner = owner
        self._number = number
        self._durability = durability
        self._max_batch_bytes = limits.max_record_bytes
        self._session = DeliveryServerProtocol(
            max_batch_bytes=limits.max_record_bytes, max_inflated_bytes=limits.max_inflated_bytes
        )
        self._hello: Hello | None = None
        self._sources: dict[str, None] = {}
        self._outcomes: list[tuple[bytes, int] | Position] = []
        self._last_position: dict[str, int] = {}  # where in `_outcomes`
        self._reports: deque[Report] = deque()
        self._is_reporting = False

    @property
    def buffered_bytes(self) -> int:
        """See Conversation; likewise below."""
        return self._session.buffered_bytes

    @property
    def unjudged_bytes(self) -> int:
        return 0

    @property
    def has_more(self) -> bool:
        return False

    @property
    def is_busy(self) -> bool:
        return self._is_reporting

    def take(self, data: bytes) -> Turn:
        deliveries: list[PeerDelivery] = []
        for request in self._session.receive_data(data):
            problem = self._take_request(request, deliveries)
            if problem:
                self.discard()
                self._owner.note_rejected(problem)
                last = self._delivery(None, b"")
                last.answers = [(error_ack(problem), 1)]  # after the answers to all that came before it
                return Turn([*deliveries, last], is_broken=True)
        return Turn(deliveries)

    def take_more(self) -> Turn:
        return Turn([])

    def take_end(self) -> Turn:
        self.discard()  # half a batch is not a batch; the client will send it again
        return Turn([])

    def stored(self, delivery: PeerDelivery) -> None:
        self._outcomes += delivery.answers
        outcome = delivery.source_request.outcome if delivery.source_request else None
        if isinstance(outcome, Position):
            self._add_position(outcome)
        elif isinstance(outcome, BatchRefused):
            self._last_position.pop(outcome.source, None)
            line = refusal_line(
                outcome.reason[:MAX_REASON_CHARS],
                source=outcome.source,
                committed=outcome.committed,
                is_final=outcome.is_final,
            )
            self._outcomes.append((line, 1))

    def take_answers(self) -> Answers:
        answers: Answers = []
        for outcome in self._outcomes:
            if isinstance(outcome, Position):
                add_answer(answers, self._position_line(outcome), 1)
            else:
                add_answer(answers, *outcome)
        self._outcomes.clear()
        self._last_position.clear()
        return answers

    def discard(self) -> None:
        self._session.discard()

    def leave(self) -> PeerDelivery | None:
        self._reports.clear()
        if not self._hello or not self._sources:
            return None
        return self._delivery(self._source_request(ReleaseSources(tuple(self._sources))), b"")

    def report_made(self, line: bytes) -> None:
        """A report is there: send it, and have the next one made."""
        self._is_reporting = False
        self._owner.answer_now(line)
        self._make_next_report()

    def _take_request(self, request: Request, deliveries: list[PeerDelivery]) -> str | None:
        """Act on a request; return what is wrong with it, if it breaks the rules."""
        if isinstance(request, Violation):
            return request.reason
        if isinstance(request, Hello) != (self._hello is None):
            return "the first control line, and no other, is a hello"
        match request:
            case Hello():
                self._welcome(request)
            case Ping():
                self._owner.answer_now(ALIVE)
            case Report():
                return self._take_report(request)
            case Open():
                self._sources[request.source] = None
                request = Open(request.source, _storable(request.path, _MAX_PATH_CHARS), request.known)
                deliveries.append(self._delivery(self._source_request(request), b""))
                if len(self._sources) > MAX_SOURCES:
                    return f"more than {MAX_SOURCES} sources on one connection"
            case BatchRequest() | Skip() | Note():
                if request.source not in self._sources:
                    return "a source must be opened first"
                deliveries.append(self._source_delivery(request))
        return None

    def _welcome(self, hello: Hello) -> None:
        self._hello = Hello(_storable(hello.client, _MAX_NAME_CHARS), _storable(hello.host, _MAX_NAME_CHARS))
        self._owner.answer_now(
            answer_line(
                "hello",
                version=VERSION,
                encodings=["gzip"],
                max_batch_bytes=self._max_batch_bytes,
                durability=self._durability,
                max_sources=MAX_SOURCES,
            )
        )

    def _take_report(self, request: Report) -> str | None:
        if len(self._reports) >= _MAX_WAITING_REPORTS:
            return "too many reports at once"
        self._reports.append(request)
        self._make_next_report()
        return None

    def _make_next_report(self) -> None:
        if self._reports and not self._is_reporting:
            self._is_reporting = True
            self._owner.make_report(self._reports.popleft())

    def _source_delivery(self, request: BatchRequest | Skip | Note) -> PeerDelivery:
        if isinstance(request, BatchRequest):
            if request.refusal and request.lines == 1:  # a larger batch comes again, line by line
                self._owner.note_rejected(request.refusal)
            return self._delivery(self._source_request(request), request.payload, request.lines)
        reason = _storable(request.reason, MAX_REASON_CHARS)
        request = type(request)(request.source, request.start, request.end, reason)
        return self._delivery(self._source_request(request), b"")

    def _source_request(self, message: Open | BatchRequest | Skip | Note | ReleaseSources) -> SourceRequest:
        assert self._hello
        return SourceRequest(message, self._number, self._hello.client, self._hello.host)

    def _delivery(self, source_request: SourceRequest | None, payload: bytes, lines: int = 0) -> PeerDelivery:
        pieces = [payload] if payload else []
        return PeerDelivery(
            *(_NO_LOG, pieces, lines, len(payload), self._owner, []),
            overhead=_OVERHEAD_BYTES,
            source_request=source_request,
        )

    def _add_position(self, position: Position) -> None:
        """Acks are cumulative: of several of one source in a row, the last one says all."""
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


# The writer thread knows better.
_NO_LOG: Final = LogName("", "")


def _storable(text: str, max_chars: int) -> str:
    """Return `text` as SQLite takes it: no lone surrogates (bytes of a name that are not UTF-8), not too long."""
    return text[:max_chars].encode(errors="backslashreplace").decode()
