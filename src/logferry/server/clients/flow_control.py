"""Backpressure: how much of all clients' data the server holds, and when it stops reading.

`MemoryBudget` is one account for all clients with a gate that closes when they hold too much together; `MemoryShare` is
one client's part of it. All of it belongs to the event loop; other threads may read the numbers.
"""

from typing import Final

# More than this waiting to be stored keeps no disk busier; and of many small deliveries the ledger has a copy beside.
_MAX_UNSTORED_BYTES: Final = 16 * 1024 * 1024

# Of one client. Twenty milliseconds of work for the store: while half of it is synced the other half is read and judged
# (with 4 MiB one client gets a quarter less), and little enough that the server stays below 80 MB.
MAX_UNSTORED_BYTES: Final = 8 * 1024 * 1024


class MemoryBudget:
    """Bytes that clients have sent and that are not stored yet, against one limit for all of them.

    `partial` is what cannot be stored yet: the beginnings of messages. `unstored` is what the store or the next
    step of judging will take; it has a limit of its own too. While the gate is closed nobody is read from.

    Why this cannot come to a standstill: with the gate closed, `unstored` falls without the clients' help, because the
    store writes (or waits for its disk, and then waiting is right) and because a client that does not take its acks
    is dropped after a while. When `unstored` is zero the gate opens, unless `partial` alone is over the limit;
    then waiting would not help, and `must_drop` says so: the client with the largest beginning is dropped.
    """

    # Open again well below the limit, so that 10,000 clients are not paused and resumed for every delivery.
    _REOPEN_AT: Final = 0.75

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self.partial = 0
        self.unstored = 0
        self.gate_is_closed = False

    @property
    def must_drop(self) -> bool:
        """Whether waiting cannot help any more."""
        return self.partial > self._limit

    def update_gate(self) -> bool:
        """Close or open the gate as the account says; return whether that changed anything."""
        total = self.partial + self.unstored
        was_closed = self.gate_is_closed
        fullness = max(total / self._limit, self.unstored / _MAX_UNSTORED_BYTES)
        if fullness > 1:
            self.gate_is_closed = True
        elif self.unstored == 0 or fullness < self._REOPEN_AT:
            self.gate_is_closed = False
        return self.gate_is_closed != was_closed


class MemoryShare:
    """What one client holds, entered into the budget of all."""

    __slots__ = ("_budget", "_unjudged", "partial", "unstored")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._unjudged = 0
        self.partial = 0  # of a message that is not whole yet
        self.unstored = 0  # in the store's queue

    @property
    def is_exhausted(self) -> bool:
        """Whether the store must catch up before anything more of this client is judged."""
        return self.unstored > MAX_UNSTORED_BYTES

    def has_room(self, *, is_reading: bool) -> bool:
        """Whether there is room for what the client sends next; reading resumes at half of what stops it."""
        if self._budget.gate_is_closed:
            return False
        return self.unstored <= (MAX_UNSTORED_BYTES if is_reading else MAX_UNSTORED_BYTES // 2)

    def hold(self, partial: int, unjudged: int) -> None:
        """Enter what the client's session holds now."""
        if partial == self.partial and unjudged == self._unjudged:
            return
        budget = self._budget
        budget.partial += partial - self.partial
        budget.unstored += unjudged - self._unjudged
        self.partial, self._unjudged = partial, unjudged

    def submitted(self, size: int) -> None:
        """Enter a delivery that waits in the store's queue from now on."""
        self.unstored += size
        self._budget.unstored += size

    def stored(self, size: int) -> None:
        """A delivery has come back from the store."""
        self.submitted(-size)
