"""A loss: bytes of a source that are not delivered, and whether anybody has to be warned of that."""

from dataclasses import dataclass
from enum import Enum, auto

from logferry.model.source import Source


class LossKind(Enum):
    """Why bytes of a source are not delivered; it decides whether they are logged, counted and recorded as lost."""

    UNREADABLE = auto()  # truncated, deleted or damaged before they were read
    SKIPPED = auto()  # somebody asked for it, or they were shipped from another file: nothing is lost
    OVERWRITTEN = auto()  # the same source has other bytes at these offsets by now, and those are delivered
    DROPPED = auto()  # readable, but more than --max-held-bytes allows


@dataclass(frozen=True, slots=True)
class Loss:
    """Bytes `[start, end)` of a source that are not delivered."""

    source: Source
    start: int
    end: int
    reason: str
    kind: LossKind = LossKind.UNREADABLE
