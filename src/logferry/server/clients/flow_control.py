"""Backpressure: how much client data the server holds in memory, and when it stops reading.

`MemoryBudget` is one account for all clients, with a gate that closes when their total is too high; `MemoryShare` is
one client's part of the account. Both belong to the event loop; other threads may read the numbers.
"""

from typing import Final

# A longer queue does not make a disk busier, and the ledger holds a second copy of many small deliveries.
_MAX_UNSTORED_BYTES: Final = 16 * 1024 * 1024

# Of one client. This is twenty milliseconds of work for the store: the server reads and judges one half while the store
# syncs the other (4 MiB would reduce one client's throughput by a quarter). It also keeps the server below 80 MB.
MAX_UNSTORED_BYTES: Final = 8 * 1024 * 1024


class MemoryBudget:
    """Bytes that clients have sent and the server has not stored yet, against one limit for all clients.

    `partial` counts what cannot be stored yet: incomplete messages. `unstored` counts what the store or the next step
    of judging will take; it also has a limit of its own. While the gate is closed, the server reads from no client.

    This cannot deadlock. With the gate closed, `unstored` falls without the clients' help, because the store writes
    (or waits for its disk, and then waiting is right) and because a client that does not read its acks is dropped
    after a while. When `unstored` is zero the gate opens, unless `partial` alone exceeds the limit. Waiting would not
    help then, so `must_drop` is true, and the client with the largest incomplete message is dropped.
    """

    # Reopen well below the limit, so that 10,000 clients are not paused and resumed for every delivery.
    _REOPEN_AT: Final = 0.75

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self.partial = 0
        self.unstored = 0
        self.gate_is_closed = False

    def change_limit(self, limit_bytes: int) -> None:
        """Change the limit; the next `update_gate` applies it."""
        self._limit = limit_bytes

    @property
    def must_drop(self) -> bool:
        """Whether waiting cannot help, so that a client must be dropped."""
        return self.partial > self._limit

    def update_gate(self) -> bool:
        """Close or open the gate according to the account; return whether the gate changed."""
        total = self.partial + self.unstored
        was_closed = self.gate_is_closed
        fullness = max(total / self._limit, self.unstored / _MAX_UNSTORED_BYTES)
        if fullness > 1:
            self.gate_is_closed = True
        elif self.unstored == 0 or fullness < self._REOPEN_AT:
            self.gate_is_closed = False
        return self.gate_is_closed != was_closed


class MemoryShare:
    """One client's share of the memory budget."""

    __slots__ = ("_budget", "_unjudged", "partial", "unstored")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._unjudged = 0
        self.partial = 0  # of an incomplete message
        self.unstored = 0  # in the store's queue

    @property
    def is_exhausted(self) -> bool:
        """Whether the store must catch up before more of this client's data is judged."""
        return self.unstored > MAX_UNSTORED_BYTES

    def has_room(self, *, is_reading: bool) -> bool:
        """Whether there is room for what the client sends next; reading resumes at half the level that stops it."""
        if self._budget.gate_is_closed:
            return False
        return self.unstored <= (MAX_UNSTORED_BYTES if is_reading else MAX_UNSTORED_BYTES // 2)

    def hold(self, partial: int, unjudged: int) -> None:
        """Record what the client's session holds now."""
        if partial == self.partial and unjudged == self._unjudged:
            return
        budget = self._budget
        budget.partial += partial - self.partial
        budget.unstored += unjudged - self._unjudged
        self.partial, self._unjudged = partial, unjudged

    def submitted(self, size: int) -> None:
        """Record a delivery that has entered the store's queue."""
        self.unstored += size
        self._budget.unstored += size

    def stored(self, size: int) -> None:
        """Record a delivery that has come back from the store."""
        self.submitted(-size)
