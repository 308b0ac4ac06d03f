"""Load for a server alone: `python3 load.py PORT SERVER_PID CONNECTIONS FILE`.

FILE is NDJSON as our client renders it. Before the measurement, the program divides FILE into one share per connection,
each a source of its own host, and cuts each share into complete batches with header and checksum. It prints "sent
everything in S s for C s of CPU of the server", from the first batch until the ack of the last one. The program itself
uses little CPU: the kernel takes whole batches from the mapped file, and only the last number of each answer is parsed.
"""

import mmap
import os
import re
import resource
import select
import socket
import sys
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "src")]

from logferry.protocol.messages.writing import VERSION, batch_header, control_line  # noqa: E402   the path comes first

# The batches in flight on all connections must fit into the server's memory limit (--memory-limit-bytes): otherwise the
# server drops some connections, and their clients would have to reconnect.
_MOST_BATCH_BYTES: Final = 512 * 1024
_ALL_BATCHES_BYTES: Final = 24 * 1024 * 1024
_READ_BYTES: Final = 64 * 1024
_PIECES_A_SEND: Final = 64

# Connecting faster than the server accepts would make some connections wait in the kernel for a second.
_CONNECT_TOGETHER: Final = 256
_SILENCE_LIMIT_S: Final = 60.0

_committed = re.compile(rb'"committed": (\d+)')


class Feeder:
    """One connection with an open source, and all of its batches."""

    def __init__(self, sock: socket.socket, source: str, share: memoryview, batch_bytes: int) -> None:
        self.sock = sock
        self.source = source
        self._rest = b""
        self._pieces = deque(batches_of(self.source, share, batch_bytes))
        self._end = len(share)

    @property
    def has_output(self) -> bool:
        """Whether there is something to send."""
        return bool(self._pieces)

    def send(self) -> None:
        """Send as much as the socket accepts now."""
        sent = self.sock.sendmsg(islice(self._pieces, _PIECES_A_SEND))
        while sent:
            piece = self._pieces.popleft()
            if sent < len(piece):
                self._pieces.appendleft(piece[sent:])
                return
            sent -= len(piece)

    def receive(self) -> bool:
        """Read answers; return whether everything is acked. Raises ConnectionError if it never will be."""
        data = self.sock.recv(_READ_BYTES)
        if not data:
            raise ConnectionError(f"the server closed the connection of {self.source}")
        *answers, self._rest = (self._rest + data).split(b"\n")
        for answer in answers:
            if b'"status": "error"' in answer:
                raise ConnectionError(f"{self.source}: {answer!r}")
        found = _committed.findall(answers[-1]) if answers else []
        return bool(found) and int(found[-1]) == self._end


def batches_of(source: str, share: memoryview, batch_bytes: int) -> Iterator[memoryview]:
    """Yield header and body of each batch of a share; offsets in the NDJSON serve as offsets of the source."""
    for start, end in pairwise(_cuts(share, batch_bytes)):
        body = share[start:end]
        lines = bytes(body).count(b"\n")
        crc32 = zlib.crc32(body)
        yield memoryview(
            batch_header(source=source, start=start, end=end, lines=lines, crc32=crc32, size=end - start, is_gzip=False)
        )
        yield body


def _cuts(data: memoryview, size: int) -> Iterator[int]:
    """Yield the offsets that cut `data` into pieces of whole lines of about `size` bytes, including both ends."""
    place = 0
    while place < len(data):
        yield place
        place = _next_line(data, place + size)
    yield len(data)


def _next_line(data: memoryview, place: int) -> int:
    """Return the beginning of the first line at or after `place`."""
    while place < len(data):
        newline = bytes(data[place - 1 : place + _READ_BYTES]).find(b"\n")
        if newline >= 0:
            return place + newline
        place += _READ_BYTES
    return len(data)


def shares_of(data: memoryview, count: int) -> Sequence[memoryview]:
    """Divide whole lines into `count` shares of nearly equal size."""
    cuts = [0, *(_next_line(data, len(data) * number // count) for number in range(1, count)), len(data)]
    return [data[start:end] for start, end in pairwise(cuts)]


def connected(port: int, sources: Sequence[str]) -> list[socket.socket]:
    """Open a connection for each source, of a host of its own, a group at a time; the sockets do not block."""
    sockets: list[socket.socket] = []
    for first in range(0, len(sources), _CONNECT_TOGETHER):
        group = sources[first : first + _CONNECT_TOGETHER]
        some = [socket.create_connection(("127.0.0.1", port)) for _ in group]
        for number, sock in enumerate(some, first):
            sock.settimeout(_SILENCE_LIMIT_S)
            host = f"host-{number:05}"
            sock.sendall(control_line("hello", version=VERSION, client=host, host=host, encodings=["gzip"]))
        for sock, source in zip(some, group, strict=True):
            wait_for(sock, b'"hello"')
            sock.sendall(control_line("open", source=source, path="/var/log/app.log"))
        for sock in some:
            wait_for(sock, b'"open"')
            sock.setblocking(False)
        sockets += some
    return sockets


def need_descriptors() -> None:
    """Let this process open as many descriptors as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def wait_for(sock: socket.socket, word: bytes) -> None:
    """Read one answer. Raises ConnectionError if it lacks `word`, or if the server closes the connection."""
    answer = b""
    while not answer.endswith(b"\n"):
        data = sock.recv(_READ_BYTES)
        if not data:
            raise ConnectionError(f"the server closed the connection after {answer!r}")
        answer += data
    if word not in answer:
        raise ConnectionError(f"the server answered {answer!r}")


def _feed(feeders: Sequence[Feeder]) -> None:
    """Send everything and wait until all of it is acked."""
    both, reading = select.EPOLLIN | select.EPOLLOUT, select.EPOLLIN
    waiting = {feeder.sock.fileno(): feeder for feeder in feeders}
    with select.epoll() as poll:
        for descriptor in waiting:
            poll.register(descriptor, both)
        while waiting:
            ready = poll.poll(_SILENCE_LIMIT_S)
            if not ready:
                raise ConnectionError(f"the server is silent; {len(waiting)} connections wait for it")
            for descriptor, event in ready:
                feeder = waiting[descriptor]
                if event & select.EPOLLOUT:
                    feeder.send()
                    if not feeder.has_output:
                        poll.modify(descriptor, reading)
                if event & ~select.EPOLLOUT and feeder.receive():
                    poll.unregister(descriptor)
                    del waiting[descriptor]


def main() -> None:
    """Run the program; see the docstring of the module."""
    port, pid, connections = map(int, sys.argv[1:4])
    need_descriptors()
    descriptor = os.open(sys.argv[4], os.O_RDONLY)
    data = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    shares = shares_of(data, connections)
    batch_bytes = min(_MOST_BATCH_BYTES, _ALL_BATCHES_BYTES // len(shares))
    sources = [f"load-{number}" for number in range(len(shares))]
    places = zip(connected(port, sources), sources, shares, strict=True)
    feeders = [Feeder(sock, source, share, batch_bytes) for sock, source, share in places]
    server_clock = (~pid << 3) | 2  # clock_getcpuclockid(3)
    before, began = time.clock_gettime(server_clock), time.monotonic()
    _feed(feeders)
    seconds, cpu_s = time.monotonic() - began, time.clock_gettime(server_clock) - before
    print(f"sent everything in {seconds:.6f} s for {cpu_s:.6f} s of CPU of the server", flush=True)


if __name__ == "__main__":
    main()
