"""Makes the streams of a store where they are missing, and refuses what would break its promises.

Never changes what is there: a stream with wrong settings, servers that are too old and messages that may be too small
are refused, each with one sentence that says what to set.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from logferry.errors import StoreError
from logferry.protocol.messages.features import read_store_id
from logferry.server.storage.nats.headers import ROOM_FOR_HEADERS
from logferry.server.storage.nats.names import Names
from logferry.server.storage.nats.settings import NatsSettings
from logferry.server.storage.nats.wire import (
    NO_STREAM,
    WRONG_LAST_SEQUENCE,
    WRONG_LAST_SEQUENCE_IN_FLIGHT,
    Message,
    NoAnswer,
    Refused,
    Wire,
)

logger = logging.getLogger(__name__)

VERSION: Final = 1

# Before 2.12, several writers may win the same position (2.9), or promises differ; from 2.15 on, syncs are grouped.
_LEAST_VERSION: Final = (2, 12, 0)
_GOOD_VERSION: Final = (2, 15, 0)

# Batches are joined up to this size, so every message may have it.
JOINED_BYTES: Final = 1024 * 1024
_LEAST_PAYLOAD: Final = JOINED_BYTES + ROOM_FOR_HEADERS

_MAX_SHARDS: Final = 256

# What each setting of a stream must be, and why not otherwise.
_REQUIRED: Final[Mapping[str, tuple[object, str]]] = {
    "storage": ("file", "memory forgets"),
    "retention": ("limits", "messages are deleted once they are read"),
    "discard": ("new", "a full stream would delete the oldest lines without keeping positions"),
    "max_age": (0, "lines would be deleted without keeping positions"),
    "max_msgs": (-1, "lines would be deleted without keeping positions"),
    "max_msgs_per_subject": (-1, "only the last batches of a source would be kept"),
    "deny_delete": (True, "whatever is missing between others must be damage"),
    "allow_direct": (True, "other replicas could not be asked for what one has lost"),
}
_DEFAULTS: Final[Mapping[str, object]] = {
    "max_age": 0,
    "max_msgs": -1,
    "max_msgs_per_subject": -1,
    "deny_delete": False,
    "allow_direct": False,
}


# What servers answer while they find each other: no peer for a replica, no leader, streams not loaded.
_NOT_YET: Final = (10005, 10008, 10009)
_PATIENCE_S: Final = 30.0
_PAUSE_S: Final = 0.25


class NotYet(StoreError):
    """The servers do not serve streams, but may soon."""


@dataclass(frozen=True, slots=True)
class OpenedStreams:
    """The streams of a store: its id, their names, how many have lines, and how many copies each has at least."""

    store_id: str
    names: Names
    not_empty: int
    replicas: int


async def open_streams(wire: Wire, settings: NatsSettings, *, patience_s: float = _PATIENCE_S) -> OpenedStreams:
    """Check the servers, make what is missing, and check what is there. Raises StoreError.

    Waits `patience_s` for servers that have just been started, and elect their leaders first.
    """
    _check_server(wire)
    deadline = time.monotonic() + patience_s
    is_logged = False
    while True:
        try:
            return await _opened(wire, settings)
        except (NoAnswer, NotYet) as reason:
            if time.monotonic() > deadline:
                raise
            if not is_logged:
                logger.warning("waiting for the NATS servers to serve streams: %s", reason)
                is_logged = True
        await asyncio.sleep(_PAUSE_S)


async def _opened(wire: Wire, settings: NatsSettings) -> OpenedStreams:
    meta = Names(settings.prefix, 0)
    configs = [await _stream(wire, settings, meta, meta.meta, max_bytes=-1)]
    store_id, shards = await _identity(wire, settings, meta)
    names = Names(settings.prefix, shards)
    max_bytes = max(1, settings.max_bytes // shards) if settings.max_bytes else -1
    not_empty = 0
    for stream in names.streams:
        configs.append(found := await _stream(wire, settings, names, stream, max_bytes=max_bytes))
        not_empty += found["state"].get("messages", 0) > 0
    replicas = min(int(found["config"].get("num_replicas", 1)) for found in configs)
    if replicas < settings.replicas:
        logger.warning("the streams have %d replicas, not %d as --nats-replicas says", replicas, settings.replicas)
    return OpenedStreams(store_id, names, not_empty, replicas)


def _check_server(wire: Wire) -> None:
    version, shown = wire.server_version, ".".join(map(str, wire.server_version))
    if version < _LEAST_VERSION:
        raise StoreError(
            f"the NATS server has version {shown}, which may store lines twice or lose them: "
            "use 2.15 or newer on every node"
        )
    if version < _GOOD_VERSION:
        logger.warning("the NATS server has version %s: from 2.15 on, sync_interval: always is affordable", shown)
    if wire.max_payload < _LEAST_PAYLOAD:
        raise StoreError(
            f"NATS takes messages of at most {wire.max_payload} bytes, and a batch may be larger: "
            "set max_payload: 8MB in the configuration of every NATS server"
        )


async def _identity(wire: Wire, settings: NatsSettings, meta: Names) -> tuple[str, int]:
    """Return the id and the number of shards of the store; decide both if it is new."""
    found = await wire.last(meta.meta, meta.store)
    if found is None:
        entry = {"version": VERSION, "store": secrets.token_hex(8), "shards": settings.shards}
        try:
            await wire.publish(meta.store, [json.dumps(entry).encode()], {}, stream=meta.meta, after=0)
        except Refused as refused:
            if refused.code not in (WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_IN_FLIGHT):
                raise
        found = await wire.last(meta.meta, meta.store)  # another gateway may have been faster
    return _read_identity(found, meta)


def _read_identity(found: Message | None, meta: Names) -> tuple[str, int]:
    try:
        entry = json.loads(found.payload) if found else None
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise StoreError(
            f"the subject {meta.store} in {meta.meta} does not say what the store is: it is not Logferry's"
        )
    if entry.get("version") != VERSION:
        raise StoreError(f"the store in {meta.meta} was made by a newer Logferry: use that version or a later one")
    store, shards = entry.get("store"), entry.get("shards")
    if (
        type(shards) is not int
        or not 1 <= shards <= _MAX_SHARDS
        or not isinstance(store, str)
        or not read_store_id(store)
    ):
        raise StoreError(f"the subject {meta.store} in {meta.meta} has no valid id or number of shards")
    return store, shards


async def _stream(wire: Wire, settings: NatsSettings, names: Names, stream: str, *, max_bytes: int) -> dict[str, Any]:
    try:
        found = await wire.api(f"STREAM.INFO.{stream}")
    except Refused as refused:
        if refused.code in _NOT_YET:
            raise NotYet(f"cannot read about the stream {stream}: {refused}") from None
        if refused.code != NO_STREAM:
            raise StoreError(f"cannot read about the stream {stream}: {refused}") from None
        found = await _make(wire, settings, names, stream, max_bytes)
    config, state = found.get("config"), found.get("state")
    if not isinstance(config, dict) or not isinstance(state, dict):
        raise StoreError(f"NATS says nothing about the stream {stream}")
    for problem in _problems(config, names.subjects_of(stream)):
        raise StoreError(f"the stream {stream} {problem}")
    return found


async def _make(wire: Wire, settings: NatsSettings, names: Names, stream: str, max_bytes: int) -> dict[str, Any]:
    config = {
        "name": stream,
        "subjects": names.subjects_of(stream),
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "num_replicas": settings.replicas,
        "compression": "s2",
        "max_bytes": max_bytes,
        "max_msgs": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "deny_delete": True,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "duplicate_window": 1_000_000_000,  # in nanoseconds; positions decide, not remembered ids
    }
    try:
        return await wire.api(f"STREAM.CREATE.{stream}", config)
    except Refused as refused:
        if refused.code in _NOT_YET:
            raise NotYet(f"cannot make the stream {stream}: {refused}") from None
        hint = (
            "" if settings.replicas == 1 else f" ({settings.replicas} replicas need as many servers: --nats-replicas)"
        )
        raise StoreError(f"cannot make the stream {stream}: {refused}{hint}") from None


def _problems(config: Mapping[str, Any], subjects: list[str]) -> Iterator[str]:
    """Yield what is wrong with the settings of a stream."""
    for key, (wanted, why) in _REQUIRED.items():
        found = config.get(key, _DEFAULTS.get(key))
        if found != wanted:
            yield f"has {key} {json.dumps(found)}: set it to {json.dumps(wanted)}, else {why}"
    if sorted(config.get("subjects") or []) != sorted(subjects):
        yield f"has other subjects than {', '.join(subjects)}: give this store a --nats-prefix of its own"
    if config.get("persist_mode", "default") != "default":
        yield "has a persist_mode: make it without, else acks come before anything is on a disk"
    if config.get("mirror") or config.get("sources") or config.get("subject_transform") or config.get("sealed"):
        yield "gets its messages from elsewhere, or takes none: give this store a --nats-prefix of its own"
    if 0 < config.get("max_msg_size", -1) < _LEAST_PAYLOAD:
        yield f"takes only small messages: set its max_msg_size to -1, or at least {_LEAST_PAYLOAD}"
