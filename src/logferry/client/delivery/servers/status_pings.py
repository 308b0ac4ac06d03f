"""Pings that say how the client is: with its version, what it has not delivered, and what it waits for.

docs/protocol.md, rule E38. Owns when the next ping of a connection is due. Must never ping a server that does not list
the feature, nor often enough to keep a quiet client busy.
"""

from collections.abc import Callable
from typing import Final

from logferry.client.delivery.output import Connected, Output
from logferry.protocol.messages.client_state import ClientState
from logferry.protocol.messages.features import STATUS

INTERVAL_S: Final = 60.0


class StatusPings:
    """The pings of one engine, in its thread."""

    def __init__(self, describe: Callable[[], ClientState]) -> None:
        """`describe` returns the present state; it must not wait."""
        self._describe = describe
        self.next_timer: float | None = None  # when to call `send_if_due`; None: never

    def begin(self, connection: Connected, now: float) -> None:
        """Ping from `now` on, if the server understands it."""
        self.next_timer = now if STATUS in connection.features else None

    def end(self) -> None:
        """Ping no more: the connection has ended."""
        self.next_timer = None

    def send_if_due(self, output: Output, now: float) -> None:
        """Ping, unless it is too early."""
        if self.next_timer is not None and now >= self.next_timer:
            output.ping(self._describe())
            self.next_timer = now + INTERVAL_S
