"""What clients have done since the server started, in numbers. The event loop writes; any thread may read."""

from dataclasses import dataclass, field

from logferry.server.clients.authenticator import Principal


@dataclass(slots=True)
class ClientCounters:
    """Counted by the connections of a server and by their roster."""

    connections: int = 0  # open now
    connections_total: int = 0
    connections_refused: int = 0  # the server was full
    connections_denied: int = 0  # by the authenticator
    connections_silent: int = 0  # ended without having sent a byte: health probes
    clients_dropped: int = 0
    lines_rejected: int = 0
    losses_reported: int = 0  # ranges of files that are not stored as they were, each once
    connections_by_principal: dict[str, int] = field(default_factory=dict)  # open now

    def enter(self, principal: Principal) -> None:
        """Count a connection whose client is known now."""
        known = self.connections_by_principal
        known[principal.name] = known.get(principal.name, 0) + 1

    def leave(self, principal: Principal) -> None:
        """Count the end of a connection whose client was known."""
        known = self.connections_by_principal
        known[principal.name] -= 1
        if not known[principal.name]:
            del known[principal.name]
