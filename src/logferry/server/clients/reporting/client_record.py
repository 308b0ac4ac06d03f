"""What one client is and has done: its label in the log, and what is counted and logged about it."""

from dataclasses import replace

from logferry.protocol.messages.client_state import ClientState, FileVerdict
from logferry.protocol.messages.requests import Note, Skip, Window
from logferry.protocol.strangers import Stranger
from logferry.server.clients.identities.authenticator import Denied, PeerInfo, Principal
from logferry.server.clients.reporting.client_log import ClientLabel, ClientLog
from logferry.server.clients.reporting.counters import ClientCounters
from logferry.server.clients.tls.failures import HandshakeFailure


class ClientRecord:
    """The record of one connection. `why_ended` is empty until the server has a reason to end it."""

    def __init__(self, peer: PeerInfo, counters: ClientCounters, log: ClientLog) -> None:
        self.label = ClientLabel(peer)
        self._counters = counters
        self._log = log
        self.lines_acked = 0
        self.lines_rejected = 0
        self.last_rejection = ""
        self.why_ended = ""
        self._was_dropped = False

    def came_through_proxy(self, address: str, port: int) -> None:
        """Note what a proxy says about the client; the peer so far is the proxy."""
        self.label = replace(self.label, peer=PeerInfo(address, port, str(self.label.peer)))

    def secured(self, names: tuple[str, ...]) -> None:
        """Note that the connection is encrypted, and whom the client's certificate names."""
        self.label = replace(self.label, peer=replace(self.label.peer, is_encrypted=True, certificate=names))

    def note_handshake_failed(self, failure: HandshakeFailure) -> None:
        """Count and log that there will be no connection with TLS."""
        self.why_ended = f"TLS handshake failed: {failure.reason}"
        self._counters.fail_handshake(failure.kind)
        self._log.handshake_failed(self.label, failure)

    def identified(self, answer: Principal | Denied, *, host: str, protocol: str) -> None:
        """Count and log who the client is, or that it is denied."""
        self.label = replace(self.label, host=host, protocol=protocol)
        if isinstance(answer, Denied):
            self.why_ended = f"denied: {answer.reason}"
            self._counters.connections_denied += 1
            self._counters.note_refused_login(answer.kind)
            self._log.denied(self.label, answer.reason)
            return
        self.label = replace(self.label, principal=answer)
        self._counters.enter(answer)
        self._log.connected(self.label)

    def note_rejected(self, reason: str) -> None:
        """Count a rejected line, frame or batch, and log the first."""
        self.lines_rejected += 1
        self.last_rejection = reason
        self._counters.lines_rejected += 1
        if self.lines_rejected == 1:
            self._log.rejected(self.label, reason)

    def note_loss(self, path: str, loss: Skip | Note) -> None:
        """Count and log bytes of a file that are not stored unchanged."""
        self._counters.losses_reported += 1
        self._log.lost(self.label, path, loss.start, loss.end, loss.reason)

    def note_window(self, path: str, window: Window) -> None:
        """Count and log that bytes of a file may be lost that nobody saw."""
        self._counters.windows_reported += 1
        self._log.unknown_window(self.label, path, window.start, window.reason)

    def note_state(self, owner: str, state: ClientState) -> None:
        """Keep what the client says about itself."""
        self._counters.reports.note_state(owner, self.label.host, state)

    def note_verdict(self, owner: str, verdict: FileVerdict) -> None:
        """Keep what `verify` on the client's machine has found about a file."""
        self._counters.reports.note_verdict(owner, self.label.host, verdict)

    def note_repeat(self, path: str, start: int, end: int) -> None:
        """Log that bytes of a file that the client is about to resend are already stored."""
        self._log.repeats(self.label, path, start, end)

    def note_stranger(self, stranger: Stranger) -> None:
        """Count and log that the client is not a log client."""
        self.why_ended = f"not a log client: {stranger}"
        self._counters.connections_strange += 1
        self._log.stranger(self.label, stranger)

    def note_failed(self, error: Exception) -> None:
        """Log an error of the server itself while it served the client."""
        self._log.failed(self.label, error)

    def ends_because(self, why: str) -> None:
        """Note why the server ends the connection, unless it has had another reason before."""
        self.why_ended = self.why_ended or why

    def note_dropped(self, why: str) -> None:
        """Count that the server ends the connection for reasons of its own."""
        self.why_ended = why
        self._was_dropped = True
        self._counters.clients_dropped += 1

    def ended(self, why: str, *, is_silent: bool) -> None:
        """Count and log the end of the connection; `why` unless the server had a reason. `is_silent`: not a byte."""
        why = self.why_ended or why
        principal = self.label.principal
        if principal is None:
            self._counters.connections_silent += is_silent
            self._log.left_unknown(self.label, why)
            return
        self._counters.leave(principal)
        self._log.disconnected(
            self.label,
            why,
            lines_acked=self.lines_acked,
            lines_rejected=self.lines_rejected,
            was_dropped=self._was_dropped,
        )
