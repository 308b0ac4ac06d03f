"""A receiver for Beats that acks events and discards them: `python3 lumberjack.py COUNT`.

It speaks version 2 of the lumberjack protocol, in which a frame has a version, a type, and a content. A window frame
(W) announces the number of events until the next ack, a compressed frame (C) holds other frames, a JSON frame (J) is an
event with a sequence number; an ack (A) names the last event. Numbers have four bytes, the most significant first. The
program prints "listening on port N" when it is ready, and "done at T" when COUNT events have arrived.
"""

import socket
import struct
import sys
import time
import zlib
from dataclasses import dataclass
from typing import Final

_VERSION: Final = b"2"
_MAX_FRAMES_BYTES: Final = 256 * 1024 * 1024  # the limit for an inflated frame: far more than Beats send
_READ_BYTES: Final = 256 * 1024


@dataclass(slots=True)
class Window:
    """Bytes in, acks out: counts the events of one connection."""

    events: int = 0
    _rest: bytes = b""
    _size: int = 1
    _in_window: int = 0

    def receive_data(self, data: bytes) -> bytes:
        """Take received bytes; return the acks to send. Raises ValueError for bytes that are not frames."""
        data = self._rest + data
        position, acks = 0, []
        while (end := self._frame_end(data, position)) is not None:
            acks.append(self._take(data, position, end))
            position = end
        self._rest = data[position:]
        return b"".join(acks)

    def _frame_end(self, data: bytes, start: int) -> int | None:
        """Return the end of the frame at `start`, or None if the frame is incomplete."""
        kind = data[start : start + 2]
        if kind and kind not in (_VERSION, b"2W", b"2C", b"2J"):
            raise ValueError(f"not a frame of the lumberjack protocol: {kind!r}")
        head = {b"2W": 6, b"2C": 6, b"2J": 10}.get(kind)
        if head is None or len(data) < start + head:
            return None
        end = start + head + (_number(data, start + head - 4) if kind != b"2W" else 0)
        return end if end <= len(data) else None

    def _take(self, data: bytes, start: int, end: int) -> bytes:
        match data[start : start + 2]:
            case b"2W":
                self._size, self._in_window = _number(data, start + 2), 0
            case b"2C":
                inner = zlib.decompressobj().decompress(data[start + 6 : end], _MAX_FRAMES_BYTES)
                before, self._rest = self._rest, b""
                acks = self.receive_data(inner)
                self._rest = before
                return acks
            case _:
                self.events += 1
                self._in_window += 1
                if self._in_window == self._size:
                    return b"2A" + data[start + 2 : start + 6]
        return b""


def _number(data: bytes, start: int) -> int:
    return int(struct.unpack_from(">I", data, start)[0])


def main() -> None:
    """Run the receiver; see the docstring of the module."""
    count = int(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"listening on port {listener.getsockname()[1]}", flush=True)
        sock, _ = listener.accept()
    with sock:
        window = Window()
        while window.events < count:
            data = sock.recv(_READ_BYTES)
            if not data:
                sys.exit(f"the sender disconnected after {window.events} of {count} events")
            sock.sendall(window.receive_data(data))
    print(f"done at {time.monotonic():.6f}", flush=True)


if __name__ == "__main__":
    main()
