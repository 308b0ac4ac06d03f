"""Keeps the checkpoints of the client between runs, in STATE_DIR.

    lock                held by one process at a time (folder_lock.py)
    checkpoints.json    a journal of all checkpoints (journal_format.py)

Owns when checkpoints are saved. Changes are appended at most every second, and at a clean stop; so a crash leaves the
journal up to a second behind the acks, and never ahead of them. A new source must be saved before its first batch is
sent, so that no batch reaches a server under an id that a crash would forget. An outdated checkpoint costs nothing: the
server's own record wins. Sources that do not change must never slow down a save.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from logferry.client.files.identity import FileIdentity
from logferry.client.state.checkpoint import Checkpoint, checkpoint_of, from_entry, remember_stores, source_of, to_entry
from logferry.client.state.checkpoint_index import CheckpointIndex
from logferry.client.state.idle_sources import forget_at, ids_to_forget
from logferry.client.state.journal_format import CheckpointFile, Entry
from logferry.client.state.state_folder import FILE_NAME, lock_state_folder
from logferry.errors import StateError, cause_of
from logferry.folder_lock import FolderLock
from logferry.model.source import Source
from logferry.names import encodable
from logferry.printable import printable
from logferry.protocol.messages.writing import MAX_NAME_CHARS
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# A save is due when this time has passed, and the last save took at most this share of the time since it began.
SAVE_INTERVAL_S: Final = 1.0
_SAVE_SHARE: Final = 0.05

# Readers change sources without a notification: each save checks this many sources, plus one in ten of the rest.
_CHECKED: Final = 100
_ROUND_SAVES: Final = 10

# The journal is replaced when it has more lines than this beyond twice the checkpoints. One busy source reaches that in
# a quarter of an hour; rewriting it then takes a few hundred bytes. For 10,000 sources it takes three megabytes.
_OUTDATED_LINES: Final = 1000


class Checkpoints:
    """All checkpoints of one state folder.

    Any thread may look up sources (`of_source`, `of_identity`, `of_path`) and `follow` them; the lock `_changing`
    guards the state that these methods change. Only the delivering thread registers and saves.
    """

    def __init__(
        self, folder: Path | None, *, read_only: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Load the checkpoints in `folder`; None keeps everything in memory only.

        Raises StateError for checkpoints that cannot be read, and, unless `read_only`, when another process uses the
        folder or this user may not lock it: without the lock, two clients would store the same lines.
        """
        self._clock = clock
        self._lock: FolderLock | None = None
        self._file: CheckpointFile | None = None  # the file to save to
        self._changing = threading.Lock()  # guards the next four attributes
        self._known = CheckpointIndex()
        self._live: dict[str, Source] = {}  # sources of this run, ahead of their checkpoints
        self._touched: set[str] = set()  # the ids of live sources that have changed
        self._unsaved: set[str] = set()  # the ids whose entry in the file is outdated or missing
        self._round: Iterator[Source] = iter(())
        self._servers: set[str] = set()
        self._stores: dict[str, str] = {}  # by server: the id of the store that it last had
        self._servers_changed = False
        self._forget_at = forget_at(0)
        self._save_at = clock() + SAVE_INTERVAL_S
        self._is_failing = False  # the last save failed
        self._failures = RepeatLimit(logger, clock=clock)
        self.client_id = os.urandom(16).hex()  # a secret, which makes a client the owner of its sources
        if folder is not None:
            file = CheckpointFile(folder / FILE_NAME, read_only=read_only)
            if not read_only:
                self._lock = self._lock_for_writing(folder)
                self._file = file
            try:
                file.load(self._apply)
            except StateError:
                self._unlock()
                raise

    def __iter__(self) -> Iterator[Checkpoint]:
        with self._changing:
            return iter(list(self._known))

    def __contains__(self, source_id: str) -> bool:
        return source_id in self._known

    def of_source(self, source_id: str) -> Checkpoint | None:
        """Return the checkpoint of a source."""
        with self._changing:
            return self._known.get(source_id)

    def of_identity(self, device: int, inode: int) -> list[Checkpoint]:
        """Return the checkpoints of a file, and of earlier files with the same inode."""
        return self._found((device, inode))

    def of_path(self, path: str) -> list[Checkpoint]:
        """Return the checkpoints of all files that were shipped under a path, or under a link that led to it."""
        return self._found(path)

    def _found(self, key: str | FileIdentity) -> list[Checkpoint]:
        if not self._known.ids_of(key):  # as a rule: a rotated file is looked for under many names
            return []
        with self._changing:
            ended = [self._live[source_id] for source_id in self._known.ids_of(key) if self._has_ended(source_id)]
        for source in ended:
            self._update(source)
        with self._changing:
            return [self._known[source_id] for source_id in self._known.ids_of(key)]

    def change(self, source_id: str, **changes: Any) -> None:
        """Change the checkpoint of a source that has nothing new to save. It keeps the time of its last change.

        The id of a source that was forgotten meanwhile is ignored.
        """
        with self._changing:
            known = self._known.get(source_id)
            if known is not None:
                self._known.put(replace(known, **changes))
                self._unsaved.add(source_id)

    def _has_ended(self, source_id: str) -> bool:
        """Whether a source has ended in this run; its checkpoint may not record that yet."""
        return source_id in self._live and self._live[source_id].is_finished

    def register(self, source: Source) -> None:
        """Save a source and its rendering to disk, before its first batch is sent."""
        self.register_all((source,))

    def register_all(self, sources: Iterable[Source]) -> None:
        """Register several sources with one write."""
        has_changed = False
        for source in sources:
            if self._is_registered(source):
                self.follow(source)  # the server may have moved its offset
            else:
                has_changed = True
                self._add(source)
        if self._is_failing:
            self.save_if_due()  # do not retry a failing disk for each source
        elif has_changed:
            self._forget_oldest()
            self._write()

    def _is_registered(self, source: Source) -> bool:
        known = self._known.get(source.id)
        return (
            known is not None
            and known.renderings == (*source.renderings,)
            and known.given_up == source.given_up
            and known.holdings == source.holdings
            and source.id not in self._unsaved
        )

    def note(self, source: Source) -> None:
        """Bring the checkpoint of a source up to date in memory, before another store's position replaces its own."""
        if self._live.get(source.id) is source:
            self._update(source)

    def known_ids(self) -> list[str]:
        """Return the ids of all sources, whether or not they are live."""
        return [checkpoint.id for checkpoint in self]

    def known_source(self, source_id: str) -> Source | None:
        """Return the live source, or a new one as the checkpoint describes it, without what was read of its file."""
        with self._changing:
            checkpoint = self._known.get(source_id)
            return self._live.get(source_id) or (source_of(checkpoint) if checkpoint else None)

    def found_in(self, source_id: str, store: str) -> None:
        """Note that a store has all of a source that was acked."""
        with self._changing:
            live, checkpoint = self._live.get(source_id), self._known.get(source_id)
            if live is not None:
                live.store = store
                self._touched.add(source_id)
            elif checkpoint is not None:
                now = replace(checkpoint, store=store)
                remember_stores(checkpoint, now)
                self._known.put(now)
                self._unsaved.add(source_id)

    def why_missing(self, source: Source, store: str, *, found: int) -> str:
        """Return why a store has only the first `found` bytes of a source, although more were acked."""
        checkpoint = self.of_source(source.id)
        return checkpoint.why_missing(store, found=found) if checkpoint else ""

    def follow(self, source: Source) -> None:
        """Include a source in the next save. Call this again whenever the source has advanced."""
        if source.id not in self._known:
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
        """Remember that `server` speaks the extension: the client will never send to that server without it again."""
        if server not in self._servers:
            self._servers.add(server)
            self._servers_changed = True
            self._write()

    def store_of(self, server: str) -> str:
        """Return the id of the store that a server had when it was last asked; "" if that is not known."""
        if server not in self._stores:  # a file of version 3 does not say it, but its checkpoints do
            with self._changing:
                shipped = [known for known in self._known if known.server == server and known.store]
            latest = max(shipped, key=lambda known: known.seen_at, default=None)
            self._stores[server] = latest.store if latest else ""
        return self._stores[server]

    def learn_store(self, server: str, store: str) -> None:
        """Remember which store a server has."""
        if store and self._stores.get(server) != store:
            self._stores[server] = store
            self._servers_changed = True

    def acked_by(self, store: str) -> list[tuple[str, int]]:
        """Return the sources that this store has acked a part of, and up to where it must have each."""
        with self._changing:
            found = ((known.id, known.needed_in(store)) for known in self._known)
            return [(source_id, until) for source_id, until in found if until]

    @property
    def patience_s(self) -> float:
        """The time in seconds until the next save is due. Sources that changed without a notification can wait."""
        is_saved = not (self._touched or self._unsaved or self._servers_changed)
        return math.inf if is_saved else max(0.0, self._save_at - self._clock())

    def save_if_due(self) -> None:
        """Save the changes, if a save is due."""
        begin = self._clock()
        if begin < self._save_at:
            return
        self._check_some()
        self._update_touched()
        self._write()
        end = self._clock()
        self._save_at = max(begin + SAVE_INTERVAL_S, end + (end - begin) / _SAVE_SHARE)

    def save(self) -> None:
        """Save all changes now, including those without a notification."""
        with self._changing:
            self._touched.update(self._live)
        self._update_touched()
        self._write()

    def close(self) -> None:
        """Save, and unlock the folder."""
        self.save()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _check_some(self) -> None:
        """Check some of the sources, in turn, for those that have finished or moved to another file."""
        count = _CHECKED + len(self._live) // _ROUND_SAVES
        with self._changing:
            some = list(islice(self._round, count))
            if not some:
                self._round = iter(list(self._live.values()))
                some = list(islice(self._round, count))
            for source in some:
                known = self._known.get(source.id)
                if known and _has_changed(source, known):
                    self._touched.add(source.id)

    def _update_touched(self) -> None:
        """Bring the checkpoints of touched sources up to date."""
        with self._changing:
            touched = [self._live[source_id] for source_id in self._touched if source_id in self._live]
            self._touched.clear()
        for source in touched:  # a later change adds the source to `_touched` again
            self._update(source)

    def _update(self, source: Source) -> None:
        with self._changing:
            before = self._known.get(source.id)
            now = checkpoint_of(source, seen_at=before.seen_at if before else 0.0)
            if before is not None:
                if not source.head:  # nothing of it was read in this run: the fingerprint of an earlier run still holds
                    now.head_bytes, now.head = before.head_bytes, before.head
                remember_stores(before, now)
            if now != before:
                now.seen_at = time.time()
                self._known.put(now)
                self._unsaved.add(source.id)
            if (now.is_finished or source.is_ended) and self._live.get(source.id) is source:
                del self._live[source.id]

    def _forget_oldest(self) -> None:
        """If there are far more than MAX_IDLE idle sources, forget the oldest of those whose files are gone."""
        if len(self._known) - len(self._live) <= self._forget_at:
            return
        idle = [known for known in self if known.id not in self._live]
        for source_id in ids_to_forget(idle, is_superseded=self._is_superseded):
            with self._changing:
                if source_id not in self._live:
                    self._known.remove(source_id)
                    self._unsaved.add(source_id)
        self._forget_at = forget_at(len(self._known) - len(self._live))

    def _is_superseded(self, checkpoint: Checkpoint) -> bool:
        """Whether a later source has the same file: shipped again from its beginning, or with a reused inode."""
        return not self._known.is_latest_of_identity(checkpoint)

    # --- on disk --------------------------------------------------------------------------------------------------

    def _apply(self, entry: Any) -> None:
        """Apply an entry of the journal. Raises ValueError, KeyError or TypeError for anything else."""
        match entry:
            case {"servers": list(servers)}:
                self.client_id = _client_id(entry.get("client", self.client_id))
                self._servers = {str(server) for server in servers}
                stores = entry.get("stores", {})
                self._stores = {server: _store_id(store) for server, store in dict(stores).items()}
            case {"forget": str(source_id)}:
                self._known.remove(source_id)
            case _:
                self._known.put(from_entry(entry))

    def _write(self) -> None:
        """Write the changes that are not on disk yet. After a failure, log it and try again at the next save."""
        if self._file is None or not (self._unsaved or self._servers_changed or self._file.is_outdated):
            return
        with self._changing:
            unsaved, self._unsaved = self._unsaved, set()
            changes = [self._known.get(source_id) or source_id for source_id in unsaved]
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
        client: dict[str, Any] = {"client": self.client_id, "servers": sorted(self._servers)}
        client |= (
            {"stores": stores}
            if (stores := {server: store for server, store in sorted(self._stores.items()) if store})
            else {}
        )
        if file.has_room_for(len(changes) + 1, most=2 * len(self._known) + _OUTDATED_LINES):
            file.append([*([client] if self._servers_changed else []), *map(_entry_of, changes)])
        else:  # twice: without its id, the client could not go on with any source that a server has
            file.replace(client, chain(map(to_entry, self), (client,) if self._servers else ()))

    def _lock_for_writing(self, folder: Path) -> FolderLock | None:
        try:
            return lock_state_folder(folder)
        except OSError as error:
            self._note_failure(folder, error)
            return None

    def _note_failure(self, folder: Path, error: OSError) -> None:
        self._is_failing = True
        reason = cause_of(error)
        self._failures.log(
            *(logging.ERROR, reason),
            "cannot save checkpoints to %s: %s; shipping goes on, but after a restart "
            "what was shipped since then may be shipped again",
            *(printable(str(folder)), reason),
        )


def _client_id(value: Any) -> str:
    """Return an id that a server accepts. Raises ValueError for anything else: with it, no file could be shipped."""
    if type(value) is not str or not 0 < len(value) <= MAX_NAME_CHARS or encodable(value) != value:
        raise ValueError("the id of the client is not a text of 1 to 255 characters")
    return value


def _store_id(value: Any) -> str:
    """Return the id of a store. Raises ValueError for anything else."""
    if type(value) is not str or not 0 < len(value) <= MAX_NAME_CHARS:
        raise ValueError("the id of a store is not a text of 1 to 255 characters")
    return value


def _has_changed(source: Source, known: Checkpoint) -> bool:
    """Whether a source has finished, settled, or moved to another file since its checkpoint."""
    is_same_file = (source.device, source.inode) == known.identity
    return source.is_finished or source.is_settled != known.is_settled or not is_same_file


def _entry_of(change: Checkpoint | str) -> Entry:
    """Return the entry for a checkpoint, or for the id of a forgotten source."""
    return {"forget": change} if isinstance(change, str) else to_entry(change)
