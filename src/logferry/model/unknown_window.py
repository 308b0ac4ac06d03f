"""An unknown window: a time in which bytes may have been written to a file that nobody saw, and that are gone now."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnknownWindow:
    """Bytes may have been written at or after `offset` of a source between `last_look` and `noticed_at` (Unix times).

    The source is read and stored up to `offset`, as far as its client knows.
    """

    source: str
    path: str
    offset: int
    last_look: float
    noticed_at: float
    reason: str
