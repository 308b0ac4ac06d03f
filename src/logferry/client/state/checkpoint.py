"""What the client remembers of one source between runs, as a value and as an entry of the journal.

Owns the fields of a checkpoint, the validation of entries, and what is remembered of each store. An entry that an
earlier version wrote must stay readable: a new field needs a default. Must never touch the disk.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from sys import intern
from typing import Any, Final, NamedTuple

from logferry.client.files.identity import (
    FINGERPRINT_OF_NOTHING,
    HEAD_BYTES,
    TAIL_BYTES,
    FileIdentity,
    fingerprint,
)
from logferry.client.state.journal_format import Entry
from logferry.client.state.state_values import MAX_OFFSET, check_offset, check_text, check_time, check_values
from logferry.model.format_names import CURRENT_RULES
from logferry.model.holdings import Held, Holdings, Part
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source
from logferry.printable import moment

Renderings = tuple[tuple[int, RenderSpec], ...]

# A source remembers at most this many stores besides the present one; the ones longest ago are forgotten.
_MAX_STORES: Final = 4


class StoredAt(NamedTuple):
    """The most that a store is known to have had of a source, and when (Unix time)."""

    store: str
    committed: int
    at: float


@dataclass(slots=True)
class Checkpoint:
    """How far one source is stored, and how to recognise its file. Never modified: a later checkpoint replaces it.

    `head` and `tail` are fingerprints of the source's first `head_bytes` bytes, acked or not, and of the last
    `tail_bytes` before `committed`. `lines` and `crc32` describe the NDJSON stored up to `committed`, as the
    server counts it; bytes before `plain_until` were shipped by the plain protocol to `plain_server` and do not count:
    they had `plain_lines` lines. `server` ("host:port") is the one that has the source up to `committed`.
    `is_finished` says that the run that shipped the source does not expect more of it (batch mode), or that its file is
    gone. `renderings` lists the render specs, each with the offset from which it applies; it is empty for a source that
    an older version shipped. `place` is the real path to which `path` led through symbolic links; rotated files are
    beside it. It is empty where no link was on the way, and for a source that an older version shipped.

    `committed` is what `store` has; its id is "" if it did not state one, or an older version shipped the source.
    `elsewhere` is what other stores had, and what `store` had before it was set back to an earlier copy of itself.

    With several servers, `parts` says which store acked which bytes first, and `held` what each store but `store` has;
    `lines` and `crc32` are what `store` itself has up to `committed` (model/holdings.py).

    `is_settled` says that the file was rotated and is stored to its end, `has_window` that an unknown window after
    `committed` is recorded: either way, it is not reported when the file cannot be found.
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
    seen_at: float = 0.0  # Unix time of the last change; shown to users, and orders rotated files
    renderings: Renderings = ()
    store: str = ""
    plain_server: str = ""
    plain_lines: int = 0
    server: str = ""
    asked_from: int = 0
    given_up: tuple[int, int] = (0, 0)
    elsewhere: tuple[StoredAt, ...] = ()
    place: str = ""
    is_settled: bool = False
    has_window: bool = False
    parts: tuple[Part, ...] = ()
    held: tuple[Held, ...] = ()

    @property
    def holdings(self) -> Holdings:
        """What several servers have of the source."""
        return Holdings(self.parts, self.held)

    @property
    def identity(self) -> FileIdentity:
        """The device and inode of the source's file."""
        return self.device, self.inode

    @property
    def places(self) -> tuple[str, ...]:
        """The paths under which the source's file was: the real path first."""
        return (self.place, self.path) if self.place else (self.path,)

    def why_missing(self, store: str, *, found: int) -> str:
        """Return why a store has only the first `found` bytes, although more were acked; "" if nothing explains it."""
        here = self._most(mark for mark in self._marks if mark.store == store)
        if store and here is not None and here.committed > found:
            return f"the server was set back: it had {here.committed} bytes of this source on {moment(here.at)}"
        other = self._most(mark for mark in self._marks if mark.store != store or not store)
        if other is None or other.committed <= max(found, self.plain_until):
            return ""
        had = f"had {other.committed} bytes of this source on {moment(other.at)}"
        return f"another store: store {other.store} {had}" if other.store and store else f"the server {had}"

    def needed_in(self, store: str) -> int:
        """Return the offset up to which a store must have the source: the end of its last part, 0 if it has none.

        That stays what it was when the store has lost some of it, until it has that again, or another store does.
        """
        if store == self.store and self.committed > self.holdings.end:
            return self.committed
        return max((part.end for part in self.parts if part.store == store), default=0)

    @property
    def acked_until(self) -> int:
        """The offset up to which any store has acked the source."""
        return max(mark.committed for mark in self._marks)

    @property
    def _marks(self) -> tuple[StoredAt, ...]:
        return (*self.elsewhere, StoredAt(self.store, self.committed, self.seen_at))

    @staticmethod
    def _most(marks: Iterable[StoredAt]) -> StoredAt | None:
        return max(marks, key=lambda mark: mark.committed, default=None)


def checkpoint_of(source: Source, *, seen_at: float) -> Checkpoint:
    """Return the checkpoint of the current state of a source."""
    head = source.head  # read, not only acked, bytes: so a source is recognised before its first ack
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
        store=source.store,
        plain_server=source.plain_server,
        plain_lines=source.plain_lines,
        server=source.server,
        asked_from=source.asked_from,
        given_up=source.given_up,
        place=source.place,
        is_settled=source.is_settled,
        has_window=source.has_window,
        parts=source.holdings.parts,
        held=source.holdings.held,
    )


def source_of(checkpoint: Checkpoint, *, tail: bytes = b"") -> Source:
    """Return the source that a checkpoint describes; `tail` is what its file has before the offset."""
    return Source(
        checkpoint.path,
        checkpoint.id,
        *checkpoint.identity,
        committed=checkpoint.committed,
        lines=checkpoint.lines,
        crc32=checkpoint.crc32,
        tail=tail,
        plain_until=checkpoint.plain_until,
        renderings=list(checkpoint.renderings),
        store=checkpoint.store,
        plain_server=checkpoint.plain_server,
        plain_lines=checkpoint.plain_lines,
        server=checkpoint.server,
        asked_from=checkpoint.asked_from,
        given_up=checkpoint.given_up,
        place=checkpoint.place,
        holdings=checkpoint.holdings,
    )


def remember_stores(before: Checkpoint, now: Checkpoint) -> None:
    """Let the checkpoint that replaces another one remember what stores had, and forget what they have again."""
    has_moved = before.store not in ("", now.store)
    if not before.elsewhere and not has_moved and now.committed >= before.committed:
        return
    marks = {mark.store: mark for mark in before.elsewhere}
    if before.committed and (has_moved or now.committed < before.committed):
        mark = marks.pop(before.store, None)
        last = StoredAt(before.store, before.committed, before.seen_at)
        marks[last.store] = mark if mark and mark.committed > last.committed else last
    if now.store in marks and marks[now.store].committed <= now.committed:
        del marks[now.store]
    now.elsewhere = tuple(marks.values())[-_MAX_STORES:]


_NAMES: Final = [field.name for field in fields(Checkpoint)]
_OFFSETS: Final = ("committed", "lines", "plain_until", "plain_lines", "asked_from")
_LIMITS: Final = {**dict.fromkeys(_OFFSETS, MAX_OFFSET), "crc32": 2**32 - 1}
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEFAULTS: Final = [
    field.default for field in fields(Checkpoint)
]  # a marker, not a value, for a field without a default
_values: Final = attrgetter(*_NAMES)


def to_entry(checkpoint: Checkpoint) -> Entry:
    """Return a checkpoint as an entry of the journal, without the fields that have their default value."""
    values = zip(_NAMES, _values(checkpoint), _DEFAULTS, strict=True)
    entry = {name: value for name, value, default in values if value != default}
    if checkpoint.renderings:
        entry["renderings"] = [[start, spec.to_json()] for start, spec in checkpoint.renderings]
    return entry


def from_entry(entry: Entry) -> Checkpoint:
    """Read what `to_entry` returned. Raises ValueError, TypeError or KeyError for anything else."""
    given = {name: entry[name] for name in _NAMES if name in entry}
    given["renderings"] = _renderings(given.get("renderings", ()))
    given["elsewhere"] = _elsewhere(given.get("elsewhere", ()))
    given["parts"] = _parts(given.get("parts", ()))
    given["held"] = _held(given.get("held", ()))
    given["given_up"] = _range(given.get("given_up", (0, 0)))
    checkpoint = Checkpoint(**given)
    check_values(checkpoint, limits=_LIMITS)
    if not (_ID.fullmatch(checkpoint.id) and checkpoint.path):
        raise ValueError("it has no id, or no path")
    if not (0 <= checkpoint.head_bytes <= HEAD_BYTES and 0 <= checkpoint.tail_bytes <= TAIL_BYTES):
        raise ValueError("a fingerprint covers too many bytes")
    if checkpoint.committed < checkpoint.tail_bytes:
        raise ValueError("a fingerprint covers bytes before the beginning of the file")
    checkpoint.store, checkpoint.server = intern(checkpoint.store), intern(checkpoint.server)
    checkpoint.plain_server = intern(checkpoint.plain_server)
    return checkpoint


def _range(entry: Iterable[Any]) -> tuple[int, int]:
    start, end = entry
    check_offset("given_up", start)
    check_offset("given_up", end)
    return start, end


def _elsewhere(entry: Iterable[Iterable[Any]]) -> tuple[StoredAt, ...]:
    """Read the marks of other stores. An id is kept once in memory, however many sources a store has."""
    marks = tuple(StoredAt(*mark) for mark in entry)
    for mark in marks:
        check_text("store", mark.store)
        check_offset("committed", mark.committed)
        check_time("at", mark.at)
    return tuple(mark._replace(store=intern(mark.store)) for mark in marks[-_MAX_STORES:])


def _parts(entry: Iterable[Iterable[Any]]) -> tuple[Part, ...]:
    """Read the parts of a source. Raises ValueError or TypeError unless each ends behind the one before."""
    parts, end = [Part(*part) for part in entry], 0
    for part in parts:
        check_offset("parts", part.end)
        check_text("parts", part.store)
        if part.end <= end:
            raise ValueError("parts are not in order")
        end = part.end
    return tuple(part._replace(store=intern(part.store)) for part in parts)


def _held(entry: Iterable[Iterable[Any]]) -> tuple[Held, ...]:
    """Read what other stores have of a source. Raises ValueError or TypeError."""
    found = [Held(*held) for held in entry]
    for held in found:
        check_text("held", held.store)
        for number in held[1:]:
            check_offset("held", number)
    return tuple(held._replace(store=intern(held.store)) for held in found)


def _renderings(entry: Iterable[tuple[Any, Any]]) -> Renderings:
    renderings = tuple((start, RenderSpec.from_json(spec)) for start, spec in entry)
    starts = [start for start, _ in renderings]
    for start in starts:
        check_offset("renderings", start)
    if starts != sorted(starts):
        raise ValueError("renderings are not in order")
    for _, spec in renderings:
        _check_usable(spec)
    return _shared(renderings)


@lru_cache(maxsize=64)
def _check_usable(spec: RenderSpec) -> None:
    """Check that lines can be rendered in this way. Raises ValueError."""
    # Nearly every spec is this one; a client that only looks at its state imports no format.
    if spec != RenderSpec(skips_nuls=True, rules=CURRENT_RULES):
        from logferry.rendering.renderer import renderer

        renderer(spec)


@lru_cache(maxsize=1024)
def _shared(renderings: Renderings) -> Renderings:
    """Return an equal value that is already in memory: most sources are rendered alike."""
    return renderings
