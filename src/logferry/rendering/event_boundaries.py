"""Finds where the events of a source begin and end, for readers of files: without the renderer and the formats.

A reader must hand over whole events, so it asks this module which lines belong together. The renderer joins lines by
the same rule. This module must never import a format, except for one that joins its own lines, when it is requested.
"""

from functools import lru_cache
from typing import Any

from logferry.model.format_names import joins_lines
from logferry.model.render_spec import EVENTS_ARE_JSON_OBJECTS, RenderSpec
from logferry.rendering.container_events import ContainerEvents
from logferry.rendering.container_objects import ContainerObjects
from logferry.rendering.engine.events import EventBoundaries, EventJoiner, JoiningFormat
from logferry.rendering.json_objects import JsonObjects
from logferry.rendering.multiline import Multiline
from logferry.rendering.partial_lines import PartialLines
from logferry.rendering.registry import format_named

__all__ = ["EventBoundaries", "event_boundaries", "event_joiner"]


def event_boundaries(spec: RenderSpec) -> EventBoundaries | None:
    """Return the rule for where events begin and end under `spec`; None if every line is an event.

    Raises ValueError with the reason if `spec` cannot be used.
    """
    return event_joiner(spec)


def event_joiner(spec: RenderSpec) -> EventJoiner | None:
    """Return the joiner of the lines of events; None if every line is an event. Raises ValueError as above."""
    return _joiner(spec.format, spec.rules, spec.multiline, spec.multiline_max_lines, spec.multiline_max_bytes)


@lru_cache(maxsize=64)
def _joiner(format_name: str, rules: int, multiline: str, max_lines: int, max_bytes: int) -> EventJoiner | None:
    is_json = multiline == EVENTS_ARE_JSON_OBJECTS and rules > 1
    if joins_lines(format_name):
        runtime: Any = format_named(format_name, rules)  # a `Runtime`, or a `JoiningFormat`
        if isinstance(runtime, JoiningFormat):
            return runtime.event_joiner(max_lines=max_lines, max_bytes=max_bytes)
        if is_json:
            return ContainerObjects(runtime.part_syntax(), max_lines=max_lines, max_bytes=max_bytes)
        if multiline:
            return ContainerEvents(runtime.part_syntax(), multiline, max_lines=max_lines, max_bytes=max_bytes)
        return PartialLines(runtime.part_syntax(), max_bytes)
    if is_json:
        return JsonObjects(max_lines=max_lines, max_bytes=max_bytes)
    return Multiline(multiline, max_lines=max_lines, max_bytes=max_bytes) if multiline else None
