"""The seam between those who look at stored lines and the store: which logs there are, and their committed lines.

Owns the values that cross it. Times are milliseconds of Unix time. Everything in them but the times comes from clients,
and is hostile: `logferry.printable` before it is shown. Never shows a line that is not committed.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from logferry.errors import LogferryError

# Bytes that are read at once, unless a line is longer. A chunk has whole lines of one segment.
CHUNK_BYTES: Final = 1024 * 1024

# How many bytes to read next: a merge of many logs wants less of each.
ChunkBytes = Callable[[], int]

# A record that a server takes has at most 16 MiB.
MAX_LINE_BYTES: Final = 32 * 1024 * 1024


# Whether some of these bytes, up to an end, may be wanted: asked before they are copied into a chunk.
MayMatch = Callable[[bytes, int], bool]


def standard_chunk() -> int:
    """See ChunkBytes."""
    return CHUNK_BYTES


class Stopped(LogferryError):
    """The caller does not wait for lines any more."""


class UnknownPlace(LogferryError):
    """A place is not, or not any more, one where a stored line begins."""


class Log(NamedTuple):
    """The lines of one path of one host. `key` names the log in its store, and nothing else.

    `identity` is the folder of the identity that shipped it, "" for the common tree. Lines of the plain protocol have
    the path "".
    """

    key: str
    host: str
    path: str
    identity: str = ""

    @property
    def name(self) -> str:
        """The last part of the path; "" for lines of the plain protocol."""
        return self.path.rpartition("/")[2]


class LogSize(NamedTuple):
    """How much is stored of a log, and when it was received, as far as that is known."""

    segments: int
    bytes: int
    lines: int
    first_received: int | None
    last_received: int | None


class Received(NamedTuple):
    """When a line was received: after `first`, at the latest at `last`. Both are None if nobody knows."""

    first: int | None = None
    last: int | None = None


class Span(NamedTuple):
    """Lines from `since` on and before `until`, by their times; None stands for no limit."""

    since: int | None = None
    until: int | None = None

    def has(self, time: int) -> bool:
        """Whether a time is in it."""
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)

    def meets(self, first: int | None, last: int | None) -> bool:
        """Whether a time between these two, both included, may be in it; None is an unknown end."""
        is_before = last is not None and self.since is not None and last < self.since
        is_after = first is not None and self.until is not None and first >= self.until
        return not is_before and not is_after


EVER: Final = Span()


class Chunk(NamedTuple):
    """Whole committed lines of one log, from byte `position` of a segment on; each ends with a newline.

    `segment` is the path of the plain file below the folder `segments`. `marks` say when lines were received: each
    stands for the lines from its position on, up to the next one; the first one stands for the first line.
    """

    log: Log
    segment: str
    position: int
    data: bytes
    marks: Sequence[tuple[int, Received]] = ()

    @property
    def end(self) -> int:
        """The byte of the segment behind the last line."""
        return self.position + len(self.data)

    def received(self, position: int) -> Received:
        """Return when the line at a byte of the segment was received."""
        index = bisect_right(self.marks, position, key=lambda mark: mark[0]) - 1
        return self.marks[max(index, 0)][1] if self.marks else Received()


class Place(NamedTuple):
    """Where a line begins: a segment and a byte in it."""

    segment: str
    position: int

    def __str__(self) -> str:
        return f"{self.segment}:{self.position}"


def place_at(text: str) -> Place:
    """Parse the text of a place. Raises UnknownPlace."""
    segment, _, position = text.rpartition(":")
    if not segment or not position.isascii() or not position.isdecimal() or len(position) > 18:
        raise UnknownPlace("this is not a place in the store")
    return Place(segment, int(position))


class Looked:
    """How much was looked at so far, and what could not be. One thread writes it; others may read it."""

    __slots__ = ("bytes", "lines", "logs", "problem", "skipped_bytes", "unreadable")

    def __init__(self) -> None:
        self.bytes = 0
        self.lines = 0  # about: of segments that were read in part, a part
        self.skipped_bytes = 0  # because the time index says that nothing there is wanted
        self.logs = 0
        self.unreadable = 0  # segments that are missing or cannot be read
        self.problem = ""  # of the last one


class Lacking(NamedTuple):
    """Something that is known to be lacking of a log: bytes that are lost, or that may have been written unseen.

    `first` and `last` are times between which it happened, or when it was noticed; `bytes` is 0 if nobody knows.
    """

    log: Log
    is_lost: bool
    first: int
    last: int
    bytes: int
    reason: str


class Bookmark(NamedTuple):
    """How far the logs of a store were shown, for somebody who goes on there later.

    All of the segments up to the number `last` was shown, but for those in `rest`, by their numbers: of them, what is
    before a byte. `check` recognises a store whose segments have other numbers.
    """

    last: int
    check: int
    rest: Mapping[int, int]


class Changes(Protocol):
    """What is committed from a moment on. Used by one thread."""

    def new_chunks(self) -> Iterator[Chunk]:
        """Yield what was committed since the last call, of each log in its order; nothing if nothing was.

        Cheap when nothing has changed: callers ask several times a second. Raises OSError and StoreError if the store
        cannot be read now; later calls go on where this one has ended.
        """

    def bookmark(self, wanted: Callable[[Log], bool]) -> Bookmark:
        """Return one behind all that was yielded of the wanted logs."""

    def number_of(self, segment: str) -> int:
        """Return the number, for bookmarks, of a segment that has had chunks since the last look."""


class StoredLogs(Protocol):
    """The lines of a store, as they were committed when the object was made or refreshed last. Used by one thread.

    Every method may raise OSError, and LogferryError if the store is missing or damaged.
    """

    looked: Looked

    def refresh(self) -> None:
        """See what is committed now."""

    def logs(self) -> Sequence[Log]:
        """Return all logs that have lines, by host, path and identity. Cheap: no file is opened."""

    def sizes(self) -> Sequence[tuple[Log, LogSize]]:
        """Return how much is stored of each log."""

    def newest(self, log: Log) -> int | None:
        """Return a time that the last line of a log is not later than, as far as known; None if nothing is. Cheap."""

    def chunks(
        self,
        log: Log,
        span: Span = EVER,
        *,
        backward: bool = False,
        chunk_bytes: ChunkBytes = standard_chunk,
        at: Place | None = None,
        may_match: MayMatch | None = None,
    ) -> Iterator[Chunk]:
        """Yield the lines of a log, oldest first, or the last chunk first; the lines in a chunk are in order anyway.

        With `at`, only lines from that place on, or, backward, before it. Leaves out what certainly has no line in the
        span; what it yields may have others. What cannot be read is noted in `looked` and left out. A chunk has about
        `chunk_bytes`, or one longer line.
        """

    def log_at(self, place: Place) -> Log:
        """Return the log that has a place. Raises UnknownPlace if no line of a log begins there."""

    def lacking(self, logs: Sequence[Log], span: Span) -> Sequence[Lacking]:
        """Return what is known to be lacking of logs in a span, in the order of time, at most 1000."""

    def changes(self, after: Bookmark | None = None) -> Changes:
        """Return what comes after that which this object shows, or after a bookmark. Raises UnknownPlace."""
