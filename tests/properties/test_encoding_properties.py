"""Random text in every encoding, read in random steps, by random runs: the same records, no byte lost (rule F58)."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.readers.rerender import rerender
from logferry.model.chunk import Chunk
from logferry.model.encoding_names import RANGE_ENCODINGS
from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from logferry.rendering.encodings import encoding_named
from logferry.rendering.renderer import renderer
from tests.support.memory_reader import MemoryContent

# Characters of one to four bytes, and those that have the bytes of newlines in UTF-16.
_WIDE = st.text(st.sampled_from('ab \n\n\r\t{}"\u00e9\u0a0a\u0a00\u010a\u0d0a\ufeff\U0001f60a\U0001040a'), max_size=200)
_NARROW = st.text(st.sampled_from('ab \n\n\r\t{}"\u00e9\u00df'), max_size=200)
_STEPS = st.lists(st.integers(1, 60), max_size=30)
_MULTILINE = st.sampled_from(["", "a", "json"])


def spec_of(encoding: str, multiline: str = "") -> RenderSpec:
    return RenderSpec(multiline=multiline, skips_nuls=True, rules=CURRENT_RULES, encoding=encoding)


def read(data: bytes, spec: RenderSpec, steps: Sequence[int], restarts: Sequence[bool]) -> list[Chunk]:
    """Read a file that grows in these steps, by another client after some of them."""
    content, chunks, begin = MemoryContent(), list[Chunk](), 0
    ends = [*dict.fromkeys(min(sum(steps[: count + 1]), len(data)) for count in range(len(steps))), len(data)]
    file = SourceFile(Path("app.log"), max_line_bytes=1, content=content)
    file.render_as(spec)
    for number, end in enumerate(ends):
        content.append(data[begin:end])
        begin = end
        if number < len(restarts) and restarts[number]:
            offset, file = file.offset, SourceFile(Path("app.log"), max_line_bytes=1, content=content)
            file.render_as(spec)
            file.skip_to(offset)
        is_final = number == len(ends) - 1
        while (chunk := file.read(is_final=is_final)) or file.is_scanning:
            chunks += [chunk] if chunk else []
    assert file.offset == len(data)
    assert [chunk.end for chunk in chunks[:-1]] == [chunk.start for chunk in chunks[1:]]
    return chunks


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(RANGE_ENCODINGS), _STEPS, st.lists(st.booleans(), max_size=20), _MULTILINE)
def test_the_records_are_those_of_the_same_text_in_utf_8(
    data: st.DataObject, encoding: str, steps: list[int], restarts: list[bool], multiline: str
) -> None:
    text = data.draw(_WIDE if encoding.startswith("utf") else _NARROW)
    if multiline == "a":
        text += "\n"  # a pattern does not see a last line without a newline before the lines above it are shipped
    written, spec = text.encode(encoding), spec_of(encoding, multiline)
    with patch("logferry.client.files.lines.line_reader.CHUNK_BYTES", 1024):
        chunks = read(written, spec, steps, restarts)
    stored = b"".join(
        renderer(chunk.rendering).render(chunk.data, is_start=chunk.start == 0).payload for chunk in chunks
    )
    assert stored == renderer(spec_of("utf-8", multiline)).render(text.encode(), is_start=True).payload
    content = MemoryContent()
    content.append(written)
    with closing(SourceFile(Path("app.log"), max_line_bytes=1, content=content)) as file:
        found = rerender(file, len(written), [(0, spec)])
    assert found.lines == stored.count(b"\n")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([b"\n", b"\0", b"a\0", b"\0a", b"\n\0", b"\0\n", b"\x3d\xd8", b"\xd8\x3d", b"\x0a\xde"])),
    st.sampled_from(["utf-16-le", "utf-16-be"]),
    _STEPS,
    st.lists(st.booleans(), max_size=20),
)
def test_no_byte_of_a_file_that_is_hardly_utf_16_is_lost(
    parts: list[bytes], encoding: str, steps: list[int], restarts: list[bool]
) -> None:
    data = b"".join(parts)
    found = bytearray()
    for chunk in read(data, spec_of(encoding), steps, restarts):
        piece = data[chunk.start : chunk.end]
        _, written = encoding_named(encoding).written(chunk.data)
        assert len(written) + chunk.nuls == len(piece)
        assert written == piece if not chunk.nuls else written.replace(b"\0", b"") == piece.replace(b"\0", b"")
        found += piece
    assert bytes(found) == data
