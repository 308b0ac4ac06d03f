"""Renders a range of a file again, exactly as it was rendered when it was sent.

The checkpoint records which rendering a source had from which offset on; the server's extents record where rendering
began anew (rule E20). So the result is what went over the wire, byte for byte. Must never keep the rendered bytes: only
the number of lines and their CRC-32 are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from logferry import checksum
from logferry.client.files.line_reader import SourceFile
from logferry.model.render_spec import RenderSpec
from logferry.rendering.renderer import renderer

Renderings = Sequence[tuple[int, RenderSpec]]  # each with the offset at which it begins, in order


@dataclass(slots=True)
class Rerendered:
    """How many lines of NDJSON a range of a file renders to, their CRC-32, and how many lines were filtered out."""

    lines: int = 0
    crc32: int = 0
    filtered: int = 0


def rerender(file: SourceFile, end: int, renderings: Renderings, *, crc32: int = 0) -> Rerendered:
    """Render a file from its offset to `end`, or to the end of the file if that comes first, and leave it there.

    The CRC-32 of the result continues `crc32`. Raises SourceError.
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
    """Return the renderings between `start` and `end`, each with its end; the first one holds before its offset too."""
    begins = [offset for offset, _ in renderings[1:]]
    return [
        (min(until, end), rendering)
        for (_, rendering), until in zip(renderings, [*begins, end], strict=True)
        if until > start
    ]
