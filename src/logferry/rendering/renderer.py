"""Renders chunks of raw lines as NDJSON (docs/protocol.md, rules F).

A renderer follows the render spec of a source. In this order, it joins lines into events, filters the events, redacts
them, has the format turn each event into a record, and adds the extra fields to every record.

It works on whole chunks and returns the same bytes as `reference.render_event` does for each event. Rendering is a pure
function of the bytes: the same chunk yields the same NDJSON on any machine, at any time. It must never depend on a
clock, a file, or anything rendered before. The one exception is a pattern of the user that is stopped (rule F36).
"""

from collections.abc import Iterable
from dataclasses import fields, replace
from functools import lru_cache
from operator import attrgetter
from typing import Final

from logferry.model.render_spec import RenderSpec
from logferry.protocol.lines.text import runs_by_validity
from logferry.rendering.encodings import encoding_named
from logferry.rendering.engine.ansi import without_ansi
from logferry.rendering.engine.escape import BOM, NEWLINE
from logferry.rendering.engine.events import EventJoiner, JoinedEvents
from logferry.rendering.engine.format import Rendered
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.extra_fields import ExtraFields
from logferry.rendering.filters import EventFilter
from logferry.rendering.redaction import Redactor
from logferry.rendering.reference import is_text, render_event
from logferry.rendering.registry import format_named

_NOTHING: Final = Rendered(b"", 0)
_columns: Final = attrgetter(*(field.name for field in fields(Rendered)))


class Renderer:
    """Renders the lines of one source. A renderer has no state, so any thread may use it at any time."""

    __slots__ = ("_events", "_extra_fields")

    def __init__(self, spec: RenderSpec) -> None:
        """Raises ValueError with the reason if the spec cannot be used."""
        self._events = _event_renderer(replace(spec, fields=()))
        self._extra_fields = ExtraFields(dict(spec.fields)) if spec.fields else None

    def render(self, data: bytes, *, is_start: bool = False, truncated: bool = False) -> Rendered:
        """Render a chunk of whole lines that ends where an event ends; only its last line may lack its newline.

        With `is_start`, the chunk is the beginning of its source, and the renderer drops a byte order mark there. With
        `truncated`, the chunk is the kept beginning of one line that was too long, and its record is marked
        `truncated`.
        """
        if truncated:
            rendered = self._events.render_alone(data.removeprefix(BOM) if is_start else data, truncated=True)
        else:
            rendered = self._events.render(data, is_start=is_start)
        if self._extra_fields and rendered.payload:
            return replace(rendered, payload=self._extra_fields.add_to(rendered.payload))
        return rendered


@lru_cache(maxsize=1024)
def renderer(spec: RenderSpec) -> Renderer:
    """Return the renderer for a spec. Raises ValueError with the reason if the spec cannot be used."""
    return Renderer(spec)


class _EventRenderer:
    """Everything a renderer does except for the extra fields; the specs of most sources differ only in these."""

    def __init__(self, spec: RenderSpec) -> None:
        self._format = format_named(spec.format, spec.rules).with_levels(spec.levels)
        self._encoding = encoding_named(spec.encoding)
        self._strips_ansi = spec.strip_ansi
        self._selection = None
        if spec.include or spec.exclude or spec.redact:
            self._selection = _Selection(spec)
        self._joiner = event_joiner(spec)

    def render(self, data: bytes, *, is_start: bool) -> Rendered:
        """Render whole lines; only the last may lack its newline."""
        if is_start and data == BOM:
            data = b""
        if data and not data.endswith(b"\n"):
            data += b"\n"
        joined = self._joiner.join(data) if self._joiner and data else JoinedEvents(data)
        if joined is None:
            assert self._joiner is not None
            return self._render_halves(self._joiner, data, is_start=is_start)
        if is_start and joined.data.startswith(BOM):
            joined = replace(joined, data=joined.data[len(BOM) :])
        if self._strips_ansi:
            joined = replace(joined, data=without_ansi(joined.data))
        return self._render_joined(joined)

    def render_alone(self, event: bytes, *, truncated: bool = False) -> Rendered:
        """Render one event, without its last newline, or the kept beginning of a line."""
        redacted = 0
        if self._strips_ansi:
            event = without_ansi(event)
        if self._selection:
            text = event.decode("utf-8", "surrogateescape")
            kept, redacted = self._selection.apply([text if truncated else (text + "\n").replace("\r\n", "\n")[:-1]])
            if not kept:
                return Rendered(b"", 0, filtered=1)
            event = kept[0].encode("utf-8", "surrogateescape")
        payload = render_event(self._format, event, truncated=truncated, encoding=self._encoding)
        if payload is None:
            return Rendered(b"", 0, blank=1)
        return Rendered(payload, 1, undecodable=int(not is_text(event)), redacted=redacted)

    def _render_joined(self, joined: JoinedEvents) -> Rendered:
        data, filtered, redacted = joined.data, 0, 0
        if self._selection:
            data, filtered, redacted = self._selection.apply_to_chunk(joined)
        parts = [
            self._format.render(data[start:end], joined.inner_newline)
            if is_valid
            else self._render_undecodable(data[start : end - 1].replace(joined.inner_newline, NEWLINE))
            for is_valid, start, end in runs_by_validity(data)
        ]
        found = parts[0] if len(parts) == 1 else _sum([_NOTHING, *parts])
        if joined.joined or joined.blank or filtered or redacted:
            blank = found.blank + joined.blank
            return replace(found, blank=blank, joined=joined.joined, filtered=filtered, redacted=redacted)
        return found

    def _render_undecodable(self, event: bytes) -> Rendered:
        payload = render_event(self._format, event, encoding=self._encoding)
        assert payload is not None
        return Rendered(payload, 1, undecodable=1)

    def _render_halves(self, joiner: EventJoiner, data: bytes, *, is_start: bool) -> Rendered:
        """Render lines that contain every byte that could stand for an inner newline: garbage.

        Either half of the lines may lack such a byte, and a single group does not need one.
        """
        middle = data.find(b"\n", len(data) // 2, -1) + 1
        place = joiner.complete_bytes(data[:middle]) or joiner.bytes_of_groups(data, 1)
        if place < len(data):
            first = self.render(data[:place], is_start=is_start)
            return _sum([first, self.render(data[place:], is_start=False)])
        kept = data[: data.find(b"\n", len(data.rstrip()))]  # without the blank lines at the end of the event
        joined = kept.count(b"\n")
        found = self.render_alone(kept.removeprefix(BOM) if is_start else kept)
        return replace(found, joined=joined, blank=found.blank + data.count(b"\n") - joined - 1)


class _Selection:
    """Selects and redacts the events of a source: the filters choose events first, then the redactor changes them."""

    def __init__(self, spec: RenderSpec) -> None:
        self._filter = EventFilter(include=spec.include, exclude=spec.exclude)
        self._redactor = Redactor(spec.redact)

    def apply(self, events: list[str]) -> tuple[list[str], int]:
        """Return the remaining events and the number of replaced pieces of text."""
        kept = self._filter.kept(events)
        return kept, self._redactor.redact(kept)

    def apply_to_chunk(self, joined: JoinedEvents) -> tuple[bytes, int, int]:
        """Return what remains of a chunk, the number of events filtered out, and the number of replaced pieces."""
        inner_newline = joined.inner_newline
        data = joined.data
        if b"\r" in data:  # to search for two bytes takes as long as to render
            data = data.replace(b"\r" + inner_newline, inner_newline).replace(b"\r\n", b"\n")
        data, filtered = self._filter.select(data, inner_newline)
        data, redacted = self._redactor.redact_joined(data, inner_newline)
        return data, filtered, redacted


def _sum(parts: Iterable[Rendered]) -> Rendered:
    """Return the parts as one: their payloads concatenated, their counts added."""
    payloads, *counts = zip(*map(_columns, parts), strict=True)
    return Rendered(b"".join(payloads), *map(sum, counts))


@lru_cache(maxsize=64)
def _event_renderer(spec: RenderSpec) -> _EventRenderer:
    return _EventRenderer(spec)
