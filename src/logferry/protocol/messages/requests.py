"""The requests of the delivery extension, as the server reads them (docs/protocol.md, rules E).

Values only: `control_lines.py` parses control lines into them. A client writes control lines with `writing.py`.
"""

from dataclasses import dataclass, field

from logferry.model.event_times import UNREAD_TIMES, EventTimes
from logferry.protocol.messages.client_state import ClientState, FileVerdict
from logferry.protocol.messages.reports import RecordPlace
from logferry.protocol.messages.writing import MAX_OFFSET


@dataclass(frozen=True, slots=True)
class Hello:
    """The client requests the extension."""

    client: str
    host: str
    features: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Auth:
    """The client proves its identity with a token (rule E40)."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Open:
    """The client will send batches of a source, and asks how far it is stored; it knows of `known` bytes."""

    source: str
    path: str
    known: int = MAX_OFFSET


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """The lines of bytes `[start, end)` of a source as NDJSON; `refusal` says why a line cannot be stored, if any.

    A `split` batch does not begin where an event begins, or begins another format or other rules. `times` says when the
    events of the lines happened.
    """

    source: str
    start: int
    end: int
    lines: int
    crc32: int
    payload: bytes
    refusal: str | None = None
    split: bool = False
    times: EventTimes = field(default=UNREAD_TIMES, compare=False)


@dataclass(frozen=True, slots=True)
class Skip:
    """Bytes `[start, end)` of a source will never come, for `reason`.

    They are not `lost` if nobody asked for them, or if they are stored elsewhere.
    """

    source: str
    start: int
    end: int
    reason: str
    lost: bool = True


@dataclass(frozen=True, slots=True)
class Note:
    """A remark about bytes `[start, end)` of a source, although a batch covers them."""

    source: str
    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes from `start` on may have been written to a source that nobody saw, and are gone (rule E27).

    The client looked at `last_look` and noticed at `noticed`, in milliseconds of Unix time.
    """

    source: str
    start: int
    last_look: int
    noticed: int
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The client asks what is stored of a source from offset `after` on."""

    source: str
    after: int


@dataclass(frozen=True, slots=True)
class Losses:
    """The client asks for the losses and unknown windows of a source, from the place `first` on."""

    source: str
    first: RecordPlace


@dataclass(frozen=True, slots=True)
class SourcesOf:
    """The client asks which sources of a host had a path, by id, from the first after `after`."""

    host: str
    path: str
    after: str


@dataclass(frozen=True, slots=True)
class Locate:
    """The client asks how far sources are stored, without opening them."""

    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """The client asks for at most `size` stored bytes, from `position` on, of the extent that begins at `start`."""

    source: str
    start: int
    position: int
    size: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """The client asks which extents of a source, from offset `after` on, the server knows to be damaged."""

    source: str
    after: int


@dataclass(frozen=True, slots=True)
class Repair:
    """The NDJSON of the extent `[start, end)` of a source once more, because its stored bytes are damaged."""

    source: str
    start: int
    end: int
    lines: int
    crc32: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """The client asks for a heartbeat, and may say how it is."""

    state: ClientState | None = None


@dataclass(frozen=True, slots=True)
class End:
    """The client sends nothing more; the server answers everything, then closes (rule E39)."""


@dataclass(frozen=True, slots=True)
class Violation:
    """The client broke the rules of the extension; the connection must end."""

    reason: str


Question = Report | Losses | SourcesOf | Locate | Content | Damaged | Repair
"""What another thread answers, because it reads from the disk."""

Request = Hello | Auth | Open | BatchRequest | Skip | Note | Window | Question | Ping | FileVerdict | End | Violation
