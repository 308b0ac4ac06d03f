"""The socket of an accepted client, which goes on being read after the client has stopped taking answers.

asyncio closes a transport when a write fails, and drops what has arrived and is not judged. A sender that writes,
closes and never reads its acks (`logger`, rsyslog, a shell script) makes writes fail while its last lines are still to
be judged. Here, what is written to a client that has gone is lost without an error; the end of the connection comes
from reading. This module must never hide an error of reading, or lose an answer before others that arrive.
"""

import socket
from collections.abc import Iterable
from typing import Any, Self


class ClientSocket(socket.socket):
    """A connected socket that does not block, for asyncio's transport of a stream."""

    _broke: OSError | None = None  # why the client gets nothing more

    @classmethod
    def taking_over(cls, accepted: socket.socket) -> Self:
        """Return a socket with the descriptor of `accepted`, which has none any more."""
        family, kind, protocol = accepted.family, accepted.type, accepted.proto
        taken = cls(family, kind, protocol, fileno=accepted.detach())
        taken.setblocking(False)
        return taken

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send as much as the system takes, or lose all of it."""
        if self._broke is None:
            try:
                return super().send(data, flags)
            except (BrokenPipeError, ConnectionResetError) as error:
                self._broke = _without_frames(error)
        return len(data)

    def sendmsg(self, buffers: Iterable[Any], *rest: Any) -> int:
        """Send as much as the system takes, or lose all of it."""
        pieces = list(buffers)
        if self._broke is None:
            try:
                return super().sendmsg(pieces, *rest)
            except (BrokenPipeError, ConnectionResetError) as error:
                self._broke = _without_frames(error)
        return sum(map(len, pieces))

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive as `socket.socket` does, and raise what the system has reported to a write instead.

        EPIPE is not such an error: the client has declared the end of its data, and that end arrives here.
        """
        data = super().recv(size, flags)
        if not data and isinstance(self._broke, ConnectionResetError):
            raise self._broke
        return data

    def shutdown(self, how: int, /) -> None:
        """Shut down, unless the client has gone: the system would report that as an error."""
        if self._broke is None:
            super().shutdown(how)


def _without_frames(error: OSError) -> OSError:
    """Return the same error without what was being done: its frames would keep the memory of all that they use."""
    return type(error)(*error.args)
