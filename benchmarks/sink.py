"""A receiver that discards everything, on any number of connections: `python3 sink.py lines|bytes COUNT`.

It prints "listening on port N" when it is ready, and "done at T" (the system's monotonic clock) when COUNT lines or
bytes have arrived. Bytes are not even copied: the kernel drops them (MSG_TRUNC).
"""

import selectors
import socket
import sys
import time
from typing import Final

_BUFFER_BYTES: Final = 1024 * 1024


def discard(listener: socket.socket, *, unit: str, count: int) -> None:
    """Receive until `count` lines or bytes have arrived."""
    buffer = bytearray(_BUFFER_BYTES)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while count > 0:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            received = sock.recv_into(buffer, 0, socket.MSG_TRUNC if unit == "bytes" else 0)
            count -= received if unit == "bytes" else buffer.count(b"\n", 0, received)
            if not received:
                selector.unregister(sock)
                sock.close()


def main() -> None:
    """Run the receiver; see the docstring of the module."""
    unit, count = sys.argv[1], int(sys.argv[2])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"listening on port {listener.getsockname()[1]}", flush=True)
        discard(listener, unit=unit, count=count)
        print(f"done at {time.monotonic():.6f}", flush=True)


if __name__ == "__main__":
    main()
