"""What was acked, per source, on disk: the client's memory from one run to the next.

STATE_DIR holds

    lock                one process per folder
    checkpoints.json    a journal (checkpoint_file.py)

Saving appends what has changed, at most every second and at a clean stop, so a crash leaves the journal up to a second
old: never ahead of an ack, at worst behind. A new source is saved before its first batch is sent, so that no batch can
reach a server under an id that a crash would forget. When most lines are of the past, the journal is replaced by one
without them.

A checkpoint that is behind costs nothing: the server's own record wins. One that is damaged, or gone, means that the
client does not know its source any more: it becomes a new one, and what was shipped of it is shipped again. It says so.

Nothing here takes longer because there are many sources that do not change.
"""

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, get_origin

from logferry.client.files.identity import (
    FINGERPRINT_OF_NOTHING,
    HEAD_BYTES,
    TAIL_BYTES,
    FileIdentity,
    fingerprint,
    identity_of,
)
from logferry.client.finding.listing import Folders
from logferry.client.state.journal_format import CheckpointFile, Entry
from logferry.durable import FolderInUse, lock_folder
from logferry.errors import StateError, cause_of
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source
from logferry.printable import printable
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# A save is not due before this time has passed, nor before so many times the time that the last one took.
SAVE_INTERVAL_S: Final = 1.0
_SAVE_SHARE: Final = 0.05

# Readers change sources without a word: each save looks at so many of them, and at a part of what is beyond that.
_LOOKED_AT: Final = 100
_ROUND_SAVES: Final = 10

# The journal is replaced when it has more lines than this beyond twice the checkpoints. One busy source reaches that in
# a quarter of an hour; then a few hundred bytes are written once more. For 10,000 sources it is three megabytes.
_PAST_LINES: Final = 1000

# Sources that nobody reads any more are remembered for `verify`; so many are enough for years of daily files. Those
# whose files may still exist are remembered however many there are.
MAX_IDLE: Final = 20_000

_FILE_NAME: Final = "checkpoints.json"


Renderings = tuple[tuple[int, RenderSpec], ...]


@dataclass(slots=True)
class Checkpoint:
    """How far one source is stored, and how to recognise its file. It never changes: a later one takes its place.

    `head` and `tail` are hashes of its first `head_bytes` bytes, acked or not, and of the last `tail_bytes` before
    `committed`.
    `lines` and `crc32` are of the NDJSON stored up to there, as the server counts them; what is before `plain_until`
    was shipped by the plain protocol, and does not count. `is_finished` says that the run that shipped it meant to ship
    no more of it (batch mode), or that its file is gone. `renderings` says from which offset on it was rendered how; of
    what was shipped by an older version nobody knows.
    """

    id: str
    path: str
    device: int
    inode: int
    committed: int = 0
    lines: int = 0
    crc32: int = 0
    head_bytes: int = 0
    head: str = FINGERPRINT_OF_NOTHING
    tail_bytes: int = 0
    tail: str = FINGERPRINT_OF_NOTHING
    plain_until: int = 0
    is_finished: bool = False
    seen_at: float = 0.0  # Unix time of the last change, for people and for ordering files that were rotated meanwhile
    renderings: Renderings = ()


class Checkpoints:
    """All checkpoints of one state folder. Any thread may look up and follow; one thread at a time does the rest."""

    def __init__(
        self, folder: Path | None, *, read_only: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what `folder` holds; None keeps everything in memory only.

        Raises StateError when another process uses the folder, unless nothing is to be written.
        """
        self._clock = clock
        self._lock_file: int | None = None
        self._file: CheckpointFile | None = None  # to be written to
        self._changing = threading.Lock()  # what follows, up to the index
        self._sources: dict[str, Checkpoint] = {}
        self._live: dict[str, Source] = {}  # sources of this run, which know best where they are
        self._touched: set[str] = set()  # those of them that have changed
        self._unsaved: set[str] = set()  # of these the file says something else, or nothing
        self._index: dict[str | FileIdentity, list[str]] = {}  # ids by path, and by device and inode
        self._round: Iterator[Source] = iter(())
        self._servers: set[str] = set()
        self._servers_changed = False
        self._forget_at = _forget_at(MAX_IDLE)
        self._save_at = clock() + SAVE_INTERVAL_S
        self._is_failing = False  # the last save failed
        self._failures = RepeatLimit(logger, clock=clock)
        self.client_id = os.urandom(8).hex()
        if folder is not None:
            file = CheckpointFile(folder / _FILE_NAME, read_only=read_only)
            if not read_only:
                self._lock_for_writing(folder)
                self._file = file
            file.load(self._apply)

    def __iter__(self) -> Iterator[Checkpoint]:
        with self._changing:
            return iter(list(self._sources.values()))

    def __contains__(self, source_id: str) -> bool:
        return source_id in self._sources

    def of_identity(self, device: int, inode: int) -> list[Checkpoint]:
        """Return the checkpoints of a file, and of others that had its inode before."""
        return self._found((device, inode))

    def of_path(self, path: str) -> list[Checkpoint]:
        """Return the checkpoints of all files that were shipped under a name."""
        return self._found(path)

    def _found(self, key: str | FileIdentity) -> list[Checkpoint]:
        with self._changing:
            ended = [self._live[source_id] for source_id in self._index.get(key, ()) if self._has_ended(source_id)]
        for source in ended:
            self._update(source)
        with self._changing:
            return [self._sources[source_id] for source_id in self._index.get(key, ())]

    def _has_ended(self, source_id: str) -> bool:
        """Whether a source has ended in this run, and a checkpoint may not say so yet."""
        return source_id in self._live and self._live[source_id].is_finished

    def register(self, source: Source) -> None:
        """Remember a source and how it is rendered, on disk, before anything of it is sent."""
        self.register_all((source,))

    def register_all(self, sources: Iterable[Source]) -> None:
        """Remember sources as `register` does, at the price of one."""
        has_news = False
        for source in sources:
            if self._is_registered(source):
                self.follow(source)  # it may have been moved since, to where the server has it
            else:
                has_news = True
                self._add(source)
        if self._is_failing:
            self.save_if_due()  # a disk that takes nothing is not asked for each of them
        elif has_news:
            self._forget_oldest()
            self._write()

    def _is_registered(self, source: Source) -> bool:
        known = self._sources.get(source.id)
        return known is not None and known.renderings == (*source.renderings,) and source.id not in self._unsaved

    def follow(self, source: Source) -> None:
        """Save where a source is, and whenever this is called again, where it is then, as soon as a save is due."""
        if source.id not in self._sources:
            self._add(source)
            return
        with self._changing:
            self._live[source.id] = source
            self._touched.add(source.id)

    def _add(self, source: Source) -> None:
        with self._changing:
            self._live[source.id] = source
        self._update(source)

    def knows_extension(self, server: str) -> bool:
        """Whether `server` ("host:port") has ever spoken the delivery extension."""
        return server in self._servers

    def learn_extension(self, server: str) -> None:
        """Remember that `server` speaks it: the client will never again send to it without."""
        if server not in self._servers:
            self._servers.add(server)
            self._servers_changed = True
            self._write()

    @property
    def patience_s(self) -> float:
        """For how many seconds there is nothing to save. Sources that were changed without a word can wait."""
        is_saved = not (self._touched or self._unsaved or self._servers_changed)
        return math.inf if is_saved else max(0.0, self._save_at - self._clock())

    def save_if_due(self) -> None:
        """Save what has changed, if the last time was long enough ago."""
        begin = self._clock()
        if begin < self._save_at:
            return
        self._look_at_some()
        self._take_stock()
        self._write()
        end = self._clock()
        self._save_at = max(begin + SAVE_INTERVAL_S, end + (end - begin) / _SAVE_SHARE)

    def save(self) -> None:
        """Save what has changed, whether somebody has said so or not."""
        with self._changing:
            self._touched.update(self._live)
        self._take_stock()
        self._write()

    def close(self) -> None:
        """Save, and let other processes use the folder."""
        self.save()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    # --- in memory ------------------------------------------------------------------------------------------------

    def _put(self, checkpoint: Checkpoint) -> None:
        before = self._sources.get(checkpoint.id)
        if before is None or _keys(before) != _keys(checkpoint):
            if before is not None:
                self._unindex(before)
            for key in _keys(checkpoint):
                if key in self._index:
                    self._index[key].append(checkpoint.id)
                else:
                    self._index[key] = [checkpoint.id]  # smaller than an empty list that grows
        self._sources[checkpoint.id] = checkpoint

    def _remove(self, source_id: str) -> None:
        checkpoint = self._sources.pop(source_id, None)
        if checkpoint is not None:
            self._unindex(checkpoint)

    def _unindex(self, checkpoint: Checkpoint) -> None:
        for key in _keys(checkpoint):
            ids = self._index[key]
            ids.remove(checkpoint.id)
            if not ids:
                del self._index[key]

    def _look_at_some(self) -> None:
        """Find sources that a reader has finished with, or has found in another file; a part of them at a time."""
        count = _LOOKED_AT + len(self._live) // _ROUND_SAVES
        with self._changing:
            some = list(islice(self._round, count))
            if not some:
                self._round = iter(list(self._live.values()))
                some = list(islice(self._round, count))
            for source in some:
                known = self._sources.get(source.id)
                if known and (source.is_finished or (source.device, source.inode) != (known.device, known.inode)):
                    self._touched.add(source.id)

    def _take_stock(self) -> None:
        """Bring the checkpoints up to where their sources are."""
        with self._changing:
            touched = [self._live[source_id] for source_id in self._touched if source_id in self._live]
            self._touched.clear()
        for source in touched:  # what changes from here on is touched again
            self._update(source)

    def _update(self, source: Source) -> None:
        with self._changing:
            before = self._sources.get(source.id)
            now = _checkpoint_of(source, seen_at=before.seen_at if before else 0.0)
            if now != before:
                now.seen_at = time.time()
                self._put(now)
                self._unsaved.add(source.id)
            if now.is_finished and self._live.get(source.id) is source:
                del self._live[source.id]

    def _forget_oldest(self) -> None:
        """Forget sources beyond the bound that nobody reads and whose files are gone; now and then, many at once."""
        if len(self._sources) - len(self._live) <= self._forget_at:
            return
        idle = sorted((known for known in self if known.id not in self._live), key=attrgetter("seen_at"))
        folders = Folders()
        gone = (known.id for known in idle if self._is_superseded(known) or not _may_exist(known, folders))
        for source_id in list(islice(gone, max(0, len(idle) - MAX_IDLE))):
            with self._changing:
                if source_id not in self._live:
                    self._remove(source_id)
                    self._unsaved.add(source_id)
        self._forget_at = _forget_at(len(self._sources) - len(self._live))

    def _is_superseded(self, checkpoint: Checkpoint) -> bool:
        """Whether its file has been another source since: shipped again from its beginning, or recycled."""
        return self._index[checkpoint.device, checkpoint.inode][-1] != checkpoint.id

    # --- on disk --------------------------------------------------------------------------------------------------

    def _apply(self, entry: Any) -> None:
        """Take over a line of the file. Raises ValueError, KeyError or TypeError for what is none."""
        match entry:
            case {"servers": list(servers)}:
                self._servers = {str(server) for server in servers}
                self.client_id = str(entry.get("client", self.client_id))
            case {"forget": str(source_id)}:
                self._remove(source_id)
            case _:
                self._put(_checkpoint(entry))

    def _write(self) -> None:
        """Write what is not on disk yet. A disk that does not take it is told of once, and asked again."""
        if self._file is None or not (self._unsaved or self._servers_changed or self._file.is_outdated):
            return
        with self._changing:
            unsaved, self._unsaved = self._unsaved, set()
            changes = [self._sources.get(source_id) or source_id for source_id in unsaved]
        try:
            self._write_to(self._file, changes)
        except OSError as error:
            with self._changing:
                self._unsaved |= unsaved
            self._note_failure(self._file.path.parent, error)
            return
        self._servers_changed = False
        self._is_failing = False
        self._failures.all_over("checkpoints are saved to %s again", printable(str(self._file.path.parent)))

    def _write_to(self, file: CheckpointFile, changes: list[Checkpoint | str]) -> None:
        servers = {"servers": sorted(self._servers)}
        if file.has_room_for(len(changes) + 1, most=2 * len(self._sources) + _PAST_LINES):
            file.append([*([servers] if self._servers_changed else []), *map(_entry, changes)])
        else:
            file.replace({"client": self.client_id, **servers}, map(_entry, self))

    def _lock_for_writing(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = lock_folder(folder)
        except FolderInUse as error:
            raise StateError(
                f"cannot use the state folder {folder}: another logferry (process {error.holder}) is using it; "
                "give this one its own with --state-dir"
            ) from None
        except OSError as error:
            self._note_failure(folder, error)

    def _note_failure(self, folder: Path, error: OSError) -> None:
        self._is_failing = True
        reason = cause_of(error)
        self._failures.log(
            *(logging.ERROR, reason),
            "cannot save checkpoints to %s: %s; shipping goes on, but after a restart "
            "what was shipped since then may be shipped again",
            *(printable(str(folder)), reason),
        )


def _forget_at(idle: int) -> int:
    """Return beyond how many idle sources to look again for some to forget; that costs, so it is done rarely."""
    return max(idle, MAX_IDLE) + MAX_IDLE // 10


def _may_exist(checkpoint: Checkpoint, folders: Folders) -> bool:
    """Whether a source's file is still there under its name, or possibly beside it under another one."""
    with contextlib.suppress(OSError):
        status = os.stat(checkpoint.path)
        if identity_of(status) == (checkpoint.device, checkpoint.inode):
            return True
    return checkpoint.inode in folders.listing(os.path.dirname(checkpoint.path)).by_inode


def _keys(checkpoint: Checkpoint) -> tuple[str, FileIdentity]:
    return checkpoint.path, (checkpoint.device, checkpoint.inode)


def _checkpoint_of(source: Source, *, seen_at: float) -> Checkpoint:
    head = source.head  # as far as it was read: so a source is known before anything of it is acked
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
        renderings=_shared(tuple(source.renderings)),
    )


@lru_cache(maxsize=1024)
def _shared(renderings: Renderings) -> Renderings:
    """Return an equal value that is in memory already: most sources are rendered alike."""
    return renderings


# --- lines of the file ------------------------------------------------------------------------------------------------

_NAMES: Final = [field.name for field in fields(Checkpoint)]
_TYPES: Final = [get_origin(field.type) or field.type for field in fields(Checkpoint)]
_DEFAULTS: Final = [field.default for field in fields(Checkpoint)]  # something that is no value, if there is none
_values: Final = attrgetter(*_NAMES)


def _entry(change: Checkpoint | str) -> Entry:
    """Return the line, as an object, that says a checkpoint, or that there is none of this id any more."""
    if isinstance(change, str):
        return {"forget": change}
    values = zip(_NAMES, _values(change), _DEFAULTS, strict=True)
    entry = {name: value for name, value, default in values if value != default}
    if change.renderings:
        entry["renderings"] = [[start, spec.to_json()] for start, spec in change.renderings]
    return entry


def _checkpoint(entry: Entry) -> Checkpoint:
    """Read what `_entry` gave. Raises ValueError, TypeError or KeyError for what is not a checkpoint."""
    given = {name: entry[name] for name in _NAMES if name in entry}
    checkpoint = Checkpoint(**given | {"renderings": _renderings(given.get("renderings", ()))})
    for name, value, kind in zip(_NAMES, _values(checkpoint), _TYPES, strict=True):
        if type(value) is not kind:
            raise TypeError(f"{name} is {value!r}")
    if not (0 <= checkpoint.head_bytes <= HEAD_BYTES and 0 <= checkpoint.tail_bytes <= TAIL_BYTES):
        raise ValueError("a hash is of too many bytes")
    if checkpoint.committed < checkpoint.tail_bytes:
        raise ValueError("a hash is of bytes beyond the checkpoint")
    return checkpoint


def _renderings(entry: Iterable[tuple[Any, Any]]) -> Renderings:
    renderings = tuple((start, RenderSpec.from_json(spec)) for start, spec in entry if isinstance(spec, dict))
    starts = [start for start, _ in entry]
    if len(starts) != len(renderings) or any(type(start) is not int for start in starts) or starts != sorted(starts):
        raise ValueError(f"renderings are {entry!r}")
    return _shared(renderings)
