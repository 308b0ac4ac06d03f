"""What the store asks of NATS: the seam `Wire`, the messages it returns, and how a request fails.

`connection.py` implements it over the network; tests put faults in between. Values and interfaces only.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from logferry.errors import StoreError

# Codes of errors of JetStream (err_code).
WRONG_LAST_SEQUENCE: Final = 10071
WRONG_LAST_SEQUENCE_IN_FLIGHT: Final = 10164
STREAM_FULL: Final = 10077
NO_MESSAGE: Final = 10037
NO_STREAM: Final = 10059


class NatsError(StoreError):
    """NATS did not do what was asked; waiting may help."""


class NoAnswer(NatsError):
    """Nobody answered in time, or the connection is down: what was asked may have happened or not."""


class Refused(NatsError):
    """JetStream refused; `code` is its code for the reason."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


class Message(NamedTuple):
    """A stored message. `at` is when it was stored, as the server wrote it."""

    sequence: int
    subject: str
    headers: Mapping[str, str]
    payload: bytes
    at: str = ""


class Wire(Protocol):
    """A connection to the servers, within one event loop. Every method raises NoAnswer or Refused."""

    @property
    def max_payload(self) -> int:
        """The largest message, headers included."""

    @property
    def server_version(self) -> tuple[int, int, int]:
        """The version of the server that is connected."""

    async def publish(
        self, subject: str, pieces: Sequence[bytes], headers: Mapping[str, str], *, stream: str, after: int
    ) -> int:
        """Append a message if `after` is the last sequence of its subject; return the sequence that it got."""

    async def api(self, operation: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Make a request of the API of JetStream; return the answer."""

    async def last(self, stream: str, subject: str) -> Message | None:
        """Return the last message of a subject, from the leader of the stream."""

    async def following(self, stream: str, subject: str, sequence: int) -> Message | None:
        """Return the first message of a subject from a sequence on, from the leader of the stream."""

    async def last_of_many(self, stream: str, subjects: Sequence[str]) -> Mapping[str, Message | None]:
        """Return the last messages of subjects by subject, None where there is none, from whichever replica answers.

        What would be too much for one answer is left out.
        """

    async def last_of_any(self, stream: str, subject: str) -> Message | None:
        """Return the last message of a subject, from whichever replica answers."""

    def range(self, stream: str, subject: str, sequence: int) -> AsyncIterator[Message]:
        """Return some messages of a subject from a sequence on, in order, from whichever replica answers."""

    async def close(self) -> None:
        """Close the connection."""
