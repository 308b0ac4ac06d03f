"""The seam between the delivery engine and wherever batches go: a server, one of several, memory.

An output owns its connection, its timers and what is in flight on the connection; the engine owns the window, and
submits again what a connection left unstored. An output must never block, read a clock, or touch a checkpoint.
Outputs are in outputs/. A client that ships to several servers is another output around these.
"""

import sys
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from logferry.client.net.readiness import Readiness
from logferry.errors import DeliveryError
from logferry.model.batch import Batch
from logferry.model.source import Source


class Guarantee(Enum):
    """How often a line that was read is stored, whatever breaks on its way."""

    EXACTLY_ONCE = "exactly once"
    AT_LEAST_ONCE = "at least once"
    BEST_EFFORT = "best effort"


# The values below are named tuples, because a client defines them at each start: nine frozen dataclasses take about ten
# milliseconds (what a start to the first byte takes is measured: benchmarks/run.py, `startup`), these take one.


class OutputLimits(NamedTuple):
    """What an output takes: the largest payload of a batch, and how many sources may be opened on one connection."""

    max_batch_bytes: int = sys.maxsize
    max_sources: int = sys.maxsize


class Connected(NamedTuple):
    """Batches may be submitted. `server` is the peer's name for people; the other two hold for this connection."""

    server: str
    guarantee: Guarantee
    limits: OutputLimits


class Sent(NamedTuple):
    """`size` bytes left in `sends` pieces; `begun` are the batches whose first byte is among them."""

    begun: tuple[Batch, ...]
    size: int
    sends: int


class Stored(NamedTuple):
    """The next `lines` lines of a submitted batch are stored, as surely as the guarantee says.

    Of a batch without lines: that the source has moved on past it.
    """

    batch: Batch
    lines: int


class SourceAt(NamedTuple):
    """The answer to `open`: a source is stored up to `committed`, as `lines` lines of NDJSON with this CRC-32."""

    source: str
    committed: int
    lines: int
    crc32: int


class LineRejected(NamedTuple):
    """The next line of a submitted batch will never be stored."""

    batch: Batch
    line: bytes
    reason: str


class BatchRejected(NamedTuple):
    """The oldest submitted batch of a source is not stored, nor is what followed it; the source ends at `committed`.

    With `is_final` the batch will never be stored as it is; else it does not begin where the source ends.
    """

    source: str
    committed: int
    reason: str
    is_final: bool


class Stalled(NamedTuple):
    """The peer owes something, is connected, and has shown no progress for the time that it may take."""

    reason: str


class Disconnected(NamedTuple):
    """The connection ended, or could not be established. Whatever is not stored must be submitted again."""

    error: DeliveryError


OutputEvent = Connected | Sent | Stored | SourceAt | LineRejected | BatchRejected | Stalled | Disconnected


class Output(Protocol):
    """Where batches go. For one thread; each call returns at once."""

    def connect(self, now: float) -> None:
        """Begin to connect; `drive` reports Connected or Disconnected. Only while not connected."""

    def open(self, sources: Sequence[Source]) -> None:
        """Ask how far sources are stored; a SourceAt follows for each, in any order.

        Only on a connection that stores exactly once, and there before anything of a source is submitted.
        """

    def submit(self, batch: Batch) -> bool:
        """Take a batch, those of each source in order; False when the output is full, until the next `drive`.

        What the limits do not allow must not be submitted.
        """

    def interest(self) -> Readiness:
        """Return the descriptors to wait for before the next `drive`, and what each is waited for."""

    def next_timer(self) -> float | None:
        """Return when `drive` must be called although no descriptor is ready; None: whenever one is."""

    def drive(self, ready: Readiness, now: float) -> list[OutputEvent]:
        """Send and receive as far as that is possible; return what has happened, in order.

        A Disconnected is always the last event.
        """

    def abandon(self) -> None:
        """Give up the connection, or the attempt at one, without an event."""

    @property
    def is_finishing(self) -> bool:
        """Whether `finish` was called, and something has still to leave or to be confirmed."""

    def finish(self, now: float) -> None:
        """Nothing more will be submitted: hand over what nobody will answer. Drive until `is_finishing` is False.

        A Disconnected then says what is lost.
        """
