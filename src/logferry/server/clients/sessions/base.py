"""The interface between a connection and a session: bytes become deliveries, stored deliveries become answers.

A session speaks one protocol with one client (plain.py, delivery.py). It must never know sockets, clocks or time
limits: connection.py owns those, and gives the session a `Channel` through which it reaches the client and the server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from logferry.protocol.lines.validation import Accept
from logferry.protocol.messages.requests import Question
from logferry.protocol.plain.server import Limits
from logferry.server.clients.identities.authenticator import Credentials, Denied, Principal, TokenWanted
from logferry.server.clients.reporting.client_record import ClientRecord
from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.owners import Owner

Answers = list[tuple[bytes, int]]
"""Answer lines in order, each with the number of times to send it."""


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """What the server offers every client: its size limits, the objects it accepts, and what an ack promises."""

    limits: Limits  # for the plain protocol's messages; `max_inflated_bytes` also limits a batch
    accept: Accept
    durability: str
    max_batch_bytes: int  # of NDJSON in one batch of the delivery extension
    store_id: str


class Channel(Protocol):
    """What a session may ask of its connection."""

    @property
    def record(self) -> ClientRecord:
        """What is counted and logged about the client."""

    def take_source(self) -> str:
        """Charge one more open source; return why the client must not open it, "" if it may."""

    def identify(self, credentials: Credentials) -> Principal | Denied | TokenWanted:
        """Authenticate the client; return its principal, why the connection is about to end, or what is wanted."""

    def answer_now(self, line: bytes) -> None:
        """Send an answer that does not wait for the store."""

    def send_sign_of_life(self) -> None:
        """Send a heartbeat that says whether the store is storing."""

    def ask(self, question: Question, owner: Owner) -> str | None:
        """Have another thread answer a question of `owner`; return what is wrong if the client asks too much."""

    def damaged_sources(self, owner: str) -> Sequence[str]:
        """Return sources of an owner that are known to be damaged."""

    def stored(self, delivery: "ClientDelivery") -> None:
        """Take a delivery back from the store; one `after_stored` follows for the group."""

    def after_stored(self) -> None:
        """Send the answers to a stored group, and resume judging and reading."""

    def held_back(self, delivery: "ClientDelivery") -> None:
        """Note that the store has to hold a delivery back."""

    @property
    def has_left(self) -> bool:
        """Whether the connection is lost."""

    def drop_for_names(self) -> None:
        """Drop the client, because too much waits for names on the disk."""

    def fail(self, error: Exception) -> None:
        """Log an error of the server itself, and cut the connection."""


@dataclass(slots=True, eq=False)
class ClientDelivery(Delivery):
    """A delivery with the channel to answer once it is stored, and its answers."""

    channel: Channel
    answers: Answers
    overhead: int = 0  # bytes of memory that the delivery takes in addition to its lines

    @property
    def cost(self) -> int:
        """How many bytes of the server's memory the delivery takes until it is stored."""
        return self.size + self.overhead


@dataclass(frozen=True, slots=True)
class Turn:
    """What taking bytes has produced. After `is_broken` the connection takes nothing more from this client.

    `has_ended`: the client sends nothing more, and waits for its answers.
    """

    deliveries: list[ClientDelivery]
    is_broken: bool = False
    has_ended: bool = False


NOTHING: Final = Turn([])


class Session(Protocol):
    """The server's end of one protocol with one client."""

    protocol: str
    """The protocol's name, for logs."""

    expects_signs_of_life: bool
    """Whether the server sends a sign of life, now and then, to a client that is waiting for answers."""

    answers_on_receipt: bool
    """Whether answers precede the storing of the lines if the durability promises nothing."""

    @property
    def buffered_bytes(self) -> int:
        """How many bytes of an incomplete message the session holds."""

    @property
    def unjudged_bytes(self) -> int:
        """How many bytes of a complete message `take_more` has yet to judge."""

    @property
    def has_more(self) -> bool:
        """Whether `take_more` must be called before `take` or `take_end`."""

    @property
    def is_inflating(self) -> bool:
        """Whether `take_more` makes the session hold more, because it inflates."""

    @property
    def rest_bytes(self) -> int:
        """How many bytes more a message may inflate to."""

    def inflate_at_once(self, *, is_allowed: bool) -> None:
        """Say whether a message that is complete may begin to inflate before `is_inflating` is asked."""

    @property
    def open_sources(self) -> int:
        """How many sources the client has opened."""

    def take(self, data: bytes) -> Turn:
        """Take bytes from the client."""

    def is_continued_by(self, data: bytes) -> bool:
        """Whether `data` only lengthens an incomplete message, so that to take it costs nothing."""

    def hold(self, data: bytes) -> None:
        """Take bytes from the client, and leave them to `take_more`."""

    def take_more(self) -> Turn:
        """Judge the next step of a large message."""

    @property
    def work(self) -> float:
        """How much of a step the last call has used (steps.py)."""

    def take_end(self) -> Turn:
        """Take the end of the client's data."""

    def stored(self, delivery: ClientDelivery) -> int:
        """Take a delivery back from the store; return how many of its lines the client's ack covers."""

    def take_answers(self) -> Answers:
        """Return the answers to everything stored since the last call."""

    def notify_damage(self, sources: Mapping[str, Sequence[str]]) -> None:
        """Notify the client of its sources among `sources`, by the ids of clients, that are damaged."""

    def discard(self) -> None:
        """Discard what the session holds, and take nothing more."""

    def leave(self) -> ClientDelivery | None:
        """Return what the store must be sent now that the connection has ended, if anything."""


class Buffering(Protocol):
    """The protocol object of a session: what it holds, and whether it has more to judge (see Session)."""

    @property
    def buffered_bytes(self) -> int: ...

    @property
    def unjudged_bytes(self) -> int: ...

    @property
    def has_more(self) -> bool: ...

    @property
    def is_inflating(self) -> bool: ...

    @property
    def rest_bytes(self) -> int: ...

    inflates_at_once: bool

    def is_continued_by(self, data: bytes) -> bool: ...


ProtocolObject = TypeVar("ProtocolObject", bound=Buffering)


class SessionOver(Generic[ProtocolObject]):
    """What a session only forwards from its protocol object."""

    def __init__(self, protocol: ProtocolObject) -> None:
        self._protocol = protocol

    @property
    def buffered_bytes(self) -> int:
        """See Session; likewise below."""
        return self._protocol.buffered_bytes

    @property
    def unjudged_bytes(self) -> int:
        return self._protocol.unjudged_bytes

    @property
    def has_more(self) -> bool:
        return self._protocol.has_more

    @property
    def is_inflating(self) -> bool:
        return self._protocol.is_inflating

    @property
    def rest_bytes(self) -> int:
        return self._protocol.rest_bytes

    def inflate_at_once(self, *, is_allowed: bool) -> None:
        self._protocol.inflates_at_once = is_allowed

    def is_continued_by(self, data: bytes) -> bool:
        return self._protocol.is_continued_by(data)


class UnknownProtocol:
    """The session of a client whose protocol is not identified yet: takes nothing and answers nothing."""

    protocol = "unknown"
    expects_signs_of_life = False
    answers_on_receipt = False
    buffered_bytes = 0
    unjudged_bytes = 0
    has_more = False
    is_inflating = False
    rest_bytes = 0
    open_sources = 0
    work = 0.0

    def take(self, data: bytes) -> Turn:
        """See Session; likewise below."""
        return NOTHING

    def inflate_at_once(self, *, is_allowed: bool) -> None:
        pass

    def is_continued_by(self, data: bytes) -> bool:
        return False

    def hold(self, data: bytes) -> None:
        pass

    def take_more(self) -> Turn:
        return NOTHING

    def take_end(self) -> Turn:
        return NOTHING

    def stored(self, delivery: ClientDelivery) -> int:
        return 0

    def take_answers(self) -> Answers:
        return []

    def notify_damage(self, sources: Mapping[str, Sequence[str]]) -> None:
        pass

    def discard(self) -> None:
        pass

    def leave(self) -> ClientDelivery | None:
        return None


def add_answer(answers: Answers, line: bytes, count: int) -> None:
    """Add an answer to be sent `count` times; identical consecutive answers share one entry."""
    if answers and answers[-1][0] == line:
        answers[-1] = (line, answers[-1][1] + count)
    else:
        answers.append((line, count))
