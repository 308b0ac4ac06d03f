"""How fast a client sends what it owes the server, and for how long it has been too slow.

While a client waits for room, what it sent faster than necessary does not count later: otherwise a client that has sent
much at once could do nothing for seconds. Time is an argument.
"""


class Pace:
    """Bytes against time, since the client was last as fast as it must be; `began` is when the count did."""

    __slots__ = ("_sent", "_since", "began")

    def __init__(self) -> None:
        self.began = self._since = 0.0
        self._sent = 0

    def start(self, now: float, sent: int) -> None:
        """Count from now on; `sent` bytes do not count."""
        self.began = self._since = now
        self._sent = sent

    def behind_s(self, now: float, sent: int, least_per_s: int) -> float:
        """Return by how many seconds the client is behind `least_per_s`, having sent `sent` bytes."""
        behind_s = now - self._since - (sent - self._sent) / least_per_s
        if behind_s <= 0:
            self._since, self._sent = now, sent
        return behind_s
