"""The seam through which the delivery engine reports the state of its connection; whatever shows it implements it."""

from typing import Protocol

from logferry.client.delivery.output import Guarantee


class ConnectionObserver(Protocol):
    """Gets each change of the connection, in the engine's thread. Its methods must never block or raise."""

    def connected(self, guarantee: Guarantee) -> None:
        """The engine has a connection, which gives `guarantee`."""

    def closed(self) -> None:
        """The connection has ended; if it failed, `failed` follows."""

    def failed(self, error: str) -> None:
        """A connection, or an attempt to connect, has failed with `error`; the engine will retry."""

    def stalled(self, reason: str, since: float) -> None:
        """The engine is connected, but for `reason` the server stores nothing since a Unix time; "" ends that."""


class NullObserver:
    """The observer that ignores everything."""

    def connected(self, guarantee: Guarantee) -> None:
        """See ConnectionObserver."""

    def closed(self) -> None:
        """See ConnectionObserver."""

    def failed(self, error: str) -> None:
        """See ConnectionObserver."""

    def stalled(self, reason: str, since: float) -> None:
        """See ConnectionObserver."""
