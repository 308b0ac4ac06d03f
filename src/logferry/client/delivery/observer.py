"""Who watches a delivery engine's connection: what the engine reports, without knowing who shows it."""

from typing import Protocol

from logferry.client.delivery.output import Guarantee


class ConnectionObserver(Protocol):
    """Gets each change of the connection, in the engine's thread. None of its methods may block or raise."""

    def connected(self, guarantee: Guarantee) -> None:
        """There is a connection, which gives `guarantee`."""

    def closed(self) -> None:
        """The connection has ended; if it failed, `failed` follows."""

    def failed(self, error: str) -> None:
        """A connection, or the attempt at one, has failed for the reason `error`; the engine will try again."""


class NobodyWatches:
    """The observer of an engine that nobody watches."""

    def connected(self, guarantee: Guarantee) -> None:
        """See ConnectionObserver."""

    def closed(self) -> None:
        """See ConnectionObserver."""

    def failed(self, error: str) -> None:
        """See ConnectionObserver."""
