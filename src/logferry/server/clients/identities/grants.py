"""What an identity is granted, for all its connections together: bytes per second, and sources open at a time.

Owns the accounts of identities with a limit. A limit of bytes pauses reading (backpressure), and one of sources refuses
an open: neither loses a line. Everything runs in the event loop; clients without an identity have no limit here.
"""

from collections.abc import Callable
from typing import Final

from logferry.server.clients.identities.authenticator import Principal

# An identity that has been quiet may send what it may send in this time at once.
_BURST_S: Final = 1.0


class Grant:
    """The account of one identity. `bytes_per_second` and `most_sources` are 0 for no limit."""

    def __init__(self, principal: Principal, clock: Callable[[], float]) -> None:
        self.principal = principal
        self.connections = 0
        self.sources = 0
        self._most_sources = principal.max_sources
        self._per_second = principal.max_bytes_per_second
        self._clock = clock
        self._balance = self._per_second * _BURST_S
        self._balanced_at = clock()

    def spend(self, size: int) -> None:
        """Charge bytes that were read."""
        if self._per_second:
            self._fill()
            self._balance -= size

    @property
    def wait_s(self) -> float:
        """For how many seconds to read nothing more; 0 if the identity may send."""
        if not self._per_second:
            return 0.0
        self._fill()
        return max(0.0, -self._balance / self._per_second)

    def _fill(self) -> None:
        now = self._clock()
        earned = (now - self._balanced_at) * self._per_second
        self._balance = min(self._per_second * _BURST_S, self._balance + earned)
        self._balanced_at = now

    def take_source(self) -> str:
        """Charge one more open source; return why it must not be opened, "" if it may."""
        if self._most_sources and self.sources >= self._most_sources:
            return f"client {self.principal.name} may have {self._most_sources} sources open at a time (max_sources)"
        self.sources += 1
        return ""


class Grants:
    """The accounts of all identities that are connected."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._grants: dict[Principal, Grant] = {}

    def enter(self, principal: Principal) -> Grant | None:
        """Return the account of a client that has been admitted; None if its identity has no limit."""
        if not principal.max_bytes_per_second and not principal.max_sources:
            return None
        grant = self._grants.get(principal)
        if grant is None:
            grant = self._grants[principal] = Grant(principal, self._clock)
        grant.connections += 1
        return grant

    def leave(self, grant: Grant, *, sources: int) -> None:
        """Note that a connection has ended, which had opened `sources` sources."""
        grant.connections -= 1
        grant.sources -= sources
        if not grant.connections and not grant.wait_s:
            self._grants.pop(grant.principal, None)
