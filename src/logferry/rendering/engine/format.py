"""Defines what a log format is, and the record of an event that does not match its format.

A format is an object without state. It sees *events*: mostly single lines, or several lines that were joined
(`--multiline`, the parts of a long line in a container's log). Events are valid UTF-8, already filtered and redacted.

A format renders events in two ways. `record_of` is the reference, for one event; `render` takes a whole chunk of
events, one per line, and must return the same bytes. `render` skips and counts blank events; `record_of` gets none.

The keys `level`, `message` and `timestamp` come first, in this order (a JSON line keeps its own order).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from logferry.rendering.engine.escape import to_json, without_blank_lines
from logferry.rendering.engine.levels import UNKNOWN


@dataclass(frozen=True, slots=True)
class Rendered:
    """NDJSON for `lines` events, and what happened to all other lines.

    `blank` lines were skipped; `undecodable` events are among `lines` and carry their bytes in `raw`; `joined` lines
    are part of the event before them; `filtered` events were left out; `redacted` pieces of text were replaced.
    lines + blank + joined + filtered is the number of input lines.
    """

    payload: bytes
    lines: int
    blank: int = 0
    undecodable: int = 0
    joined: int = 0
    filtered: int = 0
    redacted: int = 0


class Format(ABC):
    """One format. `name` is what `--format` calls it."""

    name: str

    @abstractmethod
    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """Render events of valid UTF-8, one per line, each ended by a newline.

        `inner_newline` is the byte that stands for newlines inside events; a newline if events contain none.
        """

    @abstractmethod
    def record_of(self, text: str) -> str:
        """Return the record of the text of one event: a JSON object in one line, with `level` and `message`."""

    def recognises(self, text: str) -> bool:
        """Whether the text of one event definitely has this format (`--format auto`)."""
        return self.record_of(text) != to_json(unknown_fields(text))

    def is_typical(self, text: str) -> bool:
        """Whether the text of one event has this format, and no format that reads more from it.

        Only a format that fits the lines of other formats needs to define this.
        """
        return self.recognises(text)

    def with_levels(self, levels: tuple[str, ...]) -> "Format":
        """Return the format in which these words are levels, too, if it looks for levels in the text of a line."""
        del levels
        return self


BEFORE_UNKNOWN: Final = b'{"level": "%b", "message": "' % UNKNOWN.encode()
AFTER_UNKNOWN: Final = b'", "timestamp": null}\n'


def unknown_fields(text: str) -> dict[str, object]:
    """Return the record of an event that does not match its format (rule F5)."""
    return {"level": UNKNOWN, "message": text, "timestamp": None}


def render_unknown(escaped: bytes) -> Rendered:
    """Render escaped events that do not match their format: each becomes a message as a whole."""
    escaped, blank = without_blank_lines(escaped, is_escaped=True)
    if not escaped:
        return Rendered(b"", 0, blank)
    body = escaped[:-1].replace(b"\n", AFTER_UNKNOWN + BEFORE_UNKNOWN)
    return Rendered(BEFORE_UNKNOWN + body + AFTER_UNKNOWN, escaped.count(b"\n"), blank)
