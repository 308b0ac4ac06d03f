"""Backpressure: what clients cost the server in memory, and who must wait when that is too much.

`MemoryBudget` is one account for all clients, and `MemoryAccount` that of one client. Whatever a client can make grow
is charged to both by its size in memory. Both belong to the event loop; other threads may read the numbers.
"""

from typing import Final

from logferry.server.clients.memory.parties import Party

# A longer queue does not make a disk busier, and the ledger holds a second copy of many small deliveries.
_MAX_UNSTORED_BYTES: Final = 16 * 1024 * 1024

# Of one client. This is twenty milliseconds of work for the store: the server reads and judges one half while the store
# syncs the other (4 MiB would reduce one client's throughput by a quarter). It also keeps the server below 80 MB.
MAX_UNSTORED_BYTES: Final = 8 * 1024 * 1024

# Of all clients, and at most a quarter of the limit: what waits for a name on a disk without inodes. It may wait for
# days, so it has a limit of its own, for which nothing else waits.
_MAX_HELD_BYTES: Final = 16 * 1024 * 1024

# Of one client: the answers that it does not take, and the questions whose answers it waits for. One answer may have
# 700 KB. A client that takes its answers owes nothing: what the kernel has accepted is not counted.
MAX_OWED_BYTES: Final = 1024 * 1024

# What an open source costs: its id, and its entries in the tables of the session and of admission.
SOURCE_BYTES: Final = 320

# Of all clients, if the limit is not larger: 100,000 open sources. They are not part of the total, because waiting
# does not close a source.
_MAX_SOURCE_BYTES: Final = 32 * 1024 * 1024

# At a time from one client: what asyncio reads by itself; and under pressure, when what is read counts for each client.
READ_BYTES: Final = 256 * 1024
_SMALL_READ_BYTES: Final = 4 * 1024

# What may be the rest of a message: it is read in one piece, whatever others hold.
REST_BYTES: Final = 16 * 1024

# A client that has delivered this much since its last wasted turn comes before those that nobody knows.
_PROVEN_BYTES: Final = 256 * 1024

# Under pressure, a client that holds less than this never waits for others.
_LEAST_SHARE_BYTES: Final = 1024


class MemoryBudget:
    """What all clients hold, against one limit.

    `partial` counts incomplete messages, `unjudged` complete ones that are not judged yet, `unstored` what the store
    has not stored yet, `held` what it cannot store until the disk has room for names (held_back.py), `owed` answers
    that clients have not taken and questions that wait for an answer. `unstored` and `held` have limits of their own,
    too.

    Over a limit the budget is *tight*: a client that holds more than its share is not read from (paused.py), unless it
    has a turn to complete its message (pressure.py); a client that holds less is read from in small pieces. So one
    client can never stop another one by what it holds. The shares of all clients are a quarter of the limit, so the
    total stays below five quarters of it, plus a small piece for each client, a read of each that has a turn and the
    message of the first of these.

    While it is the store alone that is behind, clients that send much are not read from at all: they wait for the
    store anyway, and the beginnings of their messages would take as much memory again.
    """

    # End the pressure well below the limit, so that 10,000 clients are not paused and resumed for every delivery.
    _RELIEVED_AT: Final = 0.75

    def __init__(self, limit_bytes: int) -> None:
        self.limit = limit_bytes
        self.partial = 0
        self.unjudged = 0
        self.unstored = 0
        self.deferred = 0  # the part of `unjudged` that is yet to be looked at: it will soon be the store's
        self.held = 0
        self.owed = 0
        self.sources = 0
        self.clients = 0  # connected now
        self.surplus = 0  # of these, connections of identities that have others: see parties.py
        self.is_tight = False
        self.is_store_alone = False  # tight only because the store is behind

    def change_limit(self, limit_bytes: int) -> None:
        """Change the limit; the next `update` applies it."""
        self.limit = limit_bytes

    @property
    def total(self) -> int:
        """What all clients hold, without open sources."""
        return self.partial + self.unjudged + self.unstored + self.held + self.owed

    @property
    def waits_for_clients(self) -> bool:
        """Whether it is clients, and not the store, that must do something so that the pressure ends."""
        return self.is_tight and self.total - self.unstored - self.held > self.limit // 2

    @property
    def has_turns(self) -> bool:
        """Whether clients may complete their messages in turns, because only that ends the pressure."""
        return self.waits_for_clients and self.unstored <= min(_MAX_UNSTORED_BYTES, self.limit // 4)

    @property
    def most_without_turns(self) -> int:
        """What all clients may hold under pressure while nobody has a turn: the limit, their shares, their reads."""
        return self.limit * 5 // 4 + self.clients * _SMALL_READ_BYTES + READ_BYTES

    def has_reserve(self, *, is_proven: bool) -> bool:
        """Whether there is room for a client that has a turn; a quarter of the reserve is for those that are proven."""
        most = self.most_without_turns
        return self.total <= (most if is_proven else most - (most - self.limit) // 4)

    @property
    def share(self) -> int:
        """What one party may hold under pressure without having to wait for others."""
        return max(_LEAST_SHARE_BYTES, self.limit // (4 * self.parties))

    @property
    def parties(self) -> int:
        """How many clients are connected, all connections of an identity being one."""
        return max(1, self.clients - self.surplus)

    @property
    def share_in_store(self) -> int:
        """What an identity may hold although the store is behind, and it sends much."""
        return _MAX_UNSTORED_BYTES // (2 * self.parties)

    @property
    def has_room_in_store(self) -> bool:
        """Whether a read or two more would leave what waits for the store near its limit."""
        return self.unstored + self.deferred <= _MAX_UNSTORED_BYTES * 9 // 8

    @property
    def held_limit(self) -> int:
        """What may wait for names, of all clients."""
        return min(_MAX_HELD_BYTES, self.limit // 4)

    @property
    def source_limit(self) -> int:
        """What the open sources of all clients may cost."""
        return max(_MAX_SOURCE_BYTES, self.limit // 2)

    def update(self) -> bool:
        """Note whether there is pressure now, and whether the store alone causes it; return whether that changed."""
        unstored = self.unstored + self.deferred
        total = self.partial + self.unjudged + self.unstored + self.held + self.owed
        if total > self.limit:
            return self._change(is_tight=True, is_store_alone=False)
        is_over = unstored > _MAX_UNSTORED_BYTES
        if is_over == self.is_tight:
            return False
        if not is_over and (unstored or self.unjudged or self.owed):
            fullness = max(total / self.limit, unstored / _MAX_UNSTORED_BYTES)
            if fullness >= self._RELIEVED_AT:
                return False
        return self._change(is_tight=is_over, is_store_alone=is_over)

    def _change(self, *, is_tight: bool, is_store_alone: bool) -> bool:
        before = self.is_tight, self.is_store_alone
        self.is_tight, self.is_store_alone = is_tight, is_store_alone
        return before != (is_tight, is_store_alone)


class MemoryAccount:
    """What one client holds. Every charge is also one to the budget of all clients."""

    __slots__ = (
        "_budget",
        "_deferred",
        "_held",
        "_sources",
        "delivered",
        "has_turn",
        "is_first",
        "is_paused",
        "one_read",
        "owed",
        "partial",
        "party",
        "sends_much",
        "unjudged",
        "unstored",
    )

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.party: Party | None = None  # if the client has proven an identity
        self._sources = 0
        self._deferred = 0
        self._held = 0  # in the store, for want of a name
        self.partial = 0  # of an incomplete message
        self.unjudged = 0  # of complete messages
        self.unstored = 0  # in the store's queue
        self.delivered = 0  # to the store, since the last turn that the client wasted; see pressure.py
        self.owed = 0  # answers that are not taken, questions that wait
        self.sends_much = False  # by its last read
        self.one_read = 0  # bytes that are read once, whatever others hold
        self.has_turn = False  # to complete its message under pressure; see pressure.py
        self.is_first = False  # of those that have a turn: it goes on even if the others have used up the reserve
        self.is_paused = False  # until there is room, and others that wait for it have gone on; see paused.py

    @property
    def held(self) -> int:
        """What the client holds, without open sources."""
        return self.partial + self.unjudged + self.unstored + self._held + self.owed

    def join(self, party: Party) -> None:
        """Count what the client holds as its identity's, too."""
        self.party = party
        party.connections += 1
        self._budget.surplus += party.connections > 1
        party.held += self.held
        party.unstored += self.unstored

    def leave(self) -> None:
        """Note that the connection has ended; what it has in the store still counts as its identity's."""
        if self.party is not None:
            self.party.connections -= 1
            self._budget.surplus -= self.party.connections > 0

    @property
    def is_exhausted(self) -> bool:
        """Whether the store or the client must catch up before more of this client's data is judged."""
        return self._waits_for_store > MAX_UNSTORED_BYTES or self.owed > MAX_OWED_BYTES

    @property
    def _waits_for_store(self) -> int:
        return (self.unstored if self.party is None else self.party.unstored) + self._held

    @property
    def waits_for_party(self) -> bool:
        """Whether the client waits for what other connections of its identity have in the store."""
        return self.party is not None and self._waits_for_store > MAX_UNSTORED_BYTES // 2

    @property
    def has_room_for_source(self) -> bool:
        """Whether the client may open another source: over the limit of all, only with fewer than its share."""
        budget = self._budget
        return budget.sources < budget.source_limit or (
            self._sources < self.source_share and budget.sources < budget.source_limit * 5 // 4
        )

    @property
    def sources(self) -> int:
        """How many sources the client has opened."""
        return self._sources

    @property
    def source_share(self) -> int:
        """How many sources the client may open although all clients have opened too many."""
        return self._budget.source_limit // (4 * max(1, self._budget.clients) * SOURCE_BYTES)

    @property
    def read_bytes(self) -> int:
        """How many bytes of the client may be read at a time."""
        if not self._budget.is_tight or self.has_turn:
            return READ_BYTES
        return self.one_read or _SMALL_READ_BYTES

    @property
    def is_proven(self) -> bool:
        """Whether the client delivers what it begins."""
        return self.delivered >= _PROVEN_BYTES

    @property
    def is_under_pressure(self) -> bool:
        """Whether all clients together hold too much."""
        return self._budget.is_tight

    def may_grow(self, size: int) -> bool:
        """Whether the client's message may be inflated now, to `size` bytes more.

        Under pressure only in a turn, or if all of it fits into the share: a step alone is larger than the share is
        where there are many clients.
        """
        if not self._budget.is_tight:
            return True
        return self._may_go_on() if self.has_turn else self._fits(size)

    def has_room(self, *, is_reading: bool) -> bool:
        """Whether there is room for what the client sends next; reading resumes at half the level that stops it."""
        if self.must_pause or (self.is_paused and not self._budget.is_tight):
            return False
        if self.owed > MAX_OWED_BYTES:
            return False
        return self._waits_for_store <= (MAX_UNSTORED_BYTES if is_reading else MAX_UNSTORED_BYTES // 2)

    @property
    def must_pause(self) -> bool:
        """Whether the client must wait because all clients together hold too much."""
        return self._budget.is_tight and not self._may_go_on()

    def _may_go_on(self) -> bool:
        """Whether the client may send more under pressure."""
        budget = self._budget
        if self.has_turn:
            return budget.has_turns and (self.is_first or budget.has_reserve(is_proven=self.is_proven))
        return bool(self.one_read) or self._fits(0)

    def _fits(self, size: int) -> bool:
        """Whether the client, or its identity, holds no more than its share with `size` bytes more."""
        budget, party = self._budget, self.party
        if party is None:
            return self.held + size <= budget.share and not (self.sends_much and budget.is_store_alone)
        if self.sends_much and budget.is_store_alone:
            return party.held + size <= budget.share_in_store
        return party.held + size <= budget.share or self.held + size <= budget.share // max(1, party.connections)

    def was_read(self, size: int) -> None:
        """Record a read: a large one, or one that was as large as it might be, shows a client that sends much."""
        self.one_read = 0
        self.sends_much = size >= REST_BYTES or (size >= _SMALL_READ_BYTES and self.read_bytes == _SMALL_READ_BYTES)

    def hold(self, partial: int, unjudged: int, sources: int) -> None:
        """Record what the client's session holds now: bytes of messages, and open sources."""
        budget = self._budget
        if partial != self.partial or unjudged != self.unjudged:
            budget.partial += partial - self.partial
            budget.unjudged += unjudged - self.unjudged
            if self.party is not None:
                self.party.held += partial - self.partial + unjudged - self.unjudged
            self.partial, self.unjudged = partial, unjudged
        if sources != self._sources:
            budget.sources += (sources - self._sources) * SOURCE_BYTES
            self._sources = sources

    def defer(self, size: int) -> None:
        """Record how many bytes were read that are left to a turn."""
        self._budget.deferred += size - self._deferred
        self._deferred = size

    def owe(self, size: int) -> None:
        """Record what the answers and questions of the client that are not done with take, in addition."""
        self.owed += size
        self._budget.owed += size
        if self.party is not None:
            self.party.held += size

    def submitted(self, size: int) -> None:
        """Record a delivery that has entered the store's queue."""
        self.delivered += size
        self._move(size)

    def _move(self, size: int) -> None:
        self.unstored += size
        self._budget.unstored += size
        if self.party is not None:
            self.party.unstored += size
            self.party.held += size
            if self.party.unstored > MAX_UNSTORED_BYTES:
                self.party.fill()

    def hold_back(self, size: int) -> None:
        """Record a delivery that the store has to hold back while it stores others."""
        self._move(-size)
        self._held += size
        self._budget.held += size
        if self.party is not None:
            self.party.held += size

    def stored(self, size: int, *, was_held: bool = False) -> None:
        """Record a delivery that has come back from the store, which may have held it back."""
        if was_held:
            self.hold_back(-size)
        self._move(-size)
        if self.party is not None and self.party.unstored <= MAX_UNSTORED_BYTES // 2:
            self.party.resume()
