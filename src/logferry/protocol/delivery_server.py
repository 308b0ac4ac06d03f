"""The server's side of the delivery extension, without the socket: bytes in, requests out.

Owns the bytes of messages that are not complete yet. Must never read a clock or a socket, nor hold more than a control
line and one batch or repair (docs/protocol.md, rules E3, E7 and E16).
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from logferry import checksum
from logferry.errors import FrameError
from logferry.protocol.compressor import inflate
from logferry.protocol.control_lines import read_control_line
from logferry.protocol.delivery import CONTROL_PREFIX, MAX_CONTROL_BYTES
from logferry.protocol.delivery_repairs import EXTENT_BYTES
from logferry.protocol.delivery_requests import BatchRequest, Repair, Request, Violation
from logferry.protocol.validation import Accept, Lines, Rejected, Verdict, validate

# Pieces of a batch smaller than this are joined immediately; asyncio reads up to 256 KiB at a time.
_CRUMB_BYTES: Final = 16 * 1024


class DeliveryServerProtocol:
    """Turns the complete messages of one client into requests; the rest waits in a bounded buffer."""

    def __init__(self, *, max_batch_bytes: int, max_inflated_bytes: int) -> None:
        self._max_batch_bytes = max_batch_bytes
        self._max_inflated_bytes = max_inflated_bytes
        self._line = b""  # the beginning of a control line
        self._header: Mapping[str, Any] | None = None  # of the batch whose body is arriving
        self._body: list[bytes | bytearray | memoryview] = []  # the body so far
        self._body_bytes = 0
        self._is_broken = False

    @property
    def buffered_bytes(self) -> int:
        """How many bytes are held of an incomplete message."""
        return len(self._line) + self._body_bytes

    def discard(self) -> None:
        """Discard everything held, and ignore whatever follows."""
        self._line = b""
        self._body, self._body_bytes = [], 0
        self._is_broken = True

    def receive_data(self, data: bytes) -> list[Request]:
        """Accept bytes from the socket; return the requests they complete, in order."""
        requests: list[Request] = []
        if self._line:
            data, self._line = self._line + data, b""
        position = 0  # where the unparsed rest begins: one read may hold thousands of small requests
        while position < len(data) and not self._is_broken:
            request, position = (self._take_body if self._header else self._take_line)(data, position)
            if request:
                requests.append(request)
            if isinstance(request, Violation):
                self.discard()
        return requests

    def _take_line(self, data: bytes, start: int) -> tuple[Request | None, int]:
        """Parse one control line; return its request, and where the line ends."""
        end = data.find(b"\n", start, start + MAX_CONTROL_BYTES) + 1
        if not end:
            if len(data) - start >= MAX_CONTROL_BYTES:
                return Violation("a control line is too long"), len(data)
            self._line = data[start:]
            return None, len(data)
        request = read_control_line(data[start:end])
        if not isinstance(request, dict):
            return request, end
        if request["bytes"] > (limit := self._most_bytes(request)):
            return Violation(f"a {request['logferry']} of more than {limit} bytes"), len(data)
        self._header = request
        return self._take_body(data, end)

    def _most_bytes(self, header: Mapping[str, Any]) -> int:
        """Return how many bytes may follow a header: an extent has at most EXTENT_BYTES and one batch."""
        return self._max_batch_bytes + (EXTENT_BYTES if header["logferry"] == "repair" else 0)

    def _take_body(self, data: bytes, start: int) -> tuple[Request | None, int]:
        """Collect bytes of a batch; return the batch once it is complete, and where it ends."""
        assert self._header
        end = start + self._header["bytes"] - self._body_bytes
        self._hold(data, start, min(end, len(data)))
        if len(data) < end:
            return None, len(data)
        # Join once: copying into one growing buffer costs a third as much as judging the lines.
        header, body = self._header, b"".join(self._body)
        self._header, self._body, self._body_bytes = None, [], 0
        return self._open_batch(header, body), end

    def _hold(self, data: bytes, start: int, end: int) -> None:
        """Hold bytes of a batch; join small pieces, because each would cost many times its size.

        A piece that is most of a read is held as it is, and copied only when the batch is complete.
        """
        size = end - start
        self._body_bytes += size
        if size >= _CRUMB_BYTES:
            self._body.append(memoryview(data)[start:end] if 2 * size >= len(data) else data[start:end])
        elif self._body and isinstance(self._body[-1], bytearray):
            self._body[-1] += data[start:end]
        else:
            self._body.append(bytearray(data[start:end]))

    def _open_batch(self, header: Mapping[str, Any], body: bytes) -> Request:
        payload = body
        if header["encoding"] == "gzip":
            try:
                most = min(self._max_inflated_bytes, self._most_bytes(header))
                payload = inflate(body, max_inflated_bytes=most)
            except FrameError as error:
                return Violation(str(error))
        kind = header["logferry"]
        if checksum.crc32(payload) != header["crc32"]:
            return Violation(f"a {kind} does not match its checksum")
        if payload and not payload.endswith(b"\n"):
            return Violation(f"a {kind} does not end with a newline")
        if kind == "repair":  # the store compares it with what it has recorded; no line needs to be judged
            if header["lines"] != payload.count(b"\n"):
                return Violation("a repair does not have as many lines as it says")
            return Repair(**_values_of(header, Repair), payload=payload)
        verdicts = validate(payload, accept=Accept.LEVEL_AND_MESSAGE) if payload else []
        if header["lines"] != sum(verdict.count if isinstance(verdict, Lines) else 1 for verdict in verdicts):
            return Violation("a batch does not have as many lines as it says")
        return BatchRequest(**_values_of(header, BatchRequest), payload=payload, refusal=_refusal(payload, verdicts))


def _values_of(header: Mapping[str, Any], kind: type[BatchRequest | Repair]) -> dict[str, Any]:
    return {field.name: header[field.name] for field in fields(kind) if field.name in header}


def _refusal(payload: bytes, verdicts: Sequence[Verdict]) -> str | None:
    """Return why a batch cannot be stored as it is, or None."""
    if len(verdicts) == 1 and isinstance(verdicts[0], Lines) and len(verdicts[0].payload) == len(payload):
        return None
    rejected = next((verdict for verdict in verdicts if isinstance(verdict, Rejected)), None)
    if rejected:
        return rejected.reason
    stored = b"".join(verdict.payload for verdict in verdicts if isinstance(verdict, Lines))
    return None if stored == payload else "white space around a line"


def is_hello_prefix(data: bytes | bytearray) -> bool | None:
    """Return whether a connection begins with a control line; None while there are too few bytes to know."""
    head = bytes(data[: len(CONTROL_PREFIX)])
    if head == CONTROL_PREFIX:
        return True
    return None if CONTROL_PREFIX.startswith(head) else False
