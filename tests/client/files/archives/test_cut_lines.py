"""Lines that are known not to be whole: where an archive is truncated or damaged, and only there."""

import gzip
import json
import random
from pathlib import Path

import pytest

from logferry.client.files.archives.archive import open_content
from logferry.client.files.lines.line_reader import SourceFile
from logferry.model.chunk import Chunk
from logferry.model.render_spec import RenderSpec
from tests.client.files.archives.test_archive_formats import Format, every_format
from tests.support.events import judge
from tests.support.running import RunningServer
from tests.support.shipping import losses, once, shipping

SPECS = [RenderSpec(), RenderSpec(multiline=r"^\d", skips_nuls=True)]


def lines(count: int, seed: int = 0) -> bytes:
    generator = random.Random(seed)
    return b"".join(b"%d: %032x\n" % (number, generator.getrandbits(128)) for number in range(count))


def opened(path: Path, spec: RenderSpec) -> SourceFile:
    file = SourceFile(path, max_line_bytes=1, content=open_content(path))
    file.render_as(spec)
    return file


def read_all(file: SourceFile, *, limit: int | None = None) -> list[Chunk]:
    chunks: list[Chunk] = []
    while (chunk := file.read(limit=limit, is_final=True)) or file.is_scanning:
        chunks += [chunk] if chunk else []
    return chunks


def incomplete(chunks: list[Chunk]) -> list[bytes]:
    assert all(chunk.truncated for chunk in chunks if chunk.is_incomplete)
    return [chunk.data for chunk in chunks if chunk.is_incomplete]


@every_format
@pytest.mark.parametrize("spec", SPECS, ids=["lines", "events"])
def test_the_last_line_of_a_truncated_archive_is_incomplete_if_it_is_not_whole(
    tmp_path: Path, form: Format, spec: RenderSpec
) -> None:
    data, path = lines(40_000), tmp_path / "app.log"
    packed = form.compress(data)
    path.write_bytes(packed[: len(packed) * 2 // 3])
    file = opened(path, spec)
    chunks = read_all(file)
    found = b"".join(chunk.data for chunk in chunks)
    assert data.startswith(found)
    last = found[found.rfind(b"\n") + 1 :]
    assert incomplete(chunks) == ([last] if last else [])
    if last:  # as `verify` reads it: up to where the server says that a batch ends
        cut = chunks[-1]
        file.rewind(cut.start)
        assert incomplete(read_all(file, limit=cut.end)) == [last]
    file.close()


@every_format
@pytest.mark.parametrize("spec", SPECS, ids=["lines", "events"])
def test_the_line_before_a_damaged_place_is_incomplete_and_its_neighbours_are_whole(
    tmp_path: Path, form: Format, spec: RenderSpec
) -> None:
    path = tmp_path / "app.log"
    damaged = bytearray(form.compress(lines(40_000)))
    damaged[len(damaged) // 2 : len(damaged) // 2 + 20] = bytes(20)
    path.write_bytes(bytes(damaged) + form.compress(lines(10, seed=1)))
    file = opened(path, spec)
    chunks = read_all(file)
    file.close()
    found = b"".join(chunk.data for chunk in chunks)
    after = lines(10, seed=1)
    assert found.endswith(after)
    before = found.removesuffix(after)
    last = before[before.rfind(b"\n") + 1 :]
    assert incomplete(chunks) == ([last] if last else [])


@every_format
def test_the_last_line_of_a_whole_archive_needs_no_newline(tmp_path: Path, form: Format) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(form.compress(lines(100)[:-1]))
    file = opened(path, SPECS[0])
    assert incomplete(read_all(file)) == []
    file.close()


def test_an_incomplete_line_is_marked_counted_recorded_and_proven_as_it_is(
    tmp_path: Path, server: RunningServer
) -> None:
    path, packed = tmp_path / "app.log.gz", gzip.compress(lines(3000))
    path.write_bytes(packed[: len(packed) // 2])
    with shipping(path, server.port, **once(tmp_path)) as run:
        problems = run.result().problems
        assert run.counters.lines_incomplete == 1
        assert run.counters.lines_cut == 0
    assert any("1 lines are incomplete" in problem for problem in problems)
    *whole, cut = [json.loads(line) for line in server.stored_lines()]
    assert lines(3000).decode().splitlines()[: len(whole)] == [record["message"] for record in whole]
    assert not any("truncated" in record for record in whole)
    assert cut["truncated"] is True
    (note,) = losses(server)
    assert note.reason.startswith("incomplete")
    (verdict,) = judge(server.port, tmp_path / "state", path)
    assert verdict.stored == verdict.lines == len(whole) + 1
    assert (verdict.missing, verdict.altered, verdict.repeated) == ([], [], 0)
