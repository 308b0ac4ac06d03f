"""Parties: whose memory and work is counted together.

An identity is one party, however many connections it has; a client that proves none is a party by itself, and has no
`Party`. Owns what the connections of an identity hold together, and which of them wait because that is too much. So a
thousand connections of one identity weigh as one of another. Runs in the event loop; must never decide who waits.
"""

from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

from logferry.server.clients.identities.authenticator import Principal

# Connections that go on together in one pass of the loop when there is room again.
_TOGETHER: Final = 16


class Waiting(Protocol):
    """A connection that waits until its party holds less."""

    def regulate(self) -> None:
        """Go on with the client if and only if there is room."""


class Party:
    """An identity that is connected; `connections`, `held` and `unstored` are flow_control.py's."""

    def __init__(self, principal: Principal, call_in_next_pass: Callable[[Callable[[], object]], object]) -> None:
        self.principal = principal
        self.connections = 0
        self.held = 0
        self.unstored = 0
        self._call_in_next_pass = call_in_next_pass
        self._members: dict[Waiting, None] = {}
        self._waiting: dict[Waiting, None] = {}
        self._will_resume = False
        self._is_full = False

    def add(self, connection: Waiting) -> None:
        """Take a connection in."""
        self._members[connection] = None

    def remove(self, connection: Waiting) -> None:
        """Note that a connection has left."""
        del self._members[connection]
        self._waiting.pop(connection, None)

    def fill(self) -> None:
        """Have all connections wait, because the party has too much that is not stored. It may be called again."""
        if not self._is_full:
            self._is_full = True
            self._call_in_next_pass(self._regulate_all)

    def _regulate_all(self) -> None:
        for connection in list(self._members):
            connection.regulate()

    def wait(self, connection: Waiting) -> None:
        """Note that a connection waits because the party has too much that is not stored."""
        self._waiting[connection] = None

    def resume(self) -> None:
        """Let connections go on, a few in each pass of the loop, those that have waited longest first."""
        self._is_full = False
        if self._waiting and not self._will_resume:
            self._will_resume = True
            self._call_in_next_pass(self._resume_some)

    def _resume_some(self) -> None:
        self._will_resume = False
        some = list(islice(self._waiting, _TOGETHER))
        for connection in some:
            del self._waiting[connection]
        if self._waiting and not self._is_full:
            self.resume()
        for connection in some:
            connection.regulate()  # it waits again if there is no room


class Parties:
    """All identities that are connected."""

    def __init__(self, call_in_next_pass: Callable[[Callable[[], object]], object]) -> None:
        self._call_in_next_pass = call_in_next_pass
        self._parties: dict[Principal, Party] = {}

    def enter(self, principal: Principal) -> Party | None:
        """Return the party of a client that has been admitted; None if it proves no identity."""
        if not principal.proves_identity:
            return None
        return self._parties.setdefault(principal, Party(principal, self._call_in_next_pass))

    def forget_if_gone(self, party: Party) -> None:
        """Forget an identity without connections, once the store has what they sent: the next one counts that."""
        if not party.connections and not party.held:
            self._parties.pop(party.principal, None)
