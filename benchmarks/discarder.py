"""A receiver that speaks the delivery extension, acks each batch and discards it: `python3 discarder.py`.

It serves one client, prints "listening on port N" when it is ready, and "took L lines of B bytes" when the client has
disconnected. It reads only control lines; the kernel drops the rest (MSG_TRUNC), so it costs next to nothing. It checks
that nothing is missing: each batch must begin where the previous one ended.
"""

import json
import socket
from collections.abc import Iterator
from typing import Any, Final

_WELCOME: Final = {"version": 1, "encodings": ["gzip"], "max_batch_bytes": 8 * 1024 * 1024, "durability": "none"}
_LOOK_BYTES: Final = 4096  # copy at most this much of a batch with its header
_SKIP_BYTES: Final = 1024 * 1024


class Discarder:
    """One connection, and the position of each of its sources."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._nowhere = bytearray(_SKIP_BYTES)
        self._taken: dict[str, tuple[int, int]] = {}  # for each source: end offset, number of lines

    @property
    def lines(self) -> int:
        """The number of lines received."""
        return sum(lines for _, lines in self._taken.values())

    @property
    def source_bytes(self) -> int:
        """The number of bytes of log files behind these lines, including blank lines."""
        return sum(end for end, _ in self._taken.values())

    def serve(self) -> None:
        """Answer until the client disconnects."""
        for request in self._requests():
            answer = self._answer(request)
            if answer:
                self._sock.sendall(json.dumps({"status": "ok", **answer}).encode() + b"\n")

    def _requests(self) -> Iterator[dict[str, Any]]:
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                yield json.loads(line)
                continue
            data = self._sock.recv(_LOOK_BYTES)
            if not data:
                return
            self._buffer += data

    def _answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        match request["logferry"]:
            case "hello":
                return {"message": "hello", **_WELCOME}
            case "ping":
                return {"message": "alive"}
            case "open":
                self._taken[request["source"]] = (0, 0)
                return {"message": "open", **self._position(request["source"])}
            case "batch":
                self._skip(request["bytes"])
                self._take(request["source"], request["start"], request["end"], request["lines"])
                return {"message": "received", "durability": "none", **self._position(request["source"])}
        raise ValueError(f"an ordinary client does not send {request}")

    def _take(self, source: str, start: int, end: int, lines: int) -> None:
        before, count = self._taken[source]
        if start != before:
            raise ValueError(f"a batch begins at {start}, but the previous one ended at {before}")
        self._taken[source] = (end, count + lines)

    def _position(self, source: str) -> dict[str, Any]:
        end, lines = self._taken[source]
        return {"source": source, "committed": end, "lines": lines, "crc32": 0}  # the client relies on its own

    def _skip(self, size: int) -> None:
        """Drop the bytes of a batch, both those read with its header and those not yet read."""
        have = min(size, len(self._buffer))
        del self._buffer[:have]
        size -= have
        while size:
            skipped = self._sock.recv_into(self._nowhere, min(size, _SKIP_BYTES), socket.MSG_TRUNC)
            if not skipped:
                raise ValueError("the client disconnected in the middle of a batch")
            size -= skipped


def main() -> None:
    """Run the receiver; see the docstring of the module."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"listening on port {listener.getsockname()[1]}", flush=True)
        sock, _ = listener.accept()
    with sock:
        discarder = Discarder(sock)
        discarder.serve()
    print(f"took {discarder.lines} lines of {discarder.source_bytes} bytes", flush=True)


if __name__ == "__main__":
    main()
