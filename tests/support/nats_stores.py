"""Stores on a real NATS server, between which and the store a test can put faults; and what is stored there."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import uuid4

from logferry.server.storage.nats.chain import Chains
from logferry.server.storage.nats.connection import NatsWire, connect
from logferry.server.storage.nats.names import Names, source_of
from logferry.server.storage.nats.nats_store import NatsStore
from logferry.server.storage.nats.reading import messages_of
from logferry.server.storage.nats.settings import NatsSettings
from logferry.server.storage.nats.sources import Sources
from logferry.server.storage.nats.wire import Message, Wire
from tests.support.nats_servers import NatsCluster

Result = TypeVar("Result")

# The library leaves the socket of a connection that it has given up to the garbage collector; collect it in the test.
LEFT_SOCKETS: Final = "ignore:Exception ignored in. <:pytest.PytestUnraisableExceptionWarning"


class FaultyWire:
    """A wire that raises `error` instead of publishing, if set, and shows stored messages with a byte changed."""

    def __init__(self, wire: Wire, faults: "Faults") -> None:
        self._wire = wire
        self._faults = faults

    @property
    def connected_port(self) -> int:
        """The port of the server that is connected."""
        assert isinstance(self._wire, NatsWire)
        url = self._wire._client.connected_url
        return int(url.port or 0) if url else 0

    @property
    def max_payload(self) -> int:
        return self._faults.max_payload or self._wire.max_payload

    @property
    def server_version(self) -> tuple[int, int, int]:
        return self._faults.version or self._wire.server_version

    async def publish(
        self, subject: str, pieces: Sequence[bytes], headers: Mapping[str, str], *, stream: str, after: int
    ) -> int:
        for error in (self._faults.error, self._faults.error_of(subject)):
            if error:
                raise error
        sequence = await self._wire.publish(subject, pieces, headers, stream=stream, after=after)
        if self._faults.lost_acks:
            raise self._faults.lost_acks.pop()
        return sequence

    async def api(self, operation: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return await self._wire.api(operation, body)

    async def last(self, stream: str, subject: str) -> Message | None:
        return await self._wire.last(stream, subject)

    async def following(self, stream: str, subject: str, sequence: int) -> Message | None:
        found = await self._wire.following(stream, subject, sequence)
        if self._faults.has_lost_them_all:
            while found and found.sequence in self._faults.missing.get(found.subject, ()):
                found = await self._wire.following(stream, subject, found.sequence + 1)
        return found

    async def last_of_many(self, stream: str, subjects: Sequence[str]) -> Mapping[str, Message | None]:
        return await self._wire.last_of_many(stream, subjects)

    async def last_of_any(self, stream: str, subject: str) -> Message | None:
        return await self._wire.last_of_any(stream, subject)

    async def range(self, stream: str, subject: str, sequence: int) -> AsyncIterator[Message]:
        async for message in self._wire.range(stream, subject, sequence):
            if message.subject in self._faults.missing and message.sequence in self._faults.missing[message.subject]:
                continue
            yield self._faults.damaged(message)

    async def close(self) -> None:
        await self._wire.close()


class Faults:
    """What goes wrong between the stores of a test and NATS; nothing does until a test sets it."""

    def __init__(self) -> None:
        self.wires: list[FaultyWire] = []
        self.error: Exception | None = None
        self.lost_acks: list[Exception] = []
        self.max_payload = 0
        self.version: tuple[int, int, int] | None = None
        self.flipped: set[tuple[str, int]] = set()  # subjects and sequences of messages with a byte changed
        self.missing: dict[str, set[int]] = {}
        self.has_lost_them_all = False  # the leader misses them, too
        self.errors_of: dict[str, Exception] = {}  # by subject
        self.errors_of_losses: Exception | None = None

    def error_of(self, subject: str) -> Exception | None:
        """Return what publishing to a subject raises."""
        return self.errors_of.get(subject) or (self.errors_of_losses if ".losses." in subject else None)

    async def connect(self, settings: NatsSettings) -> Wire:
        """Connect as a store does."""
        self.wires.append(FaultyWire(await connect(settings), self))
        return self.wires[-1]

    def damaged(self, message: Message) -> Message:
        """Return a message as a damaged disk would have it."""
        if (message.subject, message.sequence) not in self.flipped:
            return message
        payload = bytearray(message.payload)
        payload[12] ^= 1
        return message._replace(payload=bytes(payload))


class NatsPlace:
    """A prefix of its own on a server that tests share: stores in the same place, and what they have stored."""

    def __init__(self, cluster: NatsCluster, *, replicas: int = 1, **changes: Any) -> None:
        self.faults = Faults()
        self.settings = NatsSettings(
            urls=tuple(cluster.urls.split(",")),
            prefix=f"t{uuid4().hex[:12]}",
            shards=2,
            replicas=replicas,
            first_retry_s=0.001,
        )
        self.settings = dataclasses.replace(self.settings, **changes)

    @property
    def names(self) -> Names:
        """The names of its streams."""
        return Names(self.settings.prefix, self.settings.shards)

    def new(self) -> NatsStore:
        """Return a store that is not open."""
        return NatsStore(self.settings, connect=self.faults.connect)

    def publish(self, subject: str, payload: bytes, headers: Mapping[str, str], *, after: int) -> None:
        """Append a message to a subject of lines, as anybody may who has the credentials."""

        async def published() -> None:
            wire = await connect(self.settings)
            stream = self.names.streams[int(subject.split(".")[1])]
            await wire.publish(subject, [payload], headers, stream=stream, after=after)
            await wire.close()

        run(published())

    def messages(self) -> list[Message]:
        """Return all messages with lines, those of each stream in order."""
        return run(self._messages())

    def lines(self) -> list[bytes]:
        """Return all stored lines, those of each source in order, with repairs in their places."""
        return run(self._lines())

    async def _messages(self) -> list[Message]:
        wire, found = await self.faults.connect(self.settings), []
        try:
            for stream in self.names.streams:
                (subject,) = self.names.subjects_of(stream)
                if last := await wire.last(stream, subject):
                    found += [each async for each in messages_of(wire, stream, subject, 1, last.sequence)]
        finally:
            await wire.close()
        return found

    async def _lines(self) -> list[bytes]:
        wire, found = await self.faults.connect(self.settings), b""
        try:
            for source in dict.fromkeys(source_of(message.subject) for message in await self._messages()):
                head = await Sources(wire, self.names).read(source)
                assert head
                found += b"".join([piece.payload async for piece in Chains(wire, self.names).walk(head, 0)])
        finally:
            await wire.close()
        return found.splitlines(keepends=True)


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in a loop of its own."""
    return asyncio.run(coroutine)
