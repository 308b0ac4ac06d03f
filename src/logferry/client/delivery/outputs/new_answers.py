"""How long signs of life keep a connection alive on which nothing moves.

Heartbeats, notices and repeated positions show that a server lives, so the ack timeout does not apply (rule E15). They
must never keep a client waiting or busy for ever. Owns the bounds of both; time is an argument.
"""

from typing import Final

from logferry.errors import ProtocolError

# A healthy server acks within a fraction of a second. One that says why it stores nothing (rule E29) may wait for a
# person who makes room on its disk; a new connection now and then does no harm.
_PATIENCE_S: Final = 300.0
_WITHHELD_S: Final = 3600.0
_ACK_TIMEOUTS: Final = 10

# A heartbeat comes every few seconds, a notice once for each damaged source of a client.
MAX_IN_A_ROW: Final = 50_000


def ack_patience_s(ack_timeout_s: float) -> float:
    """Return how long signs of life alone are enough, for a client with this ack timeout."""
    return max(_PATIENCE_S, _ACK_TIMEOUTS * ack_timeout_s)


class NewAnswers:
    """Watches the answers of one connection for one that moves something."""

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._in_a_row = 0  # answers that moved nothing
        self._since: float | None = None  # None: an answer has moved something, or nothing was owed

    def note(self, answers: int, *, is_new: bool) -> None:
        """Note answers, and whether one of them moved something. Raises ProtocolError after too many that did not."""
        if is_new:
            self._in_a_row, self._since = 0, None
            return
        self._in_a_row += answers
        if self._in_a_row > MAX_IN_A_ROW:
            raise ProtocolError(f"the server has sent {self._in_a_row} answers in a row that move nothing")

    def are_overdue(self, now: float, *, is_owed: bool, is_withheld: bool) -> bool:
        """Whether an answer is owed, and none has moved anything for too long."""
        if not is_owed or self._since is None:
            self._since = now if is_owed else None
        return self.waited_s(now) > (max(self._limit_s, _WITHHELD_S) if is_withheld else self._limit_s)

    def waited_s(self, now: float) -> float:
        """Return for how long an answer has been owed, and none has moved anything."""
        return now - self._since if self._since is not None else 0.0
