"""Whether the answers on a connection of the plain protocol belong to its lines; until then, none of them counts.

Owns the events that wait for that. A connection is in step once every line sent has its answer, and no other answer
follows for a moment. The end of a connection proves the same if every line has its answer by then.
"""

from dataclasses import dataclass
from typing import Final

from logferry.client.delivery.output import LineRejected, OutputEvent, Stored
from logferry.client.net.conversation.silence import QUIET_S
from logferry.errors import NotALogServer
from logferry.printable import printable

# Lines that are sent all the time leave no quiet moment. So while answers are held, the client pauses for the last part
# of each cycle; for no longer, because a server may wait for more lines before it answers.
_CYCLE_S: Final = 2.0
_PAUSE_S: Final = 1.0


@dataclass(slots=True)
class AnswerHistory:
    """What the server has answered on earlier connections. The sessions of one output share it, in one thread.

    A server that the client only guesses to be a log server must have stored a line (`has_stored`) before its refusals
    count: another service may refuse everything in the same form.
    """

    has_stored: bool
    last_refusal: tuple[bytes, str] | None = None  # with which a connection ended before it was in step


class AnswerStep:
    """See above; of one connection. Time is an argument."""

    def __init__(self, history: AnswerHistory) -> None:
        self._history = history
        self._held: list[OutputEvent] = []
        self._held_since = 0.0
        self._quiet_since: float | None = None
        self._resumes_at: float | None = None  # while the client pauses, unless it becomes quiet before that
        self.is_certain = False

    @property
    def deadline(self) -> float | None:
        """When to call `settle` again, if nothing happens until then."""
        return self._resumes_at if self._quiet_since is None else self._quiet_since + QUIET_S

    @property
    def is_pausing(self) -> bool:
        """Whether to send no more lines now."""
        return self._quiet_since is not None or self._resumes_at is not None

    def hold(self, event: OutputEvent) -> None:
        """Hold an event until its answer is known to be in step."""
        self._held.append(event)

    def settle(self, now: float, *, is_complete: bool) -> list[OutputEvent]:
        """Return the events that count now; `is_complete` says that no line waits for its answer.

        Raises NotALogServer if the server has never stored anything, and refuses every line.
        """
        self._resumes_at = None
        if not is_complete or not self._held:
            self._quiet_since = None
            self._pause_if_due(now)
        elif self._quiet_since is None:
            self._quiet_since = now
        elif now >= self._quiet_since + QUIET_S:
            self._quiet_since = None
            self.is_certain = True
            return self._release(len(self._held))
        return []

    def _pause_if_due(self, now: float) -> None:
        if not self._held:
            self._held_since = now
        cycles, passed_s = divmod(now - self._held_since, _CYCLE_S)
        if passed_s >= _CYCLE_S - _PAUSE_S:
            self._resumes_at = self._held_since + (cycles + 1) * _CYCLE_S

    def end(self, *, is_complete: bool) -> list[OutputEvent]:
        """Return the events that count although the connection ends before it was in step.

        Fewer answers than lines arrived, so an ack is not one too many. A refusal may be the answer to something else:
        it counts if another connection has ended with the same one, or its line would be sent for ever.
        """
        history = self._history
        for place, event in enumerate(self._held):
            if isinstance(event, LineRejected) and not is_complete:
                is_repeated = (event.line, event.reason) == history.last_refusal
                history.last_refusal = event.line, event.reason
                return self._release(place + is_repeated)
        return self._release(len(self._held))

    def discard(self) -> None:
        """Discard what is held: it answers something else."""
        self._held.clear()

    def _release(self, count: int) -> list[OutputEvent]:
        released, self._held = self._held[:count], []
        self._history.has_stored |= any(isinstance(event, Stored) for event in released)
        if released and not self._history.has_stored:
            reason = printable(next(event.reason for event in released if isinstance(event, LineRejected)))
            raise NotALogServer(f'it refuses every line: "{reason}"')
        return released
