"""--max-bytes-per-second: an output that sends at most this many bytes a second, whatever the server would take.

Owns the token bucket and where it applies: to the bytes that leave, after compression, on every connection of a run. It
must never delay what the server sends, keep the engine from noticing a stop, or make a slow rate look like a server
that does not answer.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from logferry.client.delivery.outputs.establish import Dial, Establish
from logferry.client.delivery.outputs.server_output import ServerOutput
from logferry.client.net.transports.transport import Part, Transport
from logferry.client.net.waiting.readiness import WRITE, Readiness
from logferry.client.net.waiting.steps import Steps

# What may leave at once after a pause, in seconds of the rate, and at least this many bytes.
_BURST_S: Final = 0.25
_MIN_BURST_BYTES: Final = 4 * 1024

# How much the peer's machine may not have confirmed: the kernel would take megabytes, and for minutes it would look as
# if a peer that has gone took them.
_UNCONFIRMED_S: Final = 2.0
_MIN_UNCONFIRMED_BYTES: Final = 64 * 1024
_CONFIRMATION_S: Final = 0.05

# About what a line has. Batches are kept small enough that an ack is due every few seconds.
_LINE_BYTES: Final = 200
_BATCH_S: Final = 2.0


def max_batch_lines(bytes_per_second: int) -> int:
    """Return how many lines a batch may have at a rate."""
    return max(1, int(bytes_per_second * _BATCH_S) // _LINE_BYTES)


class TokenBucket:
    """What may be sent now, in bytes. Only the engine's thread uses it."""

    def __init__(self, bytes_per_second: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._burst = max(_MIN_BURST_BYTES, int(bytes_per_second * _BURST_S))
        self._tokens = float(self._burst)
        self._filled_at = clock()
        self._blocked_until = 0.0
        self.most_unconfirmed = max(_MIN_UNCONFIRMED_BYTES, int(bytes_per_second * _UNCONFIRMED_S))

    def available(self) -> int:
        """Return how many bytes may be sent now; 0 until it is worth to send some."""
        self._fill()
        return int(self._tokens) if self.ready_at() <= self._clock() else 0

    def ready_at(self) -> float:
        """Return when it is worth to send: when half a burst is there, so that sends are few."""
        missing = self._burst / 2 - self._tokens
        return max(self._filled_at + missing / self._rate if missing > 0 else 0.0, self._blocked_until)

    def take(self, size: int) -> None:
        """Note that bytes were sent."""
        self._tokens -= size

    def block(self) -> None:
        """Send nothing for a moment: the peer has not confirmed enough."""
        self._blocked_until = self._clock() + _CONFIRMATION_S

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(float(self._burst), self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now


class PacedTransport:
    """A transport that takes no more than the bucket has. See Transport; everything else is as it was."""

    def __init__(self, transport: Transport, bucket: TokenBucket) -> None:
        self._transport = transport
        self._bucket = bucket
        self._refused = 0  # bytes that the transport was offered and did not take; TLS must be offered them again
        self.fileno = transport.fileno
        self.flush = transport.flush
        self.receive = transport.receive
        self.wants = transport.wants
        self.has_buffered = transport.has_buffered
        self.is_private = transport.is_private
        self.unconfirmed_bytes = transport.unconfirmed_bytes
        self.end_of_data = transport.end_of_data
        self.close = transport.close

    def send(self, parts: Sequence[Part], *, more: bool) -> int:
        """See Transport."""
        allowed = max(self._bucket.available(), self._refused)
        if not allowed:
            return 0
        if self._transport.unconfirmed_bytes() > self._bucket.most_unconfirmed:
            self._bucket.block()
            return 0
        offered = _first_bytes(parts, allowed)
        sent = self._transport.send(offered, more=more)
        self._refused = 0 if sent else sum(map(len, offered))
        self._bucket.take(sent)
        return sent


class PacedOutput(ServerOutput):
    """See Output: waits for room in the bucket instead of room in the kernel's buffer."""

    def __init__(self, server: str, establish: Establish, bucket: TokenBucket) -> None:
        super().__init__(server, establish)
        self._bucket = bucket

    def interest(self) -> Readiness:
        """See Output."""
        interest = super().interest()
        if self._session is None or not self._must_wait():
            return interest
        return {fd: events & ~WRITE for fd, events in interest.items()}

    def next_timer(self) -> float | None:
        """See Output."""
        timer = super().next_timer()
        has_output = self._session is not None and any(events & WRITE for events in super().interest().values())
        if not has_output or not self._must_wait():
            return timer
        ready_at = self._bucket.ready_at()
        return ready_at if timer is None else min(timer, ready_at)

    def _must_wait(self) -> bool:
        return not self._bucket.available()


def paced(dial: Dial, bucket: TokenBucket) -> Dial:
    """Return a `dial` whose transports take no more than the bucket has."""

    def steps() -> Steps[Transport]:
        return PacedTransport((yield from dial()), bucket)

    return steps


def _first_bytes(parts: Sequence[Part], size: int) -> Sequence[Part]:
    """Return the first `size` bytes of consecutive parts."""
    first: list[Part] = []
    for part in parts:
        if len(part) >= size:
            first.append(memoryview(part)[:size])
            break
        first.append(part)
        size -= len(part)
    return first
