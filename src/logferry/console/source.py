"""What the console asks of a store, as a Protocol, and the values of questions and answers.

A `Source` is called from threads of queries, several at a time. Each of its functions calls `stop.check()` at least
once a MiB that it reads, so that a query ends when its limits or its reader do. Nothing here reads a file.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol


class Stopped(Exception):
    """A query has ended before its end; `reason` is what ended it: "time", "bytes" or "closed"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WrongPattern(Exception):
    """A regular expression that cannot be used; the text says why."""


class UnknownPlace(Exception):
    """A place in the store that is not there: it was deleted, or nobody ever got it from here."""


class Stop:
    """When a query must end. The thread of the query counts and asks; any thread may call `close`."""

    def __init__(self, *, seconds: float, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._max_bytes = max_bytes
        self._closed = threading.Event()
        self.on_check: Callable[[], object] = lambda: None
        self.bytes_read = 0
        self.lines_read = 0

    def close(self) -> None:
        """End the query: nobody waits for the answer any more."""
        self._closed.set()

    @property
    def seconds_left(self) -> float:
        """How long the query may go on."""
        return max(0.0, self._end - self._clock())

    @property
    def reason(self) -> str:
        """Why the query must end: "closed", "time" or "bytes"; "" while it may go on."""
        if self._closed.is_set():
            return "closed"
        if self.bytes_read > self._max_bytes:
            return "bytes"
        return "time" if self._clock() >= self._end else ""

    def check(self) -> None:
        """Raise Stopped if the query must end."""
        self.on_check()
        if reason := self.reason:
            raise Stopped(reason)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the query must end. Raises Stopped then."""
        self._closed.wait(max(0.0, min(seconds, self._end - self._clock())))
        self.check()


@dataclass(frozen=True, slots=True)
class Word:
    """A part of what a line must contain, or must not: a text, or a regular expression."""

    text: str
    is_regex: bool = False
    is_unwanted: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Which lines are wanted. Hosts and files are patterns, times milliseconds of Unix time (`until` is exclusive)."""

    hosts: Sequence[str] = ()
    files: Sequence[str] = ()
    levels: Sequence[str] = ()
    words: Sequence[Word] = ()
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A stored line. `time` is when it happened, or else when it was received, in milliseconds.

    It was received after `received_after`, at the latest at `received`, if that is known.

    `place` names the line in later questions; `content` is the stored record, without its newline.
    """

    place: str
    host: str
    path: str
    time: int
    received: int | None
    has_event_time: bool
    content: bytes
    received_after: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """What is known to be lacking of a file: lines that are lost, or that may have been written between two times."""

    host: str
    path: str
    start: int
    end: int
    kind: Literal["lost", "unknown", "damaged"]
    reason: str
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """How many lines each bucket has so far, by the classes of levels; `[bucket, *counts]` for those that have any."""

    rows: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class HostInfo:
    """A host and what came of it. `client` is what its client last said about itself; empty if that is not known."""

    host: str
    files: int
    lines: int
    bytes: int
    first_received: int | None
    last_received: int | None
    client: Mapping[str, object] = field(default_factory=dict)
    segments: int = 0


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file of a host and what came of it."""

    host: str
    path: str
    lines: int
    bytes: int
    first_received: int | None
    last_received: int | None


@dataclass(frozen=True, slots=True)
class FileProof:
    """What is known of the completeness of a file.

    `checked_bytes` of `bytes` were compared with the ledger, for the last time at `checked_at` (the oldest of them;
    None if some never were). `damaged` are extents whose bytes are not what was stored, with `altered_lines`. Missing
    are bytes of the file between stored ones that are neither stored nor recorded as lost; repeated are those stored
    twice. `verdict` is what `verify` on the client's machine has found last; empty if nobody knows.
    """

    host: str
    path: str
    lines: int
    bytes: int
    checked_bytes: int
    checked_at: int | None
    damaged: int
    damaged_bytes: int
    lost: int
    lost_bytes: int
    unknown: int
    expired_bytes: int
    gaps: Sequence[Gap] = ()
    altered_lines: int = 0
    missing_bytes: int = 0
    repeated_bytes: int = 0
    verdict: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CountedRow:
    """How many lines have something in common. The key is a time in milliseconds, a text, or a host and a path."""

    key: int | str | tuple[str, str]
    count: int
    hosts: Sequence[tuple[str, int]]
    patterns: Sequence[tuple[str, int]]
    levels: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Counted:
    """All rows, and what was looked at for them; a count may be too low by `missed`."""

    rows: Sequence[CountedRow]
    lines: int
    missed: int
    bytes: int
    logs: int
    unreadable: int
    problem: str


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What a check of a file has found so far: of `of_bytes`, `bytes` were compared with the checksums in the ledger.

    Of the altered pieces, nobody knows which of their lines are altered. `problems` are the first ones.
    """

    host: str
    path: str
    of_bytes: int = 0
    bytes: int = 0
    lines: int = 0
    segments: int = 0
    altered_pieces: int = 0
    altered_bytes: int = 0
    altered_lines: int = 0
    missing_bytes: int = 0
    repeated_bytes: int = 0
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof of all files, and how much of all stored bytes was really compared with the ledger, and when."""

    files: Sequence[FileProof]
    bytes: int
    checked_bytes: int
    oldest_check: int | None
    newest_check: int | None
    damaged: int
    lost: int
    unknown: int
    missing_bytes: int = 0
    repeated_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of a host and a day: the plain lines, and what they take on the disk."""

    host: str
    day: str
    bytes: int
    stored_bytes: int
    lines: int


@dataclass(frozen=True, slots=True)
class Storage:
    """What the store takes on its disk, and what will happen to it.

    `bytes_per_day` is the rate of the last days, `full_at` when the disk is full at that rate. `next_deletions` are
    segments that retention deletes first: the oldest closed ones.
    """

    usage: Sequence[Usage]
    segments: int
    compressed_segments: int
    bytes: int
    stored_bytes: int
    disk_bytes: int
    disk_free: int
    bytes_per_day: float
    full_at: int | None
    next_deletions: Sequence[Mapping[str, object]]


class Followed(NamedTuple):
    """A line that has come; None if nothing has. `bookmark` is where to go on later, "" if nobody can say that."""

    line: Line | None
    bookmark: str


class Source(Protocol):
    """Where lines come from. Every function may raise OSError or StoreError.

    Those with a `stop` may also raise Stopped, and those with a query WrongPattern.
    """

    def hosts(self) -> Sequence[HostInfo]:
        """Return all hosts."""

    def files(self) -> Sequence[FileInfo]:
        """Return all files."""

    def search(self, query: Query, *, from_place: str, is_backward: bool, stop: Stop) -> Iterator[Line]:
        """Yield lines in the order of time: backward from before a place, or forward from after it.

        Without a place (""), from the end of the query's time backward, or from its beginning forward. Raises
        UnknownPlace.
        """

    def counts(self, query: Query, *, since: int, bucket_ms: int, buckets: int, stop: Stop) -> Iterator[Counts]:
        """Yield how many lines fall into buckets of time, again and again as more is read; the last one is complete."""

    def gaps(self, query: Query) -> Sequence[Gap]:
        """Return what is known to be lacking of the query's hosts and files, at most 1000, in the order of time."""

    def context(self, place: str, *, before: int, after: int, stop: Stop) -> Sequence[Line]:
        """Return a line and those around it in its file. Raises UnknownPlace."""

    def raw(self, place: str, *, stop: Stop) -> bytes:
        """Return the stored bytes of a line. Raises UnknownPlace."""

    def follow(self, query: Query, *, after: str, stop: Stop) -> Iterator[Followed]:
        """Yield lines as they are stored from now on, or after a bookmark that an earlier `follow` has given.

        The first one has no line, and says that it has begun: no line that is stored from then on is left out. One
        without a line comes again whenever there is nothing new, at least once a second. Raises UnknownPlace if the
        bookmark is of another store, or of a query with other hosts or files.
        """

    def proof(self) -> Proof:
        """Return what is known of the completeness of every file."""

    def statistics(self, query: Query, *, by: str, with_patterns: bool, stop: Stop) -> Iterator[Counted]:
        """Yield how many lines match, by minute, hour, level, host, file or message-pattern: one value, at the end."""

    def check(self, host: str, path: str, *, stop: Stop) -> Iterator[FileCheck]:
        """Read all that is stored of a file, and compare it with the ledger; yield how far that is, again and again.

        The last one is complete. Yields nothing if there is no such file.
        """

    def storage(self) -> Storage:
        """Return what the store takes on its disk."""
