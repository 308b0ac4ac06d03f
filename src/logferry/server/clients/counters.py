"""Counters of what clients have done since the server started, and what limits them. The event loop writes; any thread
may read.
"""

from dataclasses import dataclass, field

from logferry.server.clients.authenticator import Principal
from logferry.server.clients.client_reports import ClientReports


@dataclass(slots=True)
class ClientCounters:
    """Updated by a server's connections and their roster."""

    connections: int = 0  # open now
    connections_total: int = 0
    connections_refused: int = 0  # the server was full
    connections_denied: int = 0  # by the authenticator
    connections_silent: int = 0  # ended without having sent a byte: health probes
    connections_strange: int = 0  # closed because the peer is not a log client
    clients_dropped: int = 0
    lines_rejected: int = 0
    losses_reported: int = 0  # ranges of files that are not stored unchanged, each counted once
    windows_reported: int = 0  # files that may have lost bytes that nobody saw, each counted once
    max_connections: int = 0  # more are refused; 0: not known yet
    memory_full_since: float | None = None  # in the time of the event loop, while clients must wait for memory
    logins_refused: dict[str, int] = field(default_factory=lambda: {"denied": 0})  # by kind; there are few kinds
    reports: ClientReports = field(default_factory=ClientReports)  # what clients last said about themselves
    connections_by_principal: dict[str, int] = field(default_factory=dict)  # open now
    handshakes_failed: dict[str, int] = field(default_factory=dict)  # of TLS, by kind
    tls_expires_at: int = 0  # Unix time; 0 without TLS; written by the thread that looks for changed files
    tls_reload_failures: int = 0  # likewise
    clients_reload_failures: int = 0  # of the clients file

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
