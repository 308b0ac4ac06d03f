"""Renders a range of a file again, exactly as it was rendered when it was sent.

The checkpoint records which rendering a source had from which offset on; the server's extents record where rendering
began anew (rule E20). So the result is what went over the wire, byte for byte. What was sent shortly before a client
was killed is in no checkpoint, and an earlier version may have sent it, or `--format auto` may have changed its mind:
then all rules are tried, and all formats that the lines show. Must never keep the rendered bytes of more than one
chunk.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from logferry import checksum
from logferry.client.files.lines.format_choice import formats_shown
from logferry.client.files.lines.header_lines import headers_of
from logferry.client.files.lines.line_reader import SourceFile
from logferry.model.chunk import Chunk
from logferry.model.encoding_names import RANGE_ENCODINGS, UTF_8
from logferry.model.format_names import CURRENT_RULES, has_header, joins_lines
from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.user_patterns import rendering_again
from logferry.rendering.renderer import renderer

Renderings = Sequence[tuple[int, RenderSpec]]  # each with the offset at which it begins, in order


@dataclass(slots=True)
class Rerendered:
    """What a range of a file renders to: lines of NDJSON, their CRC-32, and how many lines were filtered out.

    `file_lines` is how many lines the range has in the file, blank and joined lines included; `nuls` counts the bytes
    of holes.
    """

    lines: int = 0
    crc32: int = 0
    filtered: int = 0
    file_lines: int = 0
    nuls: int = 0


def do_nothing() -> None:
    """Do nothing between two chunks."""


def rerender(
    file: SourceFile,
    end: int,
    renderings: Renderings,
    *,
    crc32: int = 0,
    between: Callable[[], object] = do_nothing,
) -> Rerendered:
    """Render a file from its offset to `end`, or to the end of the file if that comes first, and leave it there.

    The CRC-32 of the result continues `crc32`; `between` is called after each chunk, and may raise to end this.
    Raises SourceError.
    """
    found = Rerendered(crc32=crc32)
    for chunk in chunks_up_to(file, end, renderings):
        rendered = rendered_chunk(chunk)
        found.lines += rendered.lines
        found.filtered += rendered.filtered
        found.crc32 = checksum.crc32(rendered.payload, found.crc32)
        found.file_lines += lines_in(chunk)
        found.nuls += chunk.nuls
        between()
    return found


def rerender_as_stored(
    file: SourceFile,
    end: int,
    renderings: Renderings,
    stored: tuple[int, int],
    *,
    between: Callable[[], object] = do_nothing,
) -> Rerendered:
    """Render a range as `rerender` does; if the result is not what is stored (its lines, its CRC-32), in other ways.

    If none of these gives what is stored, the result is that of the renderings as they are. Raises SourceError.
    """
    start = file.offset
    found = rerender(file, end, renderings, between=between)
    if (found.lines, found.crc32) == stored:
        return found
    for others in other_renderings(file, renderings):
        file.rewind(start)
        other = rerender(file, end, others, between=between)
        if (other.lines, other.crc32) == stored:
            return other
    return found


def other_renderings(file: SourceFile, renderings: Renderings) -> Iterator[Renderings]:
    """Yield the other ways in which a range may have been rendered, for one that is in no checkpoint.

    A batch of another format, or by other rules, begins another extent: all of an extent was rendered alike.
    """
    return chain(
        _by_other_rules(renderings),
        _by_headers(file, renderings),
        _in_other_formats(file, renderings),
        _in_other_encodings(renderings),
    )


def _by_headers(file: SourceFile, renderings: Renderings) -> Iterator[Renderings]:
    """Yield the renderings that the headers of a file give to its lines, if its format has any."""
    latest = renderings[-1][1]
    if not has_header(latest.format):
        return
    try:
        found = headers_of(file, file.readable_end)
    except OSError:  # rendering the range fails, too, and says why
        return
    yield [(start, replace(latest, format=name, rules=CURRENT_RULES)) for start, name in found]


def _in_other_formats(file: SourceFile, renderings: Renderings) -> Iterator[Renderings]:
    """Yield renderings in the formats that the lines of a file show (`--format auto`)."""
    latest = renderings[-1][1]
    file.render_as(latest)
    try:
        shown = formats_shown(file, levels=latest.levels, strips_ansi=latest.strip_ansi)
    except OSError:  # rendering the range fails, too, and says why
        return
    for name in shown:
        multiline = "" if joins_lines(name) else latest.multiline
        others = [(0, replace(latest, format=name, rules=CURRENT_RULES, multiline=multiline))]
        if others != list(renderings):
            yield others


def _in_other_encodings(renderings: Renderings) -> Iterator[Renderings]:
    """Yield the renderings in all other encodings: the user may have changed the setting."""
    latest = renderings[-1][1]
    for name in RANGE_ENCODINGS:
        if name != latest.encoding:
            yield [(0, replace(latest, encoding=name))]


def _by_other_rules(renderings: Renderings) -> Iterator[Renderings]:
    """Yield the renderings by all other rules that this version knows, the newest first."""
    for rules in range(CURRENT_RULES, 0, -1):
        others = [(start, _by_rules(spec, rules)) for start, spec in renderings]
        if others != list(renderings):
            yield others


def _by_rules(spec: RenderSpec, rules: int) -> RenderSpec:
    """Return a spec by other rules. A version that had none but the first ones knew of no encoding."""
    return replace(spec, rules=rules, encoding=spec.encoding if rules > 1 else UTF_8)


def chunks_up_to(file: SourceFile, end: int, renderings: Renderings) -> Iterator[Chunk]:
    """Read a file from its offset to `end`, in chunks for the rendering of each range. Raises SourceError."""
    for piece_end, rendering in _pieces(file.offset, end, renderings):
        file.render_as(rendering)
        while file.offset < piece_end:
            with rendering_again():
                chunk = file.read(limit=piece_end, is_final=True)
            if chunk is not None:
                yield chunk
            elif not file.is_scanning:
                return  # the file is shorter


def rendered_chunk(chunk: Chunk) -> Rendered:
    """Return what a chunk that was rendered before renders to."""
    with rendering_again():
        return renderer(chunk.rendering).render(chunk.data, is_start=chunk.start == 0, truncated=chunk.truncated)


def lines_in(chunk: Chunk) -> int:
    """Return how many lines of the file a chunk covers; only its last line may lack its newline."""
    if chunk.truncated:
        return 1
    return chunk.data.count(b"\n") + bool(chunk.data and not chunk.data.endswith(b"\n"))


def _pieces(start: int, end: int, renderings: Renderings) -> list[tuple[int, RenderSpec]]:
    """Return the renderings between `start` and `end`, each with its end; the first one holds before its offset too."""
    begins = [offset for offset, _ in renderings[1:]]
    return [
        (min(until, end), rendering)
        for (_, rendering), until in zip(renderings, [*begins, end], strict=True)
        if until > start
    ]
