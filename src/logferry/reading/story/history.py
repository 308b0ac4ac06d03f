"""The story of a place in a file, as values: what is stored there or around it, what happened, and what was checked.

explanation.py makes sentences of it, and history_of.py finds it. Times are milliseconds of Unix time. Everything but
times and numbers comes from clients, and is hostile. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from logferry.reading.stored import Log, Received


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line that is stored: where, from which bytes of the file, and when it was received.

    `number` is about which line of its source it is; None for lines of the plain protocol, which have no source.
    """

    text: str
    time: int
    received: Received
    segment: str
    position: int
    source: str = ""
    client: str = ""
    start: int = 0  # of the bytes of the file that were stored together
    end: int = 0
    number: int | None = None


class Kind(Enum):
    """What may have happened to a file."""

    LOST = "lost"
    SKIPPED = "skipped"  # not lost: nobody asked for it, or it is stored elsewhere
    WINDOW = "window"  # bytes may have been written that nobody saw
    DELETED = "deleted"  # by retention
    DAMAGED = "damaged"
    REPAIRED = "repaired"  # other bytes were there, and a client has stored the right ones anew
    UNACCOUNTED = "unaccounted"  # neither stored nor lost, as far as the ledger says
    NEW_SOURCE = "new source"  # the file began anew
    STARTED = "started"  # the server


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened. `first` and `last` are times between which it did, or None; bytes are of the file."""

    kind: Kind
    first: int | None
    last: int | None
    start: int = 0
    end: int = 0
    lines: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked of the stored bytes around the place: those of the ledger against those on the disk.

    `problems` say what is wrong, and `unchecked` what could not be checked, or was too much.
    """

    extents: int = 0
    bytes: int = 0
    problems: Sequence[str] = ()
    unchecked: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class History:
    """The story of a place. If `line` is None, the place is not stored, and lies between `before` and `after`."""

    log: Log
    line: StoredLine | None
    before: StoredLine | None = None
    after: StoredLine | None = None
    happenings: Sequence[Happening] = ()
    checked: Checked = field(default_factory=Checked)
    left_out: int = 0  # happenings that are too many to be listed
