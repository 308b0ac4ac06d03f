"""Where sources end: the last message of each, from the leader of its stream, and the record of whose it is.

Owns what is remembered of that. What is remembered may be old, because another gateway may have gone on; an append
under the condition of its sequence finds that out, and then it is read again. Used in the store's loop alone.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from logferry.protocol.messages.writing import MAX_NAME_CHARS, MAX_PATH_CHARS
from logferry.server.storage.admission import MAX_ROWS
from logferry.server.storage.nats import headers
from logferry.server.storage.nats.batches import Batches
from logferry.server.storage.nats.headers import Link, MalformedMessage, Totals
from logferry.server.storage.nats.names import Names
from logferry.server.storage.nats.wire import Message, NatsError, Wire
from logferry.server.storage.records import SourceRow

RECORD_VERSION: Final = 1


class MalformedSource(NatsError):
    """What is stored of a source cannot be understood; the message says what."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far a source is stored; `sequence` and `record` are those of its last message and record, 0: none."""

    row: SourceRow
    totals: Totals
    sequence: int
    record: int
    last: Link | None = None


Last = Callable[[str, str], Awaitable[Message | None]]
"""Returns the last message of a subject of a stream."""


class Sources:
    """The heads that are remembered; see SourceRecords for `source`."""

    def __init__(self, wire: Wire, names: Names) -> None:
        self._wire = wire
        self._names = names
        self._heads: dict[str, Head | None] = {}
        self._lines = Batches(wire)
        self._records = Batches(wire)

    def head(self, source: str) -> Head | None:
        """Return what is remembered, None also for a source that does not exist."""
        return self._heads.get(source)

    def source(self, source_id: str) -> SourceRow | None:
        """Return the position of a source that was loaded."""
        head = self._heads.get(source_id)
        return head.row if head else None

    def remember(self, head: Head) -> None:
        """Take the head that an append has made."""
        self._heads[head.row.id] = head
        if len(self._heads) > MAX_ROWS:
            self._heads = dict(islice(self._heads.items(), len(self._heads) - MAX_ROWS // 2, None))

    def forget(self, source: str) -> None:
        """Have a source loaded again."""
        self._heads.pop(source, None)

    async def load(self, source: str, *, again: bool = False) -> Head | None:
        """Read the head of a source, unless it is remembered. Raises NatsError.

        With `again`, it is read together with others that are asked for at the same time, from whichever replica
        answers. So it may be old like one that is remembered, but not damaged: see known.py.
        """
        if again:
            self._heads[source] = await self._read(source, self._lines.last, self._records.last)
        elif source not in self._heads:
            self._heads[source] = await self.read(source)
        return self._heads[source]

    async def read(self, source: str) -> Head | None:
        """Read the head of a source from the leader. Raises NatsError."""
        return await self._read(source, self._wire.last, self._wire.last)

    async def _read(self, source: str, last_of: Last, last_record_of: Last) -> Head | None:
        last = await last_of(self._names.stream(source), self._names.lines(source))
        if last is None:
            return await self._recorded(source, last_record_of)
        link = link_of(last)
        if link.names is not None and link.names.owner:
            return _head(source, link.names, link, last.sequence, 0)
        record = await self._recorded(source, last_record_of)
        if record is None and link.names is None:
            raise MalformedSource(f"the record of a source is missing: {self._names.source(source)}")
        known = headers.Names(record.row.host, record.row.path, record.row.owner) if record else link.names
        assert known
        return _head(source, known, link, last.sequence, record.record if record else 0)

    async def _recorded(self, source: str, last_of: Last) -> Head | None:
        found = await last_of(self._names.meta, self._names.source(source))
        if found is None:
            return None
        return _head(source, record_of(found), None, 0, found.sequence)


def link_of(message: Message) -> Link:
    """Return the message of lines that a message is. Raises MalformedSource."""
    try:
        return headers.read(message.headers, len(message.payload))
    except MalformedMessage as error:
        raise MalformedSource(f"message {message.sequence} of {message.subject} {error}") from None


def written_record(names: headers.Names) -> bytes:
    """Return the record of a source: where it comes from and whose it is."""
    return json.dumps(
        {"version": RECORD_VERSION, "host": names.host, "path": names.path, "owner": names.owner}
    ).encode()


def record_of(message: Message) -> headers.Names:
    """Return what a record says. Raises MalformedSource."""
    try:
        record = json.loads(message.payload)
    except ValueError:
        record = None
    if not isinstance(record, dict) or record.get("version") != RECORD_VERSION:
        raise MalformedSource(f"message {message.sequence} of {message.subject} is not a record of version 1")
    host, path, owner = (record.get(key) for key in ("host", "path", "owner"))
    if not (
        (isinstance(host, str) and len(host) <= MAX_NAME_CHARS)
        and (isinstance(path, str) and len(path) <= MAX_PATH_CHARS)
        and (isinstance(owner, str) and len(owner) <= 2 * MAX_NAME_CHARS)
    ):
        raise MalformedSource(f"message {message.sequence} of {message.subject} has no valid names")
    return headers.Names(host, path, owner)


def _head(source: str, names: headers.Names, link: Link | None, sequence: int, record: int) -> Head:
    totals = link.totals if link else Totals()
    row = SourceRow(*(source, names.host, names.path, totals.committed, totals.lines, totals.crc32), owner=names.owner)
    return Head(row, totals, sequence, record, link)
