"""Renders a range of a file once more, exactly as it was rendered when it was sent.

The checkpoint says from which offset on a source was rendered how; the server's extents say where rendering began anew
(rule E20). So the result is what went over the wire, byte for byte. Must never keep the rendered bytes: only their
count and their CRC-32 are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from logferry import checksum
from logferry.client.files.line_reader import SourceFile
from logferry.model.render_spec import RenderSpec
from logferry.rendering.renderer import renderer

Renderings = Sequence[tuple[int, RenderSpec]]  # from which offset on, in order


@dataclass(slots=True)
class Rerendered:
    """How many lines of NDJSON a range of a file gives, their CRC-32, and how many lines were filtered away."""

    lines: int = 0
    crc32: int = 0
    filtered: int = 0


def rerender(file: SourceFile, end: int, renderings: Renderings, *, crc32: int = 0) -> Rerendered:
    """Render a file from its offset to `end`, or to its end if that comes first, and leave it there.

    The CRC-32 of the result goes on from `crc32`. Raises SourceError.
    """
    found = Rerendered(crc32=crc32)
    for piece_end, rendering in _pieces(file.offset, end, renderings):
        file.render_as(rendering)
        while file.offset < piece_end:
            chunk = file.read(limit=piece_end, is_final=True)
            if chunk is not None:
                rendered = renderer(chunk.rendering).render(
                    chunk.data, is_start=chunk.start == 0, truncated=chunk.truncated
                )
                found.lines += rendered.lines
                found.filtered += rendered.filtered
                found.crc32 = checksum.crc32(rendered.payload, found.crc32)
            elif not file.is_scanning:
                return found  # the file is shorter
    return found


def _pieces(start: int, end: int, renderings: Renderings) -> list[tuple[int, RenderSpec]]:
    """Return which rendering holds up to where between `start` and `end`; the first holds before its offset too."""
    begins = [offset for offset, _ in renderings[1:]]
    return [
        (min(until, end), rendering)
        for (_, rendering), until in zip(renderings, [*begins, end], strict=True)
        if until > start
    ]
