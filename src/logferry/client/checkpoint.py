"""What was acked, per source, on disk: the client's memory from one run to the next.

STATE_DIR holds

    lock                one process per folder
    checkpoints.json    {"version": 1, "client": "<id>", "servers": [...], "sources": [...]}

The file is replaced atomically (durable.py), at most every second and at a clean stop, so a crash leaves it up to a
second old: never ahead of an ack, at worst behind. A new source is saved before its first batch is sent, so that no
batch can reach a server under an id that a crash would forget.

A checkpoint that is behind costs nothing: the server's own record wins. One that is damaged, or gone, means that the
client does not know its sources any more: they become new ones, and what was shipped of them is shipped again. It says
so.
"""

import contextlib
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from logferry.client.source_file import HEAD_BYTES, TAIL_BYTES, Source
from logferry.durable import FolderInUse, lock_folder, replace_file
from logferry.errors import StateError

logger = logging.getLogger(__name__)

VERSION: Final = 1
SAVE_INTERVAL_S: Final = 1.0

# Sources that nobody reads any more are remembered for `verify`; so many are enough for years of daily files.
MAX_IDLE: Final = 2000

_FILE_NAME: Final = "checkpoints.json"


@dataclass(slots=True)
class Checkpoint:
    """How far one source is stored, and how to recognise its file.

    `head` and `tail` are hashes of its first `head_bytes` bytes and of the last `tail_bytes` before `committed`.
    `lines` and `crc32` are of the NDJSON stored up to there, as the server counts them; what is before `plain_until`
    was shipped by the plain protocol, and does not count. `is_finished` says that the run that shipped it meant to ship
    no more of it (batch mode), or that its file is gone.
    """

    id: str
    path: str
    device: int
    inode: int
    committed: int = 0
    lines: int = 0
    crc32: int = 0
    head_bytes: int = 0
    head: str = ""
    tail_bytes: int = 0
    tail: str = ""
    plain_until: int = 0
    is_finished: bool = False
    seen_at: float = 0.0  # Unix time of the last change, for people and for ordering files that were rotated meanwhile


def fingerprint(data: bytes) -> str:
    """Return a hash of some bytes of a file, as text."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class Checkpoints:
    """All checkpoints of one state folder. One thread at a time uses it."""

    def __init__(
        self, folder: Path | None, *, read_only: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what `folder` holds; None keeps everything in memory only.

        Raises StateError when another process uses the folder, unless nothing is to be written.
        """
        self._folder = None if read_only else folder
        self._clock = clock
        self._lock: int | None = None
        self._sources: dict[str, Checkpoint] = {}
        self._live: dict[str, Source] = {}  # sources of this run, which know best where they are
        self._servers: set[str] = set()
        self._is_dirty = False
        self._saved_at = clock()
        self._cannot_save = ""
        self.client_id = secrets.token_hex(8)
        if folder is not None and not read_only:
            self._lock_for_writing(folder)
        if folder is not None:
            self._load(folder / _FILE_NAME)

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(list(self._sources.values()))  # a copy: the producer thread looks while the engine adds

    def get(self, source_id: str) -> Checkpoint | None:
        """Return the checkpoint of a source, if there is one."""
        return self._sources.get(source_id)

    def register(self, source: Source) -> None:
        """Remember a source, on disk, before anything of it is sent."""
        if source.id not in self._sources:
            self.follow(source)
            self._forget_oldest()
            self.save()

    def follow(self, source: Source) -> None:
        """Save where a source is from now on, whenever a save is due."""
        self._live[source.id] = source
        self._sources.setdefault(source.id, Checkpoint(source.id, source.path, source.device, source.inode))

    def knows_extension(self, server: str) -> bool:
        """Whether `server` ("host:port") has ever spoken the delivery extension."""
        return server in self._servers

    def learn_extension(self, server: str) -> None:
        """Remember that `server` speaks it: the client will never again send to it without."""
        if server not in self._servers:
            self._servers.add(server)
            self._is_dirty = True
            self.save()

    def save_if_due(self) -> None:
        """Save if something changed and the last time was long enough ago."""
        if self._clock() - self._saved_at >= SAVE_INTERVAL_S:
            self.save()

    def save(self) -> None:
        """Write everything, if anything changed. A disk that does not take it is told of once, and asked again."""
        self._saved_at = self._clock()
        self._take_stock()
        if self._folder is None or not self._is_dirty:
            return
        content = {
            "version": VERSION,
            "client": self.client_id,
            "servers": sorted(self._servers),
            "sources": [asdict(checkpoint) for checkpoint in self],
        }
        try:
            replace_file(self._folder / _FILE_NAME, json.dumps(content).encode())
        except OSError as error:
            self._tell_cannot_save(error)
            return
        self._is_dirty = False
        if self._cannot_save:
            logger.info("checkpoints are saved to %s again", self._folder)
            self._cannot_save = ""

    def close(self) -> None:
        """Save, and let other processes use the folder."""
        self.save()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_stock(self) -> None:
        """Bring the checkpoints up to where their sources are."""
        for source in list(self._live.values()):
            before = self._sources[source.id]
            now = _checkpoint_of(source, seen_at=before.seen_at)
            if now != before:
                now.seen_at = time.time()
                self._sources[source.id] = now
                self._is_dirty = True
            if source.is_finished:
                del self._live[source.id]

    def _lock_for_writing(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = lock_folder(folder)
        except FolderInUse as error:
            raise StateError(
                f"cannot use the state folder {folder}: another logferry (process {error.holder}) is using it; "
                "give this one its own with --state-dir"
            ) from None
        except OSError as error:
            self._tell_cannot_save(error)

    def _load(self, path: Path) -> None:
        try:
            content = json.loads(path.read_bytes())
            if content["version"] != VERSION:
                raise ValueError(f"its version is {content['version']!r}, this program knows {VERSION}")
            sources = [_checkpoint(entry) for entry in content["sources"]]
            servers = {str(server) for server in content["servers"]}
            client_id = str(content["client"])
        except FileNotFoundError:
            if self._folder is not None:
                logger.info("no checkpoints in %s: every file is taken as new", path.parent)
            return
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._set_aside(path, error)
            return
        self._sources = {checkpoint.id: checkpoint for checkpoint in sources}
        self._servers = servers
        self.client_id = client_id

    def _set_aside(self, path: Path, error: Exception) -> None:
        """A file that cannot be understood never stops the client; it is kept for whoever wants to look at it."""
        reason = error.strerror if isinstance(error, OSError) else error
        logger.error("cannot read the checkpoints in %s: %s", path, reason)
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            kept = path.replace(path.with_name(f"{path.name}.damaged"))
            logger.warning("they are kept as %s", kept)
        logger.warning("every file is taken as new: what was shipped of them before is shipped, and stored, again")

    def _tell_cannot_save(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if reason != self._cannot_save:
            logger.error(
                "cannot save checkpoints to %s: %s; shipping goes on, but after a restart "
                "what was shipped since then may be shipped again",
                *(self._folder, reason),
            )
        self._cannot_save = reason

    def _forget_oldest(self) -> None:
        idle = [checkpoint for checkpoint in self if checkpoint.id not in self._live]
        for checkpoint in sorted(idle, key=lambda checkpoint: checkpoint.seen_at)[:-MAX_IDLE]:
            del self._sources[checkpoint.id]


def _checkpoint_of(source: Source, *, seen_at: float) -> Checkpoint:
    head = source.head[: source.committed]
    return Checkpoint(
        source.id,
        source.path,
        source.device,
        source.inode,
        committed=source.committed,
        lines=source.lines,
        crc32=source.crc32,
        head_bytes=len(head),
        head=fingerprint(head),
        tail_bytes=len(source.tail),
        tail=fingerprint(source.tail),
        plain_until=source.plain_until,
        is_finished=source.is_finished,
        seen_at=seen_at,
    )


def _checkpoint(entry: Mapping[str, Any]) -> Checkpoint:
    """Read one entry. Raises ValueError, TypeError or KeyError for what is not a checkpoint."""
    checkpoint = Checkpoint(**{field.name: entry[field.name] for field in fields(Checkpoint)})
    for field in fields(Checkpoint):
        value = getattr(checkpoint, field.name)
        if type(value) is not field.type:
            raise TypeError(f"{field.name} is {value!r}")
    if not (0 <= checkpoint.head_bytes <= HEAD_BYTES and 0 <= checkpoint.tail_bytes <= TAIL_BYTES):
        raise ValueError("a hash is of too many bytes")
    if checkpoint.committed < max(checkpoint.head_bytes, checkpoint.tail_bytes):
        raise ValueError("a hash is of bytes beyond the checkpoint")
    return checkpoint
