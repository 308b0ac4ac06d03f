"""What `verify` finds out about one file, as values. Must never ask anybody."""

from dataclasses import dataclass, field

from logferry.client.proof.former import FormerSource
from logferry.client.proof.lines import LineProblem
from logferry.names import text_of_name
from logferry.protocol.messages.reports import RecordedLoss


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `[start, end)` of a file with `lines` records, and what is wrong with them.

    These are the lines `first_line` to `last_line` of the file.
    """

    start: int
    end: int
    lines: int
    reason: str
    first_line: int = 0
    last_line: int = 0


@dataclass(frozen=True, slots=True)
class Doubled:
    """Bytes `[start, end)` of a file that more than one server has, with `lines` records. An ack of one was lost."""

    start: int
    end: int
    lines: int
    servers: tuple[str, ...]


@dataclass(slots=True)
class Verdict:
    """The result for one file. Ranges are in bytes of the file; `path` is the text of its name."""

    path: str
    source: str = ""
    lines: int = 0  # in the file now
    stored: int = 0  # of these, on the server's disk unchanged
    repeated: int = 0  # stored by this source, or by another one of the same name, although they were stored before
    times_stored: int = 1  # all of the file, by sources of the same name
    filtered: int = 0  # left out by the user's patterns when the file was shipped; not counted in `lines`
    nuls: int = 0  # bytes at the beginnings of lines that are not shipped: holes
    missing: list[Range] = field(default_factory=list)
    altered: list[Range] = field(default_factory=list)
    expired: list[Range] = field(default_factory=list)  # were stored, and deleted by the server's retention since
    losses: list[RecordedLoss] = field(default_factory=list)
    skipped: list[RecordedLoss] = field(default_factory=list)  # not asked for, or stored elsewhere, as the client knows
    wrong_lines: list[LineProblem] = field(default_factory=list)  # of `altered`, to the line, if the server can show it
    problem: str = ""  # why the file could not be compared, or only in part
    doubled: list[Doubled] = field(default_factory=list)  # what several servers have: readers leave it out
    former: list[FormerSource] = field(default_factory=list)  # that had the name before and are not whole
    former_whole: int = 0  # how many others had it
    forgotten: list[str] = field(default_factory=list)  # losses of files that nobody knows any more: perhaps this one

    def __post_init__(self) -> None:
        self.path = text_of_name(self.path)

    @property
    def is_whole(self) -> bool:
        """Whether everything is stored, once or several times."""
        return not (self._is_wrong or self.forgotten)

    @property
    def is_doubtful(self) -> bool:
        """Whether everything is stored, but the client forgot losses that may be of this file."""
        return bool(self.forgotten) and not self._is_wrong

    @property
    def _is_wrong(self) -> bool:
        return bool(self.problem or self.missing or self.altered or self.losses or self.former)

    @property
    def is_proven(self) -> bool:
        """Whether everything is stored once, except what is in `expired`, `skipped` or `doubled`."""
        return self.is_whole and not self.repeated
