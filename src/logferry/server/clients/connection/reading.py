"""Reading from one client: whether and how much at a time, and what the client does about the memory that it holds.

Owns whether the transport is read from, and the pace of an unfinished message. The client waits while it has too much
unstored, while it does not take its answers, while its identity has sent enough for now, and while all clients together
hold too much: then it is a member of what answers pressure (memory/pressure.py, scheduling/paused.py). Must never look
at what was read.
"""

import asyncio
from typing import Protocol

from logferry.server.clients.connection.answering import Answering
from logferry.server.clients.connection.lifecycle import Lifecycle
from logferry.server.clients.connection.pace import Pace
from logferry.server.clients.connection.patience import Watch
from logferry.server.clients.identities.grants import Grant
from logferry.server.clients.memory.flow_control import READ_BYTES, REST_BYTES, MemoryAccount
from logferry.server.clients.memory.parties import Party
from logferry.server.clients.memory.pressure import LEAST_BYTES_PER_S, Pressure
from logferry.server.clients.scheduling.paused import Paused
from logferry.server.clients.services import Scheduler
from logferry.server.clients.sessions.base import Session, UnknownProtocol


class Above(Protocol):
    """What is done for the connection that is read from."""

    def continue_judging(self) -> None:
        """Judge more of what was read, if there is more and nothing keeps it waiting."""

    def drop_for_memory(self) -> None:
        """Drop the client because others need the memory that it holds."""


class Reading:
    """The reading of one connection; see Member in pressure.py for what others ask of it."""

    def __init__(
        self,
        above: Above,
        transport: asyncio.Transport,
        *,
        life: Lifecycle,
        watch: Watch,
        memory: MemoryAccount,
        answering: Answering,
        scheduler: Scheduler,
        pressure: Pressure,
        paused: Paused,
    ) -> None:
        self._above = above
        self._transport = transport
        self._life = life
        self._watch = watch
        self.memory = memory
        self._answering = answering
        self._scheduler = scheduler
        self._pressure = pressure
        self._paused = paused
        self.session: Session = UnknownProtocol()
        self.grant: Grant | None = None  # of the client's identity, if that has limits
        # Of the incomplete message, from where it began, or from where the turn to complete it began.
        self._pace = Pace()
        self._had_rest = False  # what may be the rest of it was read
        self.is_reading = True
        self._has_room = True  # for what the client sends next
        self._read_bytes = READ_BYTES
        self._will_resume = False  # `_resume` is scheduled

    # --- for the connection

    def was_read(self, size: int) -> None:
        """Charge what was read."""
        self.memory.was_read(size)
        if self.grant is not None:
            self.grant.spend(size)

    def took_turn(self) -> None:
        """End a turn: what was read in it has completed a message."""
        if self.memory.has_turn and not self.session.is_inflating:
            self._pressure.leave(self)

    def begins_message(self) -> None:
        """Note that what is incomplete is another message than before."""
        self._pace.start(self._watch.heard, 0)
        self._had_rest = False
        if not self.session.is_inflating:  # whether a delivery, a ping or a question has come of it
            self._pressure.leave(self)

    def leave(self) -> None:
        """Wait for nothing any more: what the client sends is discarded."""
        self._paused.leave(self)
        self._pressure.leave(self)

    @property
    def must_wait(self) -> bool:
        """Whether nothing more of the client may be judged now."""
        return self.memory.is_exhausted or self._watch.is_blocked or self._waits_to_inflate

    @property
    def _waits_to_inflate(self) -> bool:
        return self.session.is_inflating and not self.memory.may_grow(self.session.rest_bytes)

    @property
    def _party(self) -> Party | None:
        return self.memory.party

    # --- for what answers pressure

    def regulate(self) -> None:
        """Read from the client if and only if there is room for what it sends; discarded input needs no room."""
        life = self._life
        if life.is_lost or self._transport.is_closing():
            return
        has_more = self.session.has_more
        if has_more and self._waits_to_inflate:
            self._pressure.wait(self)
            self._paused.add(self)
        elif has_more:
            self._above.continue_judging()
        if life.client_has_closed:
            return
        is_willing = life.is_open and not self._watch.is_blocked and not has_more
        if is_willing:  # a pause to judge is not one for want of room, after which half of the room must be free
            self._has_room = self.memory.has_room(is_reading=self._has_room)
        wait_s = self.grant.wait_s if is_willing and self.grant is not None else 0.0
        wanted = life.is_ignoring or (is_willing and self._has_room and not wait_s)
        if wait_s and not self._will_resume:
            self._will_resume = True
            self._scheduler.call_later(wait_s, self._resume)
        self._limit_reads()
        if wanted != self.is_reading:
            self._turn(on=wanted)
        if (has_more or not wanted) and self._party is not None and self.memory.waits_for_party:
            self._party.wait(self)
        if wanted:
            self._paused.leave(self)
        elif is_willing and self.memory.must_pause:
            self._paused.add(self)
            if self.memory.partial:
                self._pressure.wait(self)

    def _turn(self, *, on: bool) -> None:
        self.is_reading = on
        if on and self.memory.partial and self._answering.unread_bytes() >= REST_BYTES:
            self._count_from_now()  # it has waited for the server
        (self._transport.resume_reading if on else self._transport.pause_reading)()

    def _resume(self) -> None:
        """Go on with a client whose identity has waited until it may send again."""
        self._will_resume = False
        self._count_from_now()
        self.regulate()

    def read_once(self, size: int) -> None:
        """Read up to `size` bytes once, whatever others hold."""
        self.memory.one_read = size
        self.regulate()

    def apply_pressure(self) -> None:
        """Read as much at a time as the memory of all clients allows now; of a client that sends much, perhaps nothing.

        Any other client that holds too much is paused after its next read, which is a small one.
        """
        self._limit_reads()
        if self.memory.sends_much and self.is_reading:
            self.regulate()

    def _limit_reads(self) -> None:
        read_bytes = self.memory.read_bytes
        if read_bytes != self._read_bytes:
            self._read_bytes = read_bytes
            self._transport.max_size = read_bytes  # type: ignore[attr-defined]  # asyncio's own transports have it

    def take_turn(self) -> None:
        """Complete the message: read from the client, whatever others hold."""
        self.memory.has_turn = True
        self.regulate()

    def _count_from_now(self) -> None:
        self._pace.start(self._scheduler.time(), self.memory.partial)

    def takes_rest(self) -> bool:
        """Whether what may be the rest of the client's message has arrived; it is then read next, once per message."""
        if self.is_reading or self._had_rest or not self.memory.partial:
            return False
        if 0 < self._answering.unread_bytes() < REST_BYTES:
            self._had_rest = True
            self.read_once(REST_BYTES)
        return self._had_rest

    def behind_s(self, now: float, least_per_s: int) -> float:
        """Return for how long the client has done nothing about the memory that it holds; 0 if it waits for us."""
        if self._watch.is_blocked:
            return self._watch.blocked_s(now, self._answering.untaken_bytes(), least_per_s=LEAST_BYTES_PER_S)
        if not self.memory.partial or self.session.has_more or self._will_resume:
            return 0.0
        unread = self._answering.unread_bytes()
        if unread >= REST_BYTES:  # it waits, or the server is late; every system's buffer has room for more
            return 0.0
        idle_s = 0.0 if unread else now - max(self._watch.heard, self._pace.began)
        return max(idle_s, self._pace.behind_s(now, self.memory.partial + unread, least_per_s))

    def drop_for_memory(self) -> None:
        """Drop the client because others need the memory that it holds."""
        self._above.drop_for_memory()
