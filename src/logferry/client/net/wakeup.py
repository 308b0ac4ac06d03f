"""Waking a thread that waits in a poll, and asking a run to stop. Both are safe in all threads and signal handlers."""

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
        """Readable while the flag is set."""
        return self._receiver.fileno()

    def set(self) -> None:
        """Wake whoever waits, now or at its next wait."""
        with contextlib.suppress(OSError):  # full: it is set already; closed: nobody waits
            self._sender.send(b"\0")

    def clear(self) -> None:
        """Reset the flag; call this before looking at what it announced."""
        with contextlib.suppress(OSError):
            self._receiver.recv(4096)

    def wait(self) -> None:
        """Wait until the flag is set, without a limit, and reset it."""
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
        """Ask for an end. Safe in a signal handler."""
        self.is_requested = True
        self.wakeup.set()

    def close(self) -> None:
        """Release the sockets, when the run is over."""
        self.wakeup.close()
