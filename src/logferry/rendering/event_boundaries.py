"""Where the events of a source begin and end, for those who read files: without the renderer, and without the formats.

A reader must hand over whole events, so it asks here which lines belong together. The renderer joins lines by the same
rule. Only formats whose lines say themselves what belongs together are imported here, and only when one is asked for.
"""

from functools import lru_cache

from logferry.model.format_names import JOINING_FORMATS
from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.events import EventBoundaries, EventJoiner
from logferry.rendering.multiline import Multiline
from logferry.rendering.registry import format_named

__all__ = ["EventBoundaries", "event_boundaries", "event_joiner"]


def event_boundaries(spec: RenderSpec) -> EventBoundaries | None:
    """Return where events begin and end in a source rendered as `spec` says; None if every line is an event.

    Raises ValueError that says what of `spec` cannot be used.
    """
    return event_joiner(spec)


def event_joiner(spec: RenderSpec) -> EventJoiner | None:
    """Return what joins the lines of events; None if every line is an event. Raises ValueError as above."""
    return _joiner(spec.format, spec.multiline, spec.multiline_max_lines, spec.multiline_max_bytes)


@lru_cache(maxsize=64)
def _joiner(format_name: str, multiline: str, max_lines: int, max_bytes: int) -> EventJoiner | None:
    joins_by_itself = format_name in JOINING_FORMATS
    if multiline and joins_by_itself:
        raise ValueError(f"lines of the format {format_name} cannot be joined by a pattern: they say what to join")
    if multiline:
        return Multiline(multiline, max_lines=max_lines, max_bytes=max_bytes)
    return format_named(format_name).event_joiner(max_bytes=max_bytes) if joins_by_itself else None
