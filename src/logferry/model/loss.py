"""A loss: bytes of a source that are not delivered, and whether somebody must be warned about it."""

from dataclasses import dataclass
from enum import Enum, auto

from logferry.model.source import Source
from logferry.model.unknown_window import UnknownWindow


class LossKind(Enum):
    """Why bytes are not delivered; the kind decides whether the loss is logged, counted and recorded as lost."""

    UNREADABLE = auto()  # truncated, deleted or damaged before they were read
    SKIPPED = auto()  # the user asked for it, or the bytes were shipped from another file: nothing is lost
    OVERWRITTEN = auto()  # the source has other bytes at these offsets now, and those are delivered
    DROPPED = auto()  # readable, but more than --max-held-bytes allows
    UNSEEN = auto()  # perhaps written, never seen: an unknown window


@dataclass(frozen=True, slots=True)
class Loss:
    """Bytes `[start, end)` of a source that are not delivered. Of an unknown window, only `start` is known."""

    source: Source
    start: int
    end: int
    reason: str
    kind: LossKind = LossKind.UNREADABLE
    window: UnknownWindow | None = None
