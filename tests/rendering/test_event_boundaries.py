"""Where events begin and end, for readers of files: without the renderer and the formats."""

import subprocess
import sys

import pytest

from logferry.model.format_names import FORMATS, FormatName
from logferry.model.render_spec import RenderSpec
from logferry.rendering.container_events import ContainerEvents
from logferry.rendering.event_boundaries import event_boundaries, event_joiner
from logferry.rendering.multiline import Multiline
from logferry.rendering.partial_lines import PartialLines
from logferry.rendering.renderer import renderer
from tests.support.processes import ROOT

_IMPORTED = """
import sys
from logferry.model.render_spec import RenderSpec
from logferry.rendering.event_boundaries import event_boundaries
event_boundaries(RenderSpec(format="json", multiline="timestamp"))
print(*(name for name in sys.modules if name.startswith("logferry.rendering.")))
"""


def test_neither_the_renderer_nor_a_format_is_imported() -> None:
    command = [sys.executable, "-c", _IMPORTED]
    output = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, check=True).stdout
    found = output.split()
    assert "logferry.rendering.event_boundaries" in found
    assert not [
        name for name in found if name.startswith(("logferry.rendering.renderer", "logferry.rendering.formats"))
    ]


@pytest.mark.parametrize("name", ["cri", "docker", "cri+json", "docker+auto"])
def test_a_pattern_joins_what_containers_wrote(name: str) -> None:
    """Rule F48."""
    assert isinstance(event_boundaries(RenderSpec(format=name, multiline="timestamp")), ContainerEvents)
    assert isinstance(event_boundaries(RenderSpec(format=name)), PartialLines)
    for judge in (renderer, event_boundaries):
        with pytest.raises(ValueError, match="cannot use"):
            judge(RenderSpec(format=name, multiline="("))


def test_without_a_pattern_each_line_is_an_event() -> None:
    assert event_boundaries(RenderSpec()) is None
    assert event_boundaries(RenderSpec(format="regex:(?P<message>.*)")) is None


def test_a_pattern_joins_the_lines_of_any_other_format() -> None:
    for each in FORMATS:
        if not each.joins_lines:
            assert isinstance(event_joiner(RenderSpec(format=each.name, multiline="timestamp")), Multiline)


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)
def test_lines_are_joined_without_a_pattern_exactly_if_the_format_is_listed_as_joining(each: FormatName) -> None:
    assert (event_joiner(RenderSpec(format=each.name)) is not None) == each.joins_lines


def test_an_event_is_cut_at_the_limits_of_the_spec() -> None:
    data = b"x\n a\n b\nx\n"
    assert _sizes(data, RenderSpec(multiline="x")) == [8, 2]
    assert _sizes(data, RenderSpec(multiline="x", multiline_max_lines=2)) == [5, 3, 2]
    assert _sizes(data, RenderSpec(multiline="x", multiline_max_bytes=4)) == [2, 3, 3, 2]


def _sizes(data: bytes, spec: RenderSpec) -> list[int]:
    """Return the length of each event in bytes."""
    boundaries = event_boundaries(spec)
    assert boundaries is not None
    sizes = []
    while data:
        sizes.append(boundaries.bytes_of_groups(data, 1))
        data = data[sizes[-1] :]
    return sizes
