"""A connection to a store without a server: submits requests about one source, and waits for their outcomes."""

import zlib

from logferry.protocol.messages.answers import BatchRefused, Position, WindowRecorded
from logferry.protocol.messages.requests import BatchRequest, Note, Open, Skip, Window
from logferry.server.storage.deliveries import Delivery, ReleaseSources, SourceRequest
from logferry.server.storage.log_names import NO_LOG
from logferry.server.storage.owners import Owner, of_client
from logferry.server.storage.store import Store
from tests.support.running import wait_until
from tests.support.stores import Stored

Outcome = Position | BatchRefused | WindowRecorded
Message = Open | BatchRequest | Skip | Note | Window | ReleaseSources


class StoreClient:
    """Submits the requests of one connection."""

    def __init__(self, store: Store, number: int = 1, *, source: str = "s1", owner: str | Owner = "client-1") -> None:
        self.stored = Stored()
        self._store = store
        self._number = number
        self._source = source
        self._owner = owner if isinstance(owner, Owner) else of_client(owner)

    def ask(self, message: Message) -> Outcome | None:
        """Submit a request; return its outcome."""
        return self.outcome(self.submit(message))

    def outcome(self, submitted: Delivery) -> Outcome | None:
        """Wait for the outcome of a request."""
        wait_until(lambda: submitted in self.stored.deliveries, "the request has an outcome")
        assert submitted.source_request
        return submitted.source_request.outcome

    def submit(self, message: Message) -> Delivery:
        """Submit a request, and do not wait for its outcome."""
        request = SourceRequest(message, self._number, self._owner, "web-1")
        lines, payload = (message.lines, message.payload) if isinstance(message, BatchRequest) else (0, b"")
        pieces = [payload] if payload else []
        submitted = Delivery(NO_LOG, pieces, lines, len(payload), source_request=request, sender=self._number)
        self._store.submit(submitted, self.stored)
        return submitted

    def open(self, *, known: int = 0) -> Outcome | None:
        """Open the source."""
        return self.ask(Open(self._source, "/var/log/app.log", known))

    def send(self, *lines: bytes, start: int) -> Outcome | None:
        """Send a batch whose bytes in the source are its NDJSON."""
        return self.ask(batch(*lines, start=start, source=self._source))


def batch(*lines: bytes, start: int, source: str = "s1", split: bool = False) -> BatchRequest:
    """Return a batch whose bytes in the source are its NDJSON."""
    payload = b"".join(lines)
    end = start + len(payload)
    return BatchRequest(source, start, end, len(lines), zlib.crc32(payload), payload, split=split)


def position(*lines: bytes, source: str = "s1", is_answer_to_open: bool = False) -> Position:
    """Return the position of a source that has these lines and nothing else."""
    payload = b"".join(lines)
    return Position(source, len(payload), len(lines), zlib.crc32(payload), is_answer_to_open)
