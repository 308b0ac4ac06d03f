"""Waking a thread that waits in a poll, and requesting the end of a run, from any thread or signal handler."""

import contextlib
import select
import socket


class Wakeup:
    """A flag that a `poll` can wait for. Any thread, or a signal handler, may set it."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        """Return a descriptor that is readable while the flag is set."""
        return self._receiver.fileno()

    def set(self) -> None:
        """Wake the thread that waits, now or at its next wait."""
        with contextlib.suppress(OSError):  # full: already set; closed: nothing waits any more
            self._sender.send(b"\0")

    def clear(self) -> None:
        """Reset the flag; call this before checking what it announced."""
        with contextlib.suppress(OSError):
            self._receiver.recv(4096)

    def wait(self) -> None:
        """Wait until the flag is set, without a timeout, and reset it."""
        poll = select.poll()
        poll.register(self._receiver.fileno(), select.POLLIN)
        poll.poll()
        self.clear()

    def close(self) -> None:
        """Release the sockets."""
        self._receiver.close()
        self._sender.close()


class StopSignal:
    """The request to end a run. Its `wakeup` also wakes the engine for anything else that has happened."""

    def __init__(self) -> None:
        self.is_requested = False
        self.wakeup = Wakeup()

    def request(self) -> None:
        """Request the end of the run. Safe in a signal handler."""
        self.is_requested = True
        self.wakeup.set()

    def close(self) -> None:
        """Release the sockets after the run."""
        self.wakeup.close()
