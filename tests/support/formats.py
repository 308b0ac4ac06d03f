"""What the tests of formats share: rendering both ways, and samples with what becomes of them."""

import json
from pathlib import Path
from typing import Any, Final

from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import PLAIN, RenderSpec
from logferry.rendering.engine.format import Rendered
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.reference import render_event
from logferry.rendering.registry import format_named
from logferry.rendering.renderer import renderer

SAMPLES: Final = Path(__file__).parent / "samples"


def render(data: bytes, *, is_start: bool = False, truncated: bool = False) -> Rendered:
    """Render a chunk in the plain format: see Renderer."""
    return renderer(PLAIN).render(data, is_start=is_start, truncated=truncated)


def render_line(line: bytes, *, truncated: bool = False) -> bytes | None:
    """Render one line in the plain format, without its newline, as the reference says; None for a blank one."""
    return render_event(format_named(PLAIN.format), line, truncated=truncated)


def render_both_ways(name: str, data: bytes) -> Rendered:
    """Render whole lines in the format of that name; line by line, the plain way, must give the same.

    Lines that belong together are joined first on both ways.
    """
    rendered = renderer(RenderSpec(format=name, rules=CURRENT_RULES)).render(data)
    format_ = format_named(name)
    joiner = event_joiner(RenderSpec(format=name, rules=CURRENT_RULES))
    joined = joiner.join(data) if joiner else None
    events = (joined.data if joined else data).split(b"\n")[:-1]
    if joined and joined.inner_newline != b"\n":
        events = [event.replace(joined.inner_newline, b"\n") for event in events]
    one_by_one = [render_event(format_, event) for event in events]
    assert rendered.payload == b"".join(record for record in one_by_one if record is not None)
    assert rendered.lines == rendered.payload.count(b"\n")
    assert rendered.lines + rendered.blank + rendered.joined == data.count(b"\n")
    return rendered


def records(name: str, *lines: str | bytes) -> list[dict[str, Any]]:
    """Return the records that lines, given without newlines, become."""
    data = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
    return [json.loads(record) for record in render_both_ways(name, data).payload.splitlines()]


def record(name: str, line: str | bytes) -> dict[str, Any]:
    """Return the record that one line becomes."""
    (only,) = records(name, line)
    return only


def unknown(message: str) -> dict[str, object]:
    """Return the record of a line that is not as its format wants it (rule F5)."""
    return {"level": "UNKNOWN", "message": message, "timestamp": None}


def check_sample(name: str, sample: str) -> None:
    """A sample must become, byte for byte, what the file beside it says."""
    data = (SAMPLES / f"{sample}.log").read_bytes()
    assert render_both_ways(name, data).payload == (SAMPLES / f"{sample}.ndjson").read_bytes()
