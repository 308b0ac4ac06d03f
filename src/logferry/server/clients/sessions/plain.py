"""What a peer and its protocol have to say to each other, and the plain protocol's side of it.

A conversation turns bytes into deliveries and stored deliveries into answers; peer.py does the rest: the socket, the
limits, the end. The other conversation is in delivery_conversation.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from logferry.protocol.acks import ACK_OK, error_ack
from logferry.protocol.plain_server import Broken, Limits, PlainServerProtocol, ServerEvent
from logferry.protocol.validation import Accept, Lines
from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.segment_paths import LogName

# More pieces than this are joined: a copy is cheaper than a long writev of crumbs.
_MAX_PIECES = 16

Answers = list[tuple[bytes, int]]
"""Answer lines and how often each is to be sent, in order."""


class Owner(Protocol):
    """Whose conversation it is: the peer."""

    def note_rejected(self, reason: str) -> None:
        """Count a line or frame that is not taken, and log the first."""

    def answer_now(self, line: bytes) -> None:
        """Send something that does not wait for the store."""

    def stored(self, delivery: "PeerDelivery") -> None:
        """A delivery has come back from the store; `after_stored` follows once for the group."""

    def after_stored(self) -> None:
        """Send what is owed after a group, and read on."""


@dataclass(slots=True, eq=False)
class PeerDelivery(Delivery):
    """A delivery that knows whom to answer, and what, once it is stored."""

    peer: Owner
    answers: Answers
    overhead: int = 0  # bytes that it costs in memory beside its lines

    @property
    def cost(self) -> int:
        """What it takes of the server's memory until it is stored."""
        return self.size + self.overhead


@dataclass(frozen=True, slots=True)
class Turn:
    """What some bytes led to; after `is_broken` nothing more is to be taken from this client."""

    deliveries: list[PeerDelivery]
    is_broken: bool = False


class Conversation(Protocol):
    """What a client says by one of the protocols. Knows no socket and no clock."""

    answers_on_receipt: bool
    """Whether, where the durability promises nothing, answers go out before the store has taken the lines."""

    @property
    def buffered_bytes(self) -> int:
        """How much is held of a message that is not yet whole."""

    @property
    def unjudged_bytes(self) -> int:
        """How much is held of a whole message that `take_more` has yet to judge."""

    @property
    def has_more(self) -> bool:
        """Whether `take_more` must be called before anything else is taken."""

    @property
    def is_busy(self) -> bool:
        """Whether it will answer something that is not in the store's queue."""

    def take(self, data: bytes) -> Turn:
        """Take bytes from the client."""

    def take_more(self) -> Turn:
        """Go on with a large message."""

    def take_end(self) -> Turn:
        """The client sends no more."""

    def stored(self, delivery: PeerDelivery) -> None:
        """A delivery has come back from the store."""

    def take_answers(self) -> Answers:
        """Return what is to be answered to all that was stored since the last call."""

    def discard(self) -> None:
        """Forget what is held and take nothing more."""

    def leave(self) -> PeerDelivery | None:
        """The connection has ended; return what the store must know about that, if anything."""


class PlainConversation:
    """Lines and frames, each line answered."""

    answers_on_receipt = True
    is_busy = False

    def __init__(self, owner: Owner, log: LogName, *, limits: Limits, accept: Accept) -> None:
        self._owner = owner
        self._log = log
        self._connection = PlainServerProtocol(limits=limits, accept=accept)
        self._answers: Answers = []

    @property
    def buffered_bytes(self) -> int:
        """See Conversation; likewise below."""
        return self._connection.buffered_bytes

    @property
    def unjudged_bytes(self) -> int:
        return self._connection.unjudged_bytes

    @property
    def has_more(self) -> bool:
        return self._connection.has_more

    def take(self, data: bytes) -> Turn:
        return self._combine(self._connection.receive_data(data))

    def take_more(self) -> Turn:
        return self._combine(self._connection.next_events())

    def take_end(self) -> Turn:
        return self._combine(self._connection.receive_eof())

    def stored(self, delivery: PeerDelivery) -> None:
        self._answers += delivery.answers

    def take_answers(self) -> Answers:
        answers, self._answers = self._answers, []
        return answers

    def discard(self) -> None:
        self._connection.discard()

    def leave(self) -> PeerDelivery | None:
        return None

    def _combine(self, events: Iterable[ServerEvent]) -> Turn:
        """Make one delivery of a read's events."""
        delivery = PeerDelivery(self._log, [], 0, 0, self._owner, [])
        is_broken = False
        for event in events:
            if isinstance(event, Lines):
                delivery.pieces.append(event.payload)
                delivery.lines += event.count
                delivery.size += len(event.payload)
                add_answer(delivery.answers, ACK_OK, event.count)
            else:
                is_broken = isinstance(event, Broken)
                self._owner.note_rejected(event.reason)
                add_answer(delivery.answers, error_ack(event.reason), 1)
        if len(delivery.pieces) > _MAX_PIECES:
            delivery.pieces = [b"".join(delivery.pieces)]
        return Turn([delivery] if delivery.answers else [], is_broken)


def add_answer(answers: Answers, line: bytes, count: int) -> None:
    """Add an answer that is sent `count` times; a run of the same one stays one entry."""
    if answers and answers[-1][0] == line:
        answers[-1] = (line, answers[-1][1] + count)
    else:
        answers.append((line, count))
