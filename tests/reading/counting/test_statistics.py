"""Stored lines are counted as `search` finds them: by their times, levels, hosts and patterns."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.reading.counting.statistics import By, Row, statistics_of
from logferry.reading.query.search import search
from logferry.reading.query.selection import Selection
from logferry.reading.stored import EVER, Chunk, Log, LogSize, Looked, Received, Span
from tests.support.looking import line, looking, three_hosts

_DAY: Final = 1_705_276_800_000  # 2024-01-15
_RECEIVED: Final = Received(_DAY + 3_600_000, _DAY + 3_660_000)


class MemoryLogs:
    """Some chunks, as a store yields them; only what counting and searching use."""

    def __init__(self, *chunks: Chunk) -> None:
        self.looked = Looked()
        self._chunks = chunks

    def logs(self) -> Sequence[Log]:
        return sorted({chunk.log for chunk in self._chunks})

    def sizes(self) -> Sequence[tuple[Log, LogSize]]:
        raise AssertionError("nobody asks for sizes")

    def newest(self, log: Log) -> int | None:
        return None

    def chunks(self, log: Log, span: Span = EVER, *, backward: bool = False, **_: Any) -> Iterator[Chunk]:
        found = [chunk for chunk in self._chunks if chunk.log == log]
        return iter(found[::-1] if backward else found)


def chunk_of(host: str, *lines: bytes, marks: Sequence[tuple[int, Received]] = ((0, _RECEIVED),)) -> Chunk:
    return Chunk(Log(host, host, "/srv/app.log"), f"{host}/2024-01-15-1.ndjson", 0, b"".join(lines), marks)


def counted(stored: Any, by: By, selection: Selection | None = None, **options: Any) -> dict[Any, int]:
    return {row.key: row.count for row in statistics_of(stored, selection or Selection(), by, **options).rows}


def test_lines_are_counted_by_minute_and_hour() -> None:
    stored = MemoryLogs(
        chunk_of(
            "a", line("x", "2024-01-15T08:23:45Z"), line("x", "2024-01-15T08:23:59Z"), line("x", "2024-01-15T09:00:00Z")
        )
    )
    eight = _DAY + 8 * 3_600_000
    assert counted(stored, By.MINUTE) == {eight + 23 * 60_000: 2, eight + 3_600_000: 1}
    assert counted(stored, By.HOUR) == {eight: 2, eight + 3_600_000: 1}


def test_a_line_without_a_timestamp_counts_for_the_line_before_it_or_its_receipt() -> None:
    later = Received(_DAY + 7_200_000, _DAY + 7_200_000)
    lines = [line("a"), line("b", "2024-01-15T08:23:45Z"), line("  at c"), line("d")]
    stored = MemoryLogs(chunk_of("a", *lines, marks=[(0, _RECEIVED), (sum(map(len, lines[:3])), later)]))
    assert counted(stored, By.MINUTE) == {
        _DAY + 3_660_000: 1,
        _DAY + 8 * 3_600_000 + 23 * 60_000: 2,
        _DAY + 7_200_000: 1,
    }


@pytest.mark.parametrize("selection", [Selection(), Selection.of_words(levels=["error"])])
def test_a_line_with_a_timestamp_that_means_no_time_counts_as_search_finds_it(selection: Selection) -> None:
    times = ["", "tomorrow", "2024-01-15T08:23:45Z", "32/13/9999", "", "2024-01-15T08:25:45Z", "99:99:99"]
    lines = [line(f"m{number}", time, "ERROR" if number % 2 else "INFO") for number, time in enumerate(times)]
    for chosen in (lines, lines[:2]):
        stored: Any = MemoryLogs(chunk_of("a", *chosen))
        assert counted(stored, By.MINUTE, selection) == Counter(
            each.time // 60_000 * 60_000 for each in search(stored, selection)
        )


def test_a_selection_may_begin_and_end_within_a_minute() -> None:
    lines = [line("x", f"2024-01-15T08:0{second // 60}:{second % 60:02d}Z") for second in range(0, 300, 10)]
    eight = _DAY + 8 * 3_600_000
    selection = Selection(span=Span(eight + 30_000, eight + 130_000))
    assert counted(MemoryLogs(chunk_of("a", *lines)), By.MINUTE, selection) == {
        eight: 3,
        eight + 60_000: 6,
        eight + 120_000: 1,
    }


def test_rows_have_the_hosts_levels_and_patterns_that_most_lines_have() -> None:
    stored: Any = MemoryLogs(
        chunk_of("a", line("order 1 paid", "2024-01-15T08:23:45Z")),
        chunk_of("b", *(line(f"order {n} failed", "2024-01-15T08:23:45Z", "ERROR") for n in range(3))),
    )
    (row,) = statistics_of(stored, Selection(), By.MINUTE, with_patterns=True).rows
    assert row == Row(
        _DAY + 8 * 3_600_000 + 23 * 60_000,
        4,
        [("b", 3), ("a", 1)],
        [("order <n> failed", 3), ("order <n> paid", 1)],
        {"ERROR": 3, "INFO": 1},
    )


def test_lines_are_counted_by_level_host_file_and_pattern() -> None:
    stored = MemoryLogs(
        chunk_of("a", line("one 1", "", "info"), line("one 2", "", "INFO")),
        chunk_of("b", line(r"a \"b\" c", "", "WARN")),
    )
    only_levels = Selection.of_words(levels=["info,warn"])
    assert counted(stored, By.LEVEL) == {"INFO": 2, "WARN": 1}
    assert counted(stored, By.HOST, only_levels) == {"a": 2, "b": 1}
    assert counted(stored, By.FILE, only_levels) == {("a", "/srv/app.log"): 2, ("b", "/srv/app.log"): 1}
    assert counted(stored, By.PATTERN) == {"one <n>": 2, "a <text> c": 1}


def test_texts_and_levels_select_lines() -> None:
    stored = MemoryLogs(chunk_of("a", line("order 1", "", "ERROR"), line("order 2"), line("other", "", "ERROR")))
    assert counted(stored, By.LEVEL, Selection(texts=("order",))) == {"ERROR": 1, "INFO": 1}
    assert counted(stored, By.PATTERN, Selection.of_words(levels=["error"], texts=("order",))) == {"order <n>": 1}
    assert counted(stored, By.LEVEL, Selection(texts=("order",), inverted=True)) == {"ERROR": 1}


_times = st.sampled_from(["", "", "2024-01-15T08:23:45Z", "2024-01-15 08:24:10+00:00", "2024-01-15T08:24:59.999Z"])
_lines = st.lists(
    st.builds(line, st.sampled_from(["a 1", "b"]), _times, st.sampled_from(["INFO", "ERROR", "warn"])),
    min_size=1,
    max_size=8,
)
_spans = st.sampled_from(
    [EVER, Span(_DAY + 30_239_000, None), Span(None, _DAY + 30_240_000), Span(_DAY + 30_245_000, _DAY + 30_299_500)]
)


@given(_lines, _lines, _spans, st.sampled_from([(), ("a",)]), st.sampled_from([[], ["error"]]), st.integers(0, 8))
def test_counts_are_those_of_the_lines_that_a_search_finds(
    first: list[bytes], second: list[bytes], span: Span, texts: tuple[str, ...], levels: list[str], mark: int
) -> None:
    later = Received(_DAY + 40_000_000, _DAY + 40_020_000)
    marks = [(0, _RECEIVED), (sum(map(len, first[:mark])), later)] if 0 < mark < len(first) else [(0, _RECEIVED)]
    stored: Any = MemoryLogs(chunk_of("a", *first, marks=marks), chunk_of("b", *second))
    selection = Selection.of_words(levels=levels, texts=texts, span=span)
    found = list(search(stored, selection))
    assert counted(stored, By.MINUTE, selection) == Counter(each.time // 60_000 * 60_000 for each in found)
    assert counted(stored, By.LEVEL, selection) == Counter(each.record.level.upper() for each in found)


def test_a_store_knows_how_many_lines_its_hosts_and_files_have(tmp_path: Path) -> None:
    with three_hosts(tmp_path) as _, looking(tmp_path) as stored:
        assert counted(stored, By.HOST) == {"a": 10, "b": 10, "c": 10}
        assert counted(stored, By.FILE, Selection(hosts=("a",))) == {("a", ""): 10}
        assert stored.looked.bytes == 0
        assert counted(stored, By.LEVEL) == {"INFO": 25, "ERROR": 5}
        assert stored.looked.bytes > 0


def test_a_count_ends_when_its_caller_stops_it() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    stored: Any = MemoryLogs(chunk_of("a", line("x")))
    with pytest.raises(KeyboardInterrupt):
        statistics_of(stored, Selection(), By.LEVEL, stop=stop)


def test_what_counting_a_chunk_raises_is_raised_to_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("logferry.reading.counting.chunk_counting.count_lines", fail)
    stored: Any = MemoryLogs(*(chunk_of("a", line("x")) for _ in range(9)))
    with pytest.raises(MemoryError):
        statistics_of(stored, Selection(), By.LEVEL)
