"""One connection to a server, from the moment when both ends have agreed on a protocol to its end.

This module owns what all protocols share: what is sent when, what a stall is, and which answers still count after a
failure. A session never connects, and knows nothing of earlier or later connections.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from logferry.client.delivery.output import Guarantee, OutputEvent, OutputLimits, Sent, Stalled
from logferry.client.delivery.outputs.encoding import Encoder
from logferry.client.delivery.outputs.sender import BatchSender, SendReport
from logferry.client.net.transports.transport import Transport, receive_some
from logferry.client.net.waiting.readiness import READ, WRITE, Readiness
from logferry.client.net.waiting.steps import Steps
from logferry.errors import PeerClosed
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.messages.client_state import ClientState

# Taking more than this ahead of the transport gains nothing.
UNSENT_BYTES: Final = 512 * 1024


class Session(ABC):
    """See Output: its methods call those of the same name on the current session."""

    guarantee: Guarantee
    limits: OutputLimits
    store = ""  # the id of the peer's store; see Connected, likewise `features`
    features: frozenset[str] = frozenset()

    def __init__(self, transport: Transport, encoder: Encoder, *, ack_timeout_s: float) -> None:
        self._transport = transport
        self._sender = BatchSender(transport, encoder)
        self._ack_timeout_s = ack_timeout_s
        self._last_progress: float | None = None  # None: the peer owed nothing at the last check

    def open(self, sources: Sequence[Source]) -> None:
        """See Output. Only for protocols that know sources."""
        raise NotImplementedError

    def locate(self, sources: Sequence[str]) -> None:
        """See Output. Only for protocols that know sources."""
        raise NotImplementedError

    def ping(self, state: ClientState) -> None:
        """See Output. Only for protocols that know it."""
        raise NotImplementedError

    def submit(self, batch: Batch) -> bool:
        """See Output."""
        if self._sender.unsent_bytes >= UNSENT_BYTES:
            return False
        self._sender.add(batch)
        return True

    def interest(self) -> dict[int, int]:
        """See Output."""
        events = READ | WRITE if self._sender.has_output else READ
        return {self._transport.fileno(): events | self._transport.wants()}

    def next_timer(self) -> float | None:
        """See Output."""
        if self._transport.has_buffered():
            return 0.0
        return None if self._last_progress is None else self._last_progress + self._ack_timeout_s

    def drive(self, ready: Readiness, now: float, events: list[OutputEvent]) -> None:
        """Send and receive; append what happened to `events`, even if this raises DeliveryError."""
        mask = ready.get(self._transport.fileno(), 0)
        wants_both = mask and self._transport.wants()
        if mask & READ or wants_both or self._transport.has_buffered():
            self._receive(now, events)
        if mask & WRITE or wants_both:
            try:
                self._send(now, events)
            except PeerClosed:
                self._read_remaining_answers(now, events)
                raise
        self._check_progress(now, events)

    def hand_over(self) -> Steps[None] | None:
        """Return the steps that end a connection without answers; None if everything is answered by then."""
        return None

    def close(self) -> None:
        """Release the connection."""
        self._transport.close()

    @property
    def is_owed(self) -> bool:
        """Whether the peer owes an answer, or has not taken everything yet."""
        return self._expects_progress

    @property
    @abstractmethod
    def _expects_progress(self) -> bool:
        """Whether the peer owes an answer, or has not taken everything yet."""

    @abstractmethod
    def _handle_data(self, data: bytes, events: list[OutputEvent]) -> bool:
        """Turn received data into events; return whether it is a sign of progress. Raises ProtocolError."""

    @abstractmethod
    def _note_sent(self, report: SendReport, events: list[OutputEvent]) -> None:
        """Append the events that follow from sending alone."""

    @property
    def _stall_reason(self) -> str:
        return f"no ack and no progress for {self._ack_timeout_s:g} s"

    def _send(self, now: float, events: list[OutputEvent]) -> None:
        report = SendReport()
        try:
            self._sender.send(report)
        finally:
            if report.begun or report.size:
                events.append(Sent(tuple(report.begun), report.size, report.sends))
                self._note_sent(report, events)
        if report.got_room:  # otherwise the kernel's buffer never was full, which proves nothing about the peer
            self._last_progress = now

    def _receive(self, now: float, events: list[OutputEvent]) -> bool:
        """Handle received data; return whether there was any."""
        data = receive_some(self._transport)
        if data is None:
            return False
        if self._handle_data(data, events):
            self._last_progress = now
        return True

    def _read_remaining_answers(self, now: float, events: list[OutputEvent]) -> None:
        """Handle the answers that arrived before the connection broke, so that their lines are not sent again."""
        with contextlib.suppress(PeerClosed):
            while self._receive(now, events):
                pass

    def _check_progress(self, now: float, events: list[OutputEvent]) -> None:
        """Report a stall; after receiving, because a process that was suspended finds its answers in the transport."""
        if not self._expects_progress:
            self._last_progress = None
        elif self._last_progress is None:
            self._last_progress = now
        elif now - self._last_progress > self._ack_timeout_s:
            events.append(Stalled(self._stall_reason))
