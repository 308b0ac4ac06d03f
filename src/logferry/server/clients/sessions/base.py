"""What a connection and a session agree on: bytes become deliveries, stored deliveries become answers.

A session speaks one protocol with one client (plain.py, delivery.py). It knows neither sockets nor clocks nor limits of
time: connection.py has those, and hands the session a `Channel` to reach the client and the server with.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from logferry.protocol.delivery_requests import Note, Report, Skip
from logferry.protocol.plain_server import Limits
from logferry.protocol.validation import Accept
from logferry.server.clients.authenticator import Credentials, Principal
from logferry.server.storage.deliveries import Delivery

Answers = list[tuple[bytes, int]]
"""Answer lines and how often each is to be sent, in order."""


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """What the server offers every client: the largest messages it takes, which objects, and what an ack promises."""

    limits: Limits  # of the plain protocol's messages; a frame and a batch inflate to at most the same size
    accept: Accept
    durability: str
    max_batch_bytes: int  # of NDJSON in one batch of the delivery extension


class Channel(Protocol):
    """What a session may ask of the connection on which it speaks."""

    def identify(self, credentials: Credentials) -> Principal | None:
        """Have the client checked; return who it is, or None if it is denied and the connection is about to end."""

    def note_rejected(self, reason: str) -> None:
        """Count a line, frame or batch that is not taken, and log the first."""

    def note_loss(self, path: str, loss: Skip | Note) -> None:
        """Count and log bytes of a file that are not stored as they were."""

    def note_repeat(self, path: str, start: int, end: int) -> None:
        """Log that bytes of a file, which the client is about to resend, are stored already."""

    def answer_now(self, line: bytes) -> None:
        """Send something that does not wait for the store."""

    def make_report(self, request: Report) -> None:
        """Have a report made in another thread; the session's `report_made` is called with it."""

    def stored(self, delivery: "ClientDelivery") -> None:
        """A delivery has come back from the store; `after_stored` follows once for the group."""

    def after_stored(self) -> None:
        """Send what is owed after a group, and read on."""


@dataclass(slots=True, eq=False)
class ClientDelivery(Delivery):
    """A delivery that knows whom to answer, and what, once it is stored."""

    channel: Channel
    answers: Answers
    overhead: int = 0  # bytes that it costs in memory beside its lines

    @property
    def cost(self) -> int:
        """What the delivery takes of the server's memory until it is stored."""
        return self.size + self.overhead


@dataclass(frozen=True, slots=True)
class Turn:
    """What some bytes led to; after `is_broken` nothing more is to be taken from this client."""

    deliveries: list[ClientDelivery]
    is_broken: bool = False


NOTHING: Final = Turn([])


class Session(Protocol):
    """One client's use of one protocol. Knows no socket and no clock."""

    protocol: str
    """The protocol's name, for logs."""

    expects_signs_of_life: bool
    """Whether a client that waits for answers is to see, now and then, that the server is alive."""

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

    def stored(self, delivery: ClientDelivery) -> int:
        """A delivery has come back from the store; return how many of its lines are acked to the client."""

    def take_answers(self) -> Answers:
        """Return what is to be answered to all that was stored since the last call."""

    def report_made(self, line: bytes) -> None:
        """A report that was asked for is there, as its answer line."""

    def discard(self) -> None:
        """Forget what is held and take nothing more."""

    def leave(self) -> ClientDelivery | None:
        """The connection has ended; return what the store must know about that, if anything."""


class Silence:
    """The session of a client that has not sent enough to tell its protocol: takes nothing and answers nothing."""

    protocol = "unknown"
    expects_signs_of_life = False
    answers_on_receipt = False
    buffered_bytes = 0
    unjudged_bytes = 0
    has_more = False
    is_busy = False

    def take(self, data: bytes) -> Turn:
        """See Session; likewise below."""
        return NOTHING

    def take_more(self) -> Turn:
        return NOTHING

    def take_end(self) -> Turn:
        return NOTHING

    def stored(self, delivery: ClientDelivery) -> int:
        return 0

    def take_answers(self) -> Answers:
        return []

    def report_made(self, line: bytes) -> None:
        pass

    def discard(self) -> None:
        pass

    def leave(self) -> ClientDelivery | None:
        return None


def add_answer(answers: Answers, line: bytes, count: int) -> None:
    """Add an answer that is sent `count` times; a run of the same one stays one entry."""
    if answers and answers[-1][0] == line:
        answers[-1] = (line, answers[-1][1] + count)
    else:
        answers.append((line, count))
