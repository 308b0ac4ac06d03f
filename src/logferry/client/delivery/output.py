"""The seam between the delivery engine and wherever batches go: a server, one of several, memory.

An output owns its connection, its timers and what is in flight on the connection; the engine owns the window, and
resubmits what a connection left unstored. An output must never block, read a clock, or touch a checkpoint. The
implementations are in outputs/; an output that ships to several servers would wrap these.
"""

import sys
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from logferry.client.net.waiting.readiness import Readiness
from logferry.errors import DeliveryError
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.messages.client_state import ClientState


class Guarantee(Enum):
    """How often each line that was read is stored, whatever fails on its way."""

    EXACTLY_ONCE = "exactly once"
    AT_LEAST_ONCE = "at least once"
    BEST_EFFORT = "best effort"


# The values below are named tuples, because every start of a client defines them: nine frozen dataclasses take about
# ten milliseconds, these take one (benchmarks/run.py, `startup`, measures the time from the start to the first byte).


class OutputLimits(NamedTuple):
    """What an output accepts: payloads of at most `max_batch_bytes`, and `max_sources` opened on one connection."""

    max_batch_bytes: int = sys.maxsize
    max_sources: int = sys.maxsize


class Connected(NamedTuple):
    """The output accepts batches. `server` names the peer for people; the other fields hold for this connection.

    `store` is the id of the peer's store, "" if it does not state one. `features` are the messages that the peer
    understands beyond the first version of its protocol (protocol/messages/features.py).
    """

    server: str
    guarantee: Guarantee
    limits: OutputLimits
    store: str = ""
    features: frozenset[str] = frozenset()


class Sent(NamedTuple):
    """The output sent `size` bytes in `sends` sends; `begun` are the batches that it began to send."""

    begun: tuple[Batch, ...]
    size: int
    sends: int


class Stored(NamedTuple):
    """The next `lines` lines of a submitted batch are stored, as durably as the guarantee promises.

    For a batch without lines, it means that the source has moved past the batch.
    """

    batch: Batch
    lines: int


class SourceAt(NamedTuple):
    """The answer to `open`: a source is stored up to `committed`, as `lines` lines of NDJSON with this CRC-32."""

    source: str
    committed: int
    lines: int
    crc32: int


class SourceRefused(NamedTuple):
    """The answer to `open`: the peer will take nothing of this source from this client, for `reason`."""

    source: str
    reason: str


class Located(NamedTuple):
    """The answer to `locate`: the sources that are stored, and how far; None if the peer cannot read that now."""

    found: tuple[SourceAt, ...] | None


class SourceDamaged(NamedTuple):
    """What is stored of a source has changed on the server's disk; the source may be of an earlier run."""

    source: str


class LineRejected(NamedTuple):
    """The next line of a submitted batch will never be stored."""

    batch: Batch
    line: bytes
    reason: str


class BatchRejected(NamedTuple):
    """The oldest submitted batch of a source, and those after it, are not stored; the source ends at `committed`.

    With `is_final`, the batch will never be stored as it is; without, it does not begin where the source ends.
    """

    source: str
    committed: int
    reason: str
    is_final: bool


class Withheld(NamedTuple):
    """The peer is alive, but stores nothing now, for `reason`, since a Unix time (0 if it does not say).

    An empty reason means that the peer stores again.
    """

    reason: str
    since: float


class Stalled(NamedTuple):
    """The peer is connected and owes an answer, but has shown no progress within the time allowed."""

    reason: str


class Disconnected(NamedTuple):
    """The connection ended, or could not be established. What is not stored must be submitted again."""

    error: DeliveryError


OutputEvent = (
    Connected
    | Sent
    | Stored
    | SourceAt
    | SourceRefused
    | Located
    | SourceDamaged
    | LineRejected
    | BatchRejected
    | Withheld
    | Stalled
    | Disconnected
)


class Output(Protocol):
    """Where batches go. For one thread; no call blocks."""

    def connect(self, now: float) -> None:
        """Begin to connect; `drive` reports Connected or Disconnected. Only while not connected."""

    def open(self, sources: Sequence[Source]) -> None:
        """Ask how far sources are stored; a SourceAt or SourceRefused follows for each, in any order.

        Only on an exactly-once connection, which needs it before the first batch of a source.
        """

    def locate(self, sources: Sequence[str]) -> None:
        """Ask how far sources are stored, by their ids, without opening them; a Located follows.

        Only on a connection that lists the feature `positions`; one request at a time, of at most 500 sources.
        """

    def ping(self, state: ClientState) -> None:
        """Say how the client is. Only on a connection that lists the feature `status`; no event follows."""

    def submit(self, batch: Batch) -> bool:
        """Take a batch; return False when the output is full, until the next `drive`.

        The batches of each source come in order, and never exceed the limits.
        """

    def interest(self) -> Readiness:
        """Return the descriptors to wait for before the next `drive`, each with READ, WRITE or both."""

    def next_timer(self) -> float | None:
        """Return when to call `drive` even if no descriptor is ready; None means only when one is ready."""

    def drive(self, ready: Readiness, now: float) -> list[OutputEvent]:
        """Send and receive as much as possible now; return what has happened, in order.

        A Disconnected is always the last event.
        """

    def abandon(self) -> None:
        """Drop the connection, or the attempt to connect, without an event."""

    @property
    def is_finishing(self) -> bool:
        """Whether `finish` was called, and some data is still unsent or unconfirmed."""

    def finish(self, now: float) -> None:
        """End the submission: wait for data that no answer confirms. Call `drive` until `is_finishing` is False.

        A Disconnected meanwhile says what is lost.
        """
