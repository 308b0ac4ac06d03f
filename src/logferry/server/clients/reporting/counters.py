"""Counters of what clients have done since the server started, and what limits them. The event loop writes; any thread
may read.
"""

from dataclasses import dataclass, field

from logferry.server.clients.identities.authenticator import Principal
from logferry.server.clients.reporting.client_reports import ClientReports
from logferry.telemetry.server_table import ReceivingCounters


@dataclass(kw_only=True)
class ClientCounters(ReceivingCounters):
    """Updated by a server's connections and their roster; those of TLS by the thread that looks for changed files."""

    connections: int = 0  # open now
    max_connections: int = 0  # more are refused; 0: not known yet
    memory_full_since: float | None = None  # in the time of the event loop, while clients must wait for memory
    logins_refused: dict[str, int] = field(default_factory=lambda: {"denied": 0})  # by kind; there are few kinds
    reports: ClientReports = field(default_factory=ClientReports)  # what clients last said about themselves
    connections_by_principal: dict[str, int] = field(default_factory=dict)  # open now
    handshakes_failed: dict[str, int] = field(default_factory=dict)  # of TLS, by kind
    tls_expires_at: int = 0  # Unix time; 0 without TLS

    def fail_handshake(self, kind: str) -> None:
        """Count a handshake that failed."""
        self.handshakes_failed[kind] = self.handshakes_failed.get(kind, 0) + 1

    def note_refused_login(self, kind: str) -> None:
        """Count a client that was not admitted."""
        self.logins_refused[kind] = self.logins_refused.get(kind, 0) + 1

    def enter(self, principal: Principal) -> None:
        """Count a connection whose client has just been identified."""
        known = self.connections_by_principal
        known[principal.name] = known.get(principal.name, 0) + 1

    def leave(self, principal: Principal) -> None:
        """Count the end of a connection whose client had been identified."""
        known = self.connections_by_principal
        known[principal.name] -= 1
        if not known[principal.name]:
            del known[principal.name]
