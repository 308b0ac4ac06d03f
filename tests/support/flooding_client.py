"""A client that ships over several connections as fast as the server takes it: `flooding_client.py PORT NAME NUMBER`.

Its token is `token of NAME`, and its host is NAME. It runs until somebody kills it.
"""

import selectors
import socket
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "src")]

from logferry.protocol.delivery import batch_header, control_line

_PAYLOAD = b'{"level": "INFO", "message": "a line that is shipped", "timestamp": "2024-01-15 08:23:45"}\n' * 6000
_LINES = _PAYLOAD.count(b"\n")
_CRC32 = zlib.crc32(_PAYLOAD)


def messages(name: str, number: int) -> Iterator[bytes]:
    """Yield what one connection sends."""
    source = f"{name}-{number}"
    yield control_line("hello", version=1, client=source, host=name, encodings=["gzip"])
    yield control_line("auth", token=f"token of {name}")
    yield control_line("open", source=source, path=f"/{number}.log", known=0)
    start, size = 0, len(_PAYLOAD)
    while True:
        yield batch_header(
            source=source, start=start, end=start + size, lines=_LINES, crc32=_CRC32, size=size, is_gzip=False
        )
        yield _PAYLOAD
        start += size


def main() -> None:
    """Ship until the server ends a connection."""
    port, name, connections = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    selector = selectors.DefaultSelector()
    unsent: dict[socket.socket, tuple[Iterator[bytes], memoryview]] = {}
    for number in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setblocking(False)
        unsent[connection] = messages(name, number), memoryview(b"")
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)
    while True:
        for key, events in selector.select():
            peer: socket.socket = key.data
            if events & selectors.EVENT_READ and not peer.recv(65536):
                return
            if events & selectors.EVENT_WRITE:
                following, rest = unsent[peer]
                rest = rest or memoryview(next(following))
                unsent[peer] = following, rest[peer.send(rest) :]


if __name__ == "__main__":
    main()
