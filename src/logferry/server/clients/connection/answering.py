"""Answering one client: hands its answers to the transport as far as the client takes them, and charges the rest.

Owns the queue of answers, and knows how many bytes the client has not taken. Must never write while the transport is
full: then the number of untaken bytes falls if, and only if, the client reads.
"""

import asyncio
import contextlib
import fcntl
import select
import sys
import termios

from logferry.server.clients.connection.lifecycle import Lifecycle
from logferry.server.clients.connection.patience import Watch
from logferry.server.clients.memory.flow_control import MemoryAccount
from logferry.server.clients.services import Scheduler
from logferry.server.clients.sessions.answers import AnswerQueue
from logferry.server.clients.sessions.base import Answers


class Answering:
    """The answers of one connection; `watch` notes when the client was last answered, and when it is blocked."""

    def __init__(
        self, transport: asyncio.Transport, life: Lifecycle, watch: Watch, memory: MemoryAccount, scheduler: Scheduler
    ) -> None:
        self._transport = transport
        self._life = life
        self._watch = watch
        self._memory = memory
        self._scheduler = scheduler
        self._queue = AnswerQueue()
        self._in_transport = 0  # while the client is blocked
        self._charged = 0
        self._is_gathering = False

    @property
    def is_pending(self) -> bool:
        """Whether answers wait that the transport has not got."""
        return bool(self._queue)

    def gather(self) -> None:
        """Send nothing until `release`: one read may hold thousands of requests that are answered immediately."""
        self._is_gathering = True

    def release(self) -> None:
        """Send what was added since `gather`, at once."""
        self._is_gathering = False
        if self._queue:
            self.send()

    def add(self, answers: Answers) -> None:
        """Add answers, and hand the transport what it takes."""
        self._queue.extend(answers)
        self.send()

    def send(self) -> None:
        """Hand the transport what it takes."""
        queue, watch, life = self._queue, self._watch, self._life
        while queue and not watch.is_blocked and life.can_answer and not self._is_gathering:
            watch.answered = self._scheduler.time()
            self._transport.write(queue.next_piece())
        self._charge()

    def discard(self) -> None:
        """Forget what is not handed over: the connection is gone."""
        self._queue.clear()
        self._in_transport = 0
        self._charge()

    def blocked(self) -> None:
        """Note that the transport is full: the client does not take its answers as fast as they come."""
        self._watch.blocked(self._scheduler.time(), self.untaken_bytes())
        self._in_transport = self._transport.get_write_buffer_size()
        self._charge()

    def unblocked(self) -> None:
        """Note that the transport has room again, and go on."""
        self._watch.unblocked()
        self._in_transport = 0
        self.send()

    def untaken_bytes(self) -> int:
        """Return how many bytes of answers wait in the transport and, where the system reports it, in the socket."""
        return self._transport.get_write_buffer_size() + _socket_bytes(self._transport, termios.TIOCOUTQ)

    def unread_bytes(self) -> int:
        """Return how many bytes the client has sent that the server has not read, where the system reports it."""
        return _socket_bytes(self._transport, termios.FIONREAD)

    def is_reset(self) -> bool:
        """Whether the client has gone, and its system takes nothing more: a write does not report that."""
        poll = select.poll()
        with contextlib.suppress(OSError):
            poll.register(self._transport.get_extra_info("socket").fileno(), 0)
            return any(mask & (select.POLLHUP | select.POLLERR) for _, mask in poll.poll(0))
        return False

    def _charge(self) -> None:
        size = self._queue.cost + self._in_transport
        if size != self._charged:
            self._memory.owe(size - self._charged)
            self._charged = size


def _socket_bytes(transport: asyncio.Transport, what: int) -> int:
    number = bytearray(4)
    with contextlib.suppress(OSError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), what, number)
    return int.from_bytes(number, sys.byteorder)
