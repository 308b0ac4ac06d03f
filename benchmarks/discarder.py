"""A receiver that speaks the delivery extension, acks each batch and throws it away: `python3 discarder.py`.

Serves one client, and says "listening on port N" when it is ready and "took L lines of B bytes" when the client has
left. It reads control lines only; the kernel drops what follows them (MSG_TRUNC), so it costs next to nothing. It sees
that nothing is left out: a batch must begin where the one before it has ended.
"""

import json
import socket
from collections.abc import Iterator
from typing import Any, Final

_WELCOME: Final = {"version": 1, "encodings": ["gzip"], "max_batch_bytes": 8 * 1024 * 1024, "durability": "none"}
_LOOK_BYTES: Final = 4096  # at most so much of a batch is copied with its header
_SKIP_BYTES: Final = 1024 * 1024


class Discarder:
    """One connection, and how far each source is taken."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._nowhere = bytearray(_SKIP_BYTES)
        self._taken: dict[str, tuple[int, int]] = {}  # by source: up to which byte, how many lines

    @property
    def lines(self) -> int:
        """How many lines were taken."""
        return sum(lines for _, lines in self._taken.values())

    @property
    def source_bytes(self) -> int:
        """How many bytes of log files they, and the blank lines between them, were made of."""
        return sum(end for end, _ in self._taken.values())

    def serve(self) -> None:
        """Answer until the client has left."""
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
        raise ValueError(f"a client without anything unusual does not send {request}")

    def _take(self, source: str, start: int, end: int, lines: int) -> None:
        before, count = self._taken[source]
        if start != before:
            raise ValueError(f"a batch begins at {start}, but the one before it has ended at {before}")
        self._taken[source] = (end, count + lines)

    def _position(self, source: str) -> dict[str, Any]:
        end, lines = self._taken[source]
        return {"source": source, "committed": end, "lines": lines, "crc32": 0}  # the client goes by its own

    def _skip(self, size: int) -> None:
        """Drop the bytes of a batch, those that have been read with its header and those that have not."""
        have = min(size, len(self._buffer))
        del self._buffer[:have]
        size -= have
        while size:
            skipped = self._sock.recv_into(self._nowhere, min(size, _SKIP_BYTES), socket.MSG_TRUNC)
            if not skipped:
                raise ValueError("the client has left in the middle of a batch")
            size -= skipped


def main() -> None:
    """See the module."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"listening on port {listener.getsockname()[1]}", flush=True)
        sock, _ = listener.accept()
    with sock:
        discarder = Discarder(sock)
        discarder.serve()
    print(f"took {discarder.lines} lines of {discarder.source_bytes} bytes", flush=True)


if __name__ == "__main__":
    main()
