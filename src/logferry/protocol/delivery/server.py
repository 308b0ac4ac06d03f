"""The server's side of the delivery extension, without the socket: bytes in, requests out.

Owns the bytes of messages that are not complete yet, and which sources the client has opened. Must never read a clock
or a socket, nor hold more than a control line and one batch or repair (docs/protocol.md, rules E3, E7 and E16), nor do
more in one call than a step (steps.py).
"""

from collections.abc import Mapping
from typing import Any, Final

from logferry.protocol.delivery.bulk import Bulk, open_usual
from logferry.protocol.delivery.control_lines import read_control_line
from logferry.protocol.messages.repairs import EXTENT_BYTES
from logferry.protocol.messages.requests import End, Note, Open, Request, Skip, Violation, Window
from logferry.protocol.messages.writing import CONTROL_PREFIX, MAX_CONTROL_BYTES, MAX_SOURCES
from logferry.protocol.pieces import Pieces
from logferry.protocol.steps import PARSED_WEIGHT, USUAL_CONTROL_BYTES, Allowance

_NOT_OPEN: Final = "a source must be opened first"


class DeliveryServerProtocol:
    """Turns the complete messages of one client into requests; the rest waits in a bounded buffer."""

    def __init__(self, *, max_batch_bytes: int, max_inflated_bytes: int) -> None:
        self._max_batch_bytes = max_batch_bytes
        self._max_inflated_bytes = max_inflated_bytes
        self._line = b""  # the beginning of a control line
        self._header: Mapping[str, Any] | None = None  # of the batch whose body is arriving
        self._body = Pieces()  # so far
        self._bulk: Bulk | None = None  # what the last complete body holds, while it is opened
        self._data = b""  # unparsed from `_position` on, after a step that ended before all was parsed
        self._position = 0
        self._is_broken = False
        self.inflates_at_once = True  # otherwise a step ends where a message would begin to inflate
        self.step = Allowance()  # what is left of the last step
        self.sources: dict[str, bool] = {}  # those that the client has opened; True once the session has admitted them

    @property
    def buffered_bytes(self) -> int:
        """How many bytes are held of an incomplete message."""
        return len(self._line) + self._body.size

    @property
    def unjudged_bytes(self) -> int:
        """How many bytes are held that `next_requests` has not judged yet."""
        return len(self._data) + (self._bulk.held_bytes if self._bulk else 0)

    @property
    def has_more(self) -> bool:
        """Whether `next_requests` has more to return. Do not read from the socket while this is true."""
        return bool(self._bulk or self._data)

    @property
    def is_inflating(self) -> bool:
        """Whether the next step makes the server hold more, because it inflates."""
        return self._bulk is not None and self._bulk.is_inflating

    @property
    def rest_bytes(self) -> int:
        """How many bytes more a message may inflate to."""
        return self._bulk.rest_bytes if self._bulk else 0

    def discard(self) -> None:
        """Discard everything held, and ignore whatever follows."""
        self._line = self._data = b""
        self._body.clear()
        self._bulk = None
        self._is_broken = True

    def receive_data(self, data: bytes) -> list[Request]:
        """Accept bytes from the socket; return the requests they complete, in order.

        Return only those of one step: see `has_more`.
        """
        if self.has_more:
            self.hold_data(data)
        if self._is_broken or self.has_more:
            return []
        if self._line:
            data, self._line = self._line + data, b""
        return self._parse(data, 0)

    def is_continued_by(self, data: bytes) -> bool:
        """Whether `data` only lengthens an incomplete body, so that to receive it costs nothing."""
        header = self._header
        return header is not None and not self.has_more and self._body.size + len(data) < header["bytes"]

    def hold_data(self, data: bytes) -> None:
        """Accept bytes from the socket, and leave them to `next_requests`."""
        if not self._is_broken:
            self._data, self._position = self._data[self._position :] + data, 0

    def next_requests(self) -> list[Request]:
        """Do the next step; return its requests."""
        data, self._data = self._data, b""
        if self._line:  # then a read was held since
            data, self._line = self._line + data, b""
        return self._parse(data, self._position)

    def _parse(self, data: bytes, position: int) -> list[Request]:
        """Parse from `position` on, for one step: one read may hold thousands of small requests."""
        requests: list[Request] = []
        self.step = allowance = Allowance()
        while (self._bulk or position < len(data)) and not allowance.is_used_up:
            before = self._bulk
            if self._bulk:
                request: Request | None = self._open(self._bulk, allowance)
            elif self._header:
                request, position = self._take_body(data, position, allowance)
            else:
                request, position = self._take_line(data, position, allowance)
            if request:
                allowance.requests -= 1
                requests.append(request)
            if isinstance(request, Violation | End):
                self.discard()
                return requests
            if self._bulk is not before and self.is_inflating and not self.inflates_at_once:
                break
        if position < len(data):
            self._data, self._position = data, position
        return requests

    def _open(self, bulk: Bulk, allowance: Allowance) -> Request | None:
        request = bulk.open(allowance)
        if request:
            self._bulk = None
        return request

    def _take_line(self, data: bytes, start: int, allowance: Allowance) -> tuple[Request | None, int]:
        """Parse one control line; return its request, and where the line ends."""
        end = data.find(b"\n", start, start + MAX_CONTROL_BYTES) + 1
        if not end:
            if len(data) - start >= MAX_CONTROL_BYTES:
                return Violation("a control line is too long"), len(data)
            self._line = data[start:]
            return None, len(data)
        allowance.bytes -= PARSED_WEIGHT * max(0, end - start - USUAL_CONTROL_BYTES)
        request = read_control_line(data[start:end])
        if problem := self._problem_of(request):
            return Violation(problem), end
        if isinstance(request, dict):
            self._header = request
            return self._take_body(data, end, allowance)
        if isinstance(request, Open):
            self.sources.setdefault(request.source, False)
        return request, end

    def _problem_of(self, request: Request | Mapping[str, Any]) -> str | None:
        """Return why a request must not be taken, before the bytes that follow it are."""
        if isinstance(request, Mapping):
            kind = request["logferry"]
            if kind == "batch" and request["source"] not in self.sources:
                return _NOT_OPEN
            if request["bytes"] > (limit := self._most_bytes(request)):
                return f"a {kind} of more than {limit} bytes"
        elif isinstance(request, Skip | Note | Window) and request.source not in self.sources:
            return _NOT_OPEN
        elif isinstance(request, Open) and len(self.sources) == MAX_SOURCES and request.source not in self.sources:
            return f"more than {MAX_SOURCES} sources on one connection"
        return None

    def _most_bytes(self, header: Mapping[str, Any]) -> int:
        """Return how many bytes may follow a header: an extent has at most EXTENT_BYTES and one batch."""
        return self._max_batch_bytes + (EXTENT_BYTES if header["logferry"] == "repair" else 0)

    def _take_body(self, data: bytes, start: int, allowance: Allowance) -> tuple[Request | None, int]:
        """Collect bytes of a batch; return the batch if it is complete and a usual one, and where its bytes end.

        Any other begins to be opened.
        """
        assert self._header
        end: int = start + self._header["bytes"] - self._body.size
        self._body.add(data, start, min(end, len(data)))
        if len(data) < end:
            return None, len(data)
        header, body = self._header, self._body.take()
        self._header = None
        request = open_usual(header, body, allowance)
        if request is None:
            self._bulk = Bulk(header, body, max_bytes=min(self._max_inflated_bytes, self._most_bytes(header)))
        return request, end


def is_hello_prefix(data: bytes | bytearray) -> bool | None:
    """Return whether a connection begins with a control line; None while there are too few bytes to know."""
    head = bytes(data[: len(CONTROL_PREFIX)])
    if head == CONTROL_PREFIX:
        return True
    return None if CONTROL_PREFIX.startswith(head) else False
