"""A steady load for a server: `python3 steady.py PORT SERVER_PID CONNECTIONS SECONDS`.

Each connection, of a host of its own, sends a line a second; the connections take turns within the second. After a
warm-up, the program measures for SECONDS how long each line takes to its ack, and how much CPU the server uses. It
prints both as JSON, with the number of all lines that it has sent.
"""

import json
import select
import socket
import sys
import time
import zlib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.load import connected, need_descriptors  # noqa: E402   the path comes first
from logferry.protocol.messages.writing import batch_header  # noqa: E402

LINE: Final = (
    b'{"level": "INFO", "message": "request handled for customer 4711 in 12 ms", "timestamp": "2024-01-15 08:23:45"}\n'
)
_CRC32: Final = zlib.crc32(LINE)
_WARM_UP_S: Final = 3.0
_LOOK_EVERY_S: Final = 0.002
_LIMIT_S: Final = 30.0
_READ_BYTES: Final = 64 * 1024


class SteadyConnection:
    """One connection; `waiting` are the times at which its lines without an ack were sent."""

    def __init__(self, sock: socket.socket, source: str) -> None:
        self.waiting = list[float]()
        self.sock = sock
        self._source = source
        self._sent = self._acked = 0
        self._rest = b""

    def send(self, now: float) -> None:
        """Send a batch of one line. Raises OSError if the server takes so little that the socket is full."""
        end = self._sent + len(LINE)
        self.sock.send(
            batch_header(
                source=self._source,
                start=self._sent,
                end=end,
                lines=1,
                crc32=_CRC32,
                size=len(LINE),
                is_gzip=False,
            )
            + LINE
        )
        self._sent = end
        self.waiting.append(now)

    def receive(self) -> int:
        """Read answers; return how many more lines are acked. Raises ConnectionError if the server gives up."""
        data = self.sock.recv(_READ_BYTES)
        *answers, self._rest = (self._rest + data).split(b"\n")
        if not data or any(b'"status": "error"' in answer for answer in answers):
            raise ConnectionError(f"the server leaves {self._source}: {answers}")
        if not answers:
            return 0
        before, self._acked = self._acked, json.loads(answers[-1]).get("committed", self._acked)
        return (self._acked - before) // len(LINE)


def _run(connections: list[SteadyConnection], pid: int, seconds: float) -> dict[str, float]:
    clock = (~pid << 3) | 2  # clock_getcpuclockid(3)
    by_descriptor = {connection.sock.fileno(): connection for connection in connections}
    latencies, sent, count = list[float](), 0, len(connections)
    began = time.monotonic()
    measured_from, stop = began + _WARM_UP_S, began + _WARM_UP_S + seconds
    cpu_s = 0.0
    with select.epoll() as poll:
        for descriptor in by_descriptor:
            poll.register(descriptor, select.EPOLLIN)
        while (now := time.monotonic()) < stop or any(connection.waiting for connection in connections):
            if now > stop + _LIMIT_S:
                raise ConnectionError("the server has not acked everything")
            if not cpu_s and now >= measured_from:
                cpu_s = time.clock_gettime(clock)
            for _ in range(int((min(now, stop) - began) * count) - sent):
                connections[sent % count].send(time.monotonic())
                sent += 1
            for descriptor, _ in poll.poll(_LOOK_EVERY_S):
                connection = by_descriptor[descriptor]
                acked = connection.receive()
                done = time.monotonic()
                latencies += [done - at for at in connection.waiting[:acked] if at >= measured_from]
                del connection.waiting[:acked]
    taken_s = time.monotonic() - measured_from
    latencies.sort()
    return {
        "lines": sent,
        "lines_per_s": len(latencies) / taken_s,
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[len(latencies) * 99 // 100],
        "max_ms": 1000 * latencies[-1],
        "server_percent": 100 * (time.clock_gettime(clock) - cpu_s) / taken_s,
    }


def main() -> None:
    """Run the program; see the docstring of the module."""
    port, pid, count = map(int, sys.argv[1:4])
    need_descriptors()
    sources = [f"steady-{number}" for number in range(count)]
    connections = [
        SteadyConnection(sock, source) for sock, source in zip(connected(port, sources), sources, strict=True)
    ]
    print(json.dumps(_run(connections, pid, float(sys.argv[4]))), flush=True)


if __name__ == "__main__":
    main()
