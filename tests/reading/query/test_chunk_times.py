"""Parts of chunks that have no line of a span are cut off, and no line of the span with them."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from logferry import speedups
from logferry.reading.query.chunk_times import within
from logferry.reading.query.records import Record, record_of
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Chunk, Log, Received, Span
from tests.support.looking import clock, found, line, looking, store_lines
from tests.support.stores import opened

pytestmark = pytest.mark.skipif(speedups.compiled is None, reason="the compiled part cuts chunks")

DAY = 1_705_276_800_000


def span(since: int, until: int) -> Span:
    """Return a span of seconds of the day of the lines."""
    return Span(DAY + since * 1000, DAY + until * 1000)


def chunk_of(lines: Sequence[bytes], *, marks: Sequence[tuple[int, Received]]) -> Chunk:
    """Return lines that begin at byte 1000 of a segment."""
    return Chunk(Log("key", "a", "/app.log"), "a/app.log/2024-01-15-1.ndjson", 1000, b"".join(lines), marks)


def test_what_is_outside_a_span_is_cut_off_at_both_ends() -> None:
    lines = [line(f"m{number}", clock(number)) for number in range(10_000)]
    chunk = chunk_of(lines, marks=[(1000, Received(DAY, DAY + 10_000_000))])
    part = within(chunk, span(5000, 5010))
    assert len(part.data) < len(chunk.data) / 4
    assert b"".join(lines[5000:5010]) in part.data
    assert chunk.data[part.position - 1000 :].startswith(part.data)
    assert within(chunk, span(20_000, 30_000)).data == b""
    assert within(chunk, span(0, 10_000)) == chunk


@pytest.mark.parametrize(
    "other", [b'{"message": "no level"}\n', b"not JSON\n", line("no time"), line("odd", "yesterday")]
)
def test_a_chunk_with_lines_whose_times_are_not_known_stays_whole(other: bytes) -> None:
    lines = [line(f"m{number}", clock(number)) for number in range(5000)]
    chunk = chunk_of([*lines, other], marks=[(1000, Received(DAY, DAY + 10_000_000))])
    assert within(chunk, span(10, 20)) == chunk
    unknown = chunk_of(lines, marks=[(1000, Received(None, DAY))])
    assert within(unknown, span(10, 20)) == unknown


def test_a_search_in_a_span_finds_what_it_finds_without_cutting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    monkeypatch.setattr("logferry.reading.query.chunk_times._BLOCK_BYTES", 300)
    seconds = [min(max(number + chance.randrange(-40, 40), 0), 999) for number in range(1000)]
    with opened(tmp_path) as store:
        for host, without_time in (("a", 0.0), ("b", 0.02)):
            lines = [
                line(f"{host}{number}", "" if chance.random() < without_time else clock(second))
                for number, second in enumerate(seconds)
            ]
            store_lines(store, host, *(b"".join(lines[at : at + 100]) for at in range(0, 1000, 100)))
        for _ in range(5):
            since = chance.randrange(900)
            selection = Selection(span=span(since, since + chance.choice([1, 20, 300])))
            with looking(tmp_path) as logs:
                cut = [found(logs, selection, reverse=reverse) for reverse in (False, True)]
                with monkeypatch.context() as patch:
                    patch.setattr("logferry.reading.query.merging.within", lambda chunk, _: chunk)
                    assert cut == [found(logs, selection, reverse=reverse) for reverse in (False, True)]


def test_few_lines_outside_a_span_are_looked_at_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def parse(data: bytes) -> Record:
        parsed.append(data)
        return record_of(data)

    monkeypatch.setattr("logferry.reading.query.matching.record_of", parse)
    with opened(tmp_path) as store:
        store_lines(store, "a", b"".join(line(f"m{number}", clock(number), "ERROR") for number in range(5000)))
        with looking(tmp_path) as logs:
            wanted = Selection.of_words(levels=["error"], span=span(4000, 4010))
            assert found(logs, wanted) == [f"m{number}" for number in range(4000, 4010)]
    assert len(parsed) < 1000
