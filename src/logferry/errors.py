"""The exceptions of Logferry.

LogferryError
  ConfigError            the user's settings are wrong; it lists every problem
  StateError             the state folder is in use, or cannot be read
  SourceError            a log file cannot be read; the machine or the user must fix it
  AddressError           numbers cannot be served at an address; another one must be chosen
  DeliveryError          a connection ended badly; retrying makes sense
    Unreachable          no address of the server accepted the connection
    NotSecured           the TLS handshake failed, or the server's certificate is refused
    NotAuthorised        the server does not admit this client
    PeerClosed           the server closed or reset the connection
      TlsAlert             the server closed it because of what its TLS has found, such as no client certificate
    ServerFull           the server is connected but stores nothing; with several servers, another one may
    PeerTimeout          the server showed no progress within the ack timeout
    ProtocolError        the server sent an answer that the protocol does not allow
      QuestionRefused      the server cannot or will not answer a question; the connection goes on
      NotALogServer      another service answers, or the answers do not belong to the lines; somebody must mend it
  DeliveryAbandoned      delivery failed for good: attempts or time used up
  FrameError             a compressed frame is broken; its sender must fix it
  StoreError             the server cannot write to its disk; waiting may help
    DamagedLedger        the ledger does not have the content of a ledger; it must be made anew

`cause_of` gives the system's reason for an OSError, for the messages of all of them.
"""

from collections.abc import Sequence
from typing import Final


class LogferryError(Exception):
    """The root: `except LogferryError` catches everything that Logferry raises on purpose."""


class ConfigError(LogferryError):
    """One or more settings are wrong. `problems` has one sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class StateError(LogferryError):
    """Another process uses the state folder, or something in the folder cannot be read or understood."""


class UnreadableState(StateError):
    """The system refuses to read something in the state folder, which may be intact: it is left as it is."""


class SourceError(LogferryError):
    """A log file cannot be read. `path` names it, `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"cannot read {path}: {reason}")
        self.path = path
        self.reason = reason


class AddressError(LogferryError):
    """Something else uses the address where metrics are to be served, or this machine does not have it."""


class DeliveryError(LogferryError):
    """A connection ended badly; the client resends what was not acked on the next connection."""


class Unreachable(DeliveryError):
    """No address of the server accepted the connection. `reason` says why, without the name of the server.

    `is_insecure` if one of them did, but the connection could not be encrypted.
    """

    def __init__(self, message: str, reason: str = "", *, is_insecure: bool = False) -> None:
        super().__init__(message)
        self.reason = reason or message
        self.is_insecure = is_insecure


class NotSecured(DeliveryError):
    """The connection cannot be encrypted: the handshake failed, or the server's certificate is refused."""


class NotAuthorised(DeliveryError):
    """The server does not admit this client, or this client cannot prove who it is; somebody must mend it."""


class PeerClosed(DeliveryError):
    """The server closed or reset the connection."""


class TlsAlert(PeerClosed):
    """The server closed the connection because of what its TLS has found, and has said so in an alert."""


class ServerFull(DeliveryError):
    """The server is connected, but has said for a while that it stores nothing."""


class PeerTimeout(DeliveryError):
    """The server showed no progress within the ack timeout."""


class ProtocolError(DeliveryError):
    """The server sent something that is not an answer, an answer to nothing, or more acks than lines."""


class QuestionRefused(ProtocolError):
    """The server cannot or will not answer a question, and has said why; the connection goes on."""


# What a peer does to which a client without TLS has connected at a port for TLS: see NotALogServer.
SPEAKS_TLS: Final = "speaks TLS; use --tls"


class NotALogServer(ProtocolError):
    """Nothing that this peer answers counts. `what` is what it did, `server` its name for people.

    A peer that SPEAKS_TLS may be a log server all the same.
    """

    def __init__(self, what: str, server: str = "the server") -> None:
        super().__init__(f"{server} {what}" if what == SPEAKS_TLS else f"{server} is not a Logferry server ({what})")
        self.what = what
        self.server = server


class DeliveryAbandoned(LogferryError):
    """Delivery failed for good: the attempts are used up, or a deadline has passed."""


class FrameError(LogferryError):
    """A compressed frame is broken or larger than allowed."""


class StoreError(LogferryError):
    """The server cannot write to its data folder."""


class DamagedLedger(StoreError):
    """The ledger does not have the content of a ledger. `problem` says what is wrong with it."""

    def __init__(self, message: str, problem: str) -> None:
        super().__init__(message)
        self.problem = problem


def cause_of(error: OSError, *, with_path: bool = False) -> str:
    """Return why the system refused, as "No space left on device"; `with_path` puts the file first if it is known."""
    path = f"{error.filename}: " if with_path and error.filename else ""
    return f"{path}{error.strerror or error}"
