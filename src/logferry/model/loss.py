"""A loss: bytes of a source that can never be read."""

from dataclasses import dataclass

from logferry.model.source import Source


@dataclass(frozen=True, slots=True)
class Loss:
    """Bytes `[start, end)` of a source that can never be read."""

    source: Source
    start: int
    end: int
    reason: str
    is_wanted: bool = False  # somebody asked for it; nobody needs to be told
    is_replaced: bool = False  # the file has other bytes there by now, of the same source; they are read
    is_given_up: bool = False  # they could be read, but --max-held-bytes says not to
