"""How much of all clients' data the server holds: one account, and a gate that closes when it is too much."""

from typing import Final

# More than this waiting to be stored keeps no disk busier; and of many small deliveries the ledger has a copy beside.
MAX_UNSTORED_BYTES: Final = 16 * 1024 * 1024


class MemoryAccount:
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
        fullness = max(total / self._limit, self.unstored / MAX_UNSTORED_BYTES)
        if fullness > 1:
            self.gate_is_closed = True
        elif self.unstored == 0 or fullness < self._REOPEN_AT:
            self.gate_is_closed = False
        return self.gate_is_closed != was_closed
