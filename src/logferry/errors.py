"""Every exception of Logferry.

LogferryError
  ConfigError            the user's settings are wrong; all problems at once
  SourceError            a log file cannot be read; the machine or the user must mend it
  DeliveryError          a connection ended badly; trying again makes sense
    Unreachable          no address of the server took the connection
    PeerClosed           the server closed or reset the connection
    PeerSilent           the server gave no sign of progress within the ack timeout
    PeerConfused         the server sent something that is not an ack
  GaveUp                 delivery failed for good: attempts or deadline used up
  FrameError             a compressed frame is broken; its sender must mend it
  StoreError             the server cannot write to its disk; waiting may help

`cause_of` says why the system refused something, for the messages of all of them.
"""

from collections.abc import Sequence


class LogferryError(Exception):
    """The root: `except LogferryError` catches all that Logferry raises on purpose."""


class ConfigError(LogferryError):
    """One or more settings are wrong. `problems` has one sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class StateError(LogferryError):
    """The state folder cannot be used, because another process uses it; or it does not tell what it is asked."""


class SourceError(LogferryError):
    """A log file cannot be read. `path` names it, `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"cannot read {path}: {reason}")
        self.path = path
        self.reason = reason


class DeliveryError(LogferryError):
    """A connection ended badly; what was not acked is sent again on the next one."""


class Unreachable(DeliveryError):
    """No address of the server took the connection."""


class PeerClosed(DeliveryError):
    """The server closed or reset the connection."""


class PeerSilent(DeliveryError):
    """The server gave no sign of progress within the ack timeout."""


class PeerConfused(DeliveryError):
    """The server sent something that is not an ack, or more acks than lines."""


class GaveUp(LogferryError):
    """Delivery failed for good: the attempts or the deadline are used up."""


class FrameError(LogferryError):
    """A compressed frame is broken or larger than allowed."""


class StoreError(LogferryError):
    """The server cannot write to its data folder."""


def cause_of(error: OSError, *, with_path: bool = False) -> str:
    """Return why the system refused: "No space left on device"; `with_path`, the file first when the error names it."""
    path = f"{error.filename}: " if with_path and error.filename else ""
    return f"{path}{error.strerror or error}"
