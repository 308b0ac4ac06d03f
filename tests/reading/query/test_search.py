"""Lines of several logs in the order of time: the last ones, all, from a place on, and with those around them."""

import os
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from logferry.errors import StoreError
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.query.search import search
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Place, Span, UnknownPlace, place_at
from tests.support.looking import clock, found, line, looking, store_lines, three_hosts
from tests.support.stores import opened

ALL = [f"m{number}" for number in range(30)]


def at(seconds: int) -> int:
    """Return the time of a second of the day of the lines."""
    return 1_705_276_800_000 + seconds * 1000


def test_lines_are_merged_by_time_in_both_directions(tmp_path: Path) -> None:
    with three_hosts(tmp_path, segment_bytes=400), looking(tmp_path) as logs:
        assert found(logs) == ALL
        assert found(logs, reverse=True) == ALL[::-1]
        assert found(logs, limit=4) == ALL[-4:]
        assert found(logs, limit=4, reverse=True) == ALL[:-5:-1]
        assert found(logs, Selection(hosts=("b",)), limit=2) == ["m25", "m28"]
        assert found(logs, limit=0) == []


def test_many_last_lines_are_found_without_keeping_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.reading.query.search._MOST_KEPT_LINES", 5)
    with three_hosts(tmp_path, segment_bytes=400), looking(tmp_path) as logs:
        assert found(logs, limit=20) == ALL[-20:]
        assert found(logs, Selection.of_words(levels=["error"]), limit=7) == ["m0", "m7", "m14", "m21", "m28"]


def test_lines_without_a_time_stay_behind_the_line_before_them(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_lines(store, "a", line("one", clock(1)), line("at x"), line("at y"), line("two", clock(4)))
        store_lines(store, "b", line("other", clock(2)), line("more", clock(3)))
        with looking(tmp_path) as logs:
            expected = ["one", "at x", "at y", "other", "more", "two"]
            assert found(logs) == expected
            assert found(logs, reverse=True) == expected[::-1]
            assert [each.has_event_time for each in search(logs, Selection(hosts=("a",)))] == [True, False, False, True]


def test_a_line_that_has_just_come_was_received_before_its_file_changed_last(tmp_path: Path) -> None:
    with opened(tmp_path, today=lambda: datetime.now(UTC).date()) as store:
        store_lines(store, "a", line("one"))
        (file,) = (tmp_path / "segments/a").rglob("*.ndjson")
        changed = -(-file.stat().st_mtime_ns // 1_000_000)
        with looking(tmp_path) as logs:
            (found,) = search(logs, Selection())
            assert (found.time, found.received.last, found.has_event_time) == (changed, changed, False)
        os.utime(file, (0, 0))
        with looking(tmp_path) as logs:
            (found,) = search(logs, Selection(span=Span(found.received.first, None)))
            assert found.received.first == found.received.last


@pytest.mark.parametrize("left", [0, 10, 400, 950])
def test_a_segment_that_has_lost_its_end_is_read_as_far_as_it_goes(tmp_path: Path, left: int) -> None:
    with opened(tmp_path) as store:
        store_lines(store, "a", *(line(f"m{number:02d}", clock(number)) for number in range(14)))
    (file,) = (tmp_path / "segments/a").rglob("*.ndjson")
    file.write_bytes(file.read_bytes()[:left])
    whole = file.read_bytes().count(b"\n")
    with looking(tmp_path) as logs:
        assert found(logs, reverse=True) == [f"m{number:02d}" for number in reversed(range(whole))]
        assert found(logs, limit=2) == found(logs)[-2:]
        assert logs.looked.unreadable


def test_a_span_has_its_beginning_and_not_its_end(tmp_path: Path) -> None:
    with three_hosts(tmp_path), looking(tmp_path) as logs:
        assert found(logs, Selection(span=Span(at(10), at(13)))) == ["m10", "m11", "m12"]
        assert found(logs, Selection(span=Span(at(27), None))) == ["m27", "m28", "m29"]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_search_goes_on_behind_any_place(tmp_path: Path, *, reverse: bool) -> None:
    order = ALL[::-1] if reverse else ALL
    with three_hosts(tmp_path, segment_bytes=400), looking(tmp_path) as logs:
        for number, each in enumerate(search(logs, Selection(), reverse=reverse)):
            place = place_at(str(each.place))
            assert found(logs, reverse=reverse, after=place, limit=3) == order[number + 1 : number + 4]
        for unknown in (Place("a/plain/2024-01-15-99.ndjson", 0), Place(each.place.segment, 1), Place("../x", 0)):
            with pytest.raises(UnknownPlace):
                found(logs, after=unknown)
        for text in ("", "x", "x:", ":5", "x:-1", "x:9999999999999999999", "x:٣"):
            with pytest.raises(UnknownPlace):
                place_at(text)


def test_context_is_of_the_same_log_and_each_line_comes_once(tmp_path: Path) -> None:
    with three_hosts(tmp_path, segment_bytes=400), looking(tmp_path) as logs:
        errors = Selection.of_words(levels=["error"], hosts=("a",))
        lines = list(search(logs, errors, before_lines=1, after_lines=2))
        assert [each.record.message for each in lines] == ["m0", "m3", "m6", "m18", "m21", "m24", "m27"]
        assert [each.record.message for each in lines if not each.is_context] == ["m0", "m21"]
        backward = list(search(logs, errors, before_lines=1, after_lines=2, reverse=True))
        assert [each.place for each in backward] == [each.place for each in lines][::-1]
        close = Selection(texts=("m1",), hosts=("b",))
        assert found(logs, close, before_lines=3, after_lines=3) == [f"m{number}" for number in range(1, 29, 3)]


def test_only_committed_bytes_are_shown_and_what_is_missing_is_noted(tmp_path: Path) -> None:
    with three_hosts(tmp_path):
        pass
    path = next(tmp_path.glob("segments/a/plain/*.ndjson"))
    with path.open("ab") as file:
        file.write(line("never acked", clock(50)))
    with looking(tmp_path) as logs:
        assert found(logs) == ALL
    path.write_bytes(path.read_bytes()[:100])
    with looking(tmp_path) as logs:
        assert found(logs) == [each for number, each in enumerate(ALL) if number % 3 or number == 0]
        assert logs.looked.unreadable == 1
    path.unlink()
    with looking(tmp_path) as logs:
        assert len(found(logs)) == 20
        assert "2024-01-15-1.ndjson" in logs.looked.problem


def test_a_line_longer_than_a_chunk_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.reading.query.merging._CHUNK_BYTES", 100)
    monkeypatch.setattr("logferry.reading.query.merging._LEAST_CHUNK_BYTES", 10)
    with opened(tmp_path) as store:
        texts = ["short", "x" * 1000, "y" * 250, "end"]
        store_lines(store, "a", *(line(text, clock(number)) for number, text in enumerate(texts)))
        with looking(tmp_path) as logs:
            assert found(logs) == texts
            assert found(logs, reverse=True) == texts[::-1]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        DiskLogs(tmp_path / "absent")
    with pytest.raises(StoreError, match=r"has no ledger \(ledger.sqlite3\)"):
        DiskLogs(tmp_path)
    with opened(tmp_path), looking(tmp_path) as logs:
        assert list(logs.logs()) == []
        assert found(logs) == []


def test_sizes_count_what_is_stored(tmp_path: Path) -> None:
    with three_hosts(tmp_path, segment_bytes=400), looking(tmp_path) as logs:
        sizes = {log.host: size for log, size in logs.sizes()}
        assert {host: size.lines for host, size in sizes.items()} == {"a": 10, "b": 10, "c": 10}
        assert all(size.segments == 2 and size.bytes > 600 for size in sizes.values())
        assert sizes["a"].first_received == at(0)


def test_logs_that_wait_for_their_turn_hold_only_lines_that_were_found(tmp_path: Path) -> None:
    """Two hundred logs took 160 MB: each waited with a chunk of which one line was wanted."""
    rest = b"".join(line("x" * 100, clock(2)) for _ in range(1500))
    with opened(tmp_path) as store:
        for number in range(20):
            store_lines(store, f"h{number:02d}", line("found", clock(1), "ERROR") + rest)
        with looking(tmp_path) as logs:
            search_for = search(logs, Selection.of_words(levels=["error"]))
            tracemalloc.start()
            next(search_for)
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert held < 5 * len(rest)
            assert len([*search_for]) == 19
