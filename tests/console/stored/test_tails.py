"""Tails of the console that end and go on: none leaves a line out, and none shows one twice. Judged by sets."""

from contextlib import suppress
from pathlib import Path

import pytest

from logferry.console.source import Line, Query, Stop, UnknownPlace, Word
from logferry.console.stored import bookmarks
from logferry.console.stored.bookmarks import bookmark_of, text_of
from logferry.console.stored.stored_source import StoredSource
from logferry.reading.stored import Bookmark
from logferry.server.storage.disk.recovery.rebuild import rebuild
from tests.support.compressing import compress_all
from tests.support.looking import clock, line, store_lines, three_hosts
from tests.support.running import DEADLINE_S
from tests.support.stores import opened


class Reader:
    """A reader of a tail that leaves again and again, and comes back with the last bookmark that it has had."""

    def __init__(self, data_dir: Path, query: Query) -> None:
        self._data_dir = data_dir
        self._query = query
        self.bookmark = ""
        self.shown: list[str] = []
        self.read(0)

    def read(self, most: int, *, source: StoredSource | None = None) -> bool:
        """Take at most so many lines, and leave; return whether that was all."""
        stop = Stop(seconds=DEADLINE_S, max_bytes=1 << 40)
        found = (source or StoredSource(self._data_dir)).follow(self._query, after=self.bookmark, stop=stop)
        try:
            self.bookmark = next(found).bookmark
            for each in found:
                if each.line is None:
                    return True
                if not most:
                    return False
                self.bookmark, most = each.bookmark, most - 1
                self.shown.append(message(each.line))
        finally:
            found.close()  # type: ignore[attr-defined]
        return False

    def read_all(self, most: int = 3) -> None:
        """Come back until nothing is left."""
        while not self.read(most):
            pass


def message(line: Line) -> str:
    return line.content.decode().split('"message": "')[1].split('"')[0]


def test_a_reader_that_leaves_in_the_middle_of_a_look_has_every_line_once(tmp_path: Path) -> None:
    query = Query(words=[Word("wanted")])
    with opened(tmp_path, segment_bytes=400) as store:
        store_lines(store, "a", line("wanted, but before"))
        reader = Reader(tmp_path, query)
        for number in range(12):
            for host in "ab":
                store_lines(
                    store, host, line(f"wanted {host}{number}", clock(number)), line(f"other {number}", clock(number))
                )
            if number == 3:
                reader.read(3)
        compress_all(store, tmp_path, "gzip")
        reader.read_all(most=5)
    with opened(tmp_path, segment_bytes=400) as store:
        store_lines(store, "c", line("wanted c0"), line("wanted c1"))
        reader.read(1)
        store_lines(store, "a", line("wanted a12", clock(12)))
        reader.read_all()
    expected = [f"wanted {host}{number}" for host in "ab" for number in range(12)]
    assert sorted(reader.shown) == sorted([*expected, "wanted a12", "wanted c0", "wanted c1"])
    assert [each for each in reader.shown if each.startswith("wanted a")] == [f"wanted a{n}" for n in range(13)]


def test_a_tail_with_a_pattern_goes_on_in_another_process(tmp_path: Path) -> None:
    with three_hosts(tmp_path) as store:
        reader = Reader(tmp_path, Query(words=[Word("wanted", is_regex=True)]))
        store_lines(store, "a", line("wanted 1"), line("other"), line("wanted 2"))
        reader.read_all()
    assert reader.shown == ["wanted 1", "wanted 2"]


def test_retention_while_nobody_reads_leaves_out_only_what_it_deletes(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=300, retention_bytes=600) as store:
        reader = Reader(tmp_path, Query())
        for number in range(30):
            store_lines(store, "a", line(f"a{number}", clock(number)))
            if number % 3 == 0:
                reader.read(1)
        reader.read_all()
        store_lines(store, "a", line("last"))
        reader.read_all()
    assert reader.shown == sorted(set(reader.shown), key=reader.shown.index)
    assert reader.shown[-1] == "last"
    assert len(reader.shown) > 10


def test_a_bookmark_is_of_one_store_and_of_the_same_hosts_and_files(tmp_path: Path) -> None:
    with three_hosts(tmp_path / "one") as store:
        reader = Reader(tmp_path / "one", Query(hosts=["a"]))
        store_lines(store, "a", line("wanted"))
    with three_hosts(tmp_path / "other"):
        pass
    for data_dir, query in (("other", Query(hosts=["a"])), ("one", Query(hosts=["b"])), ("one", Query(files=["x"]))):
        stop = Stop(seconds=DEADLINE_S, max_bytes=1 << 40)
        with pytest.raises(UnknownPlace):
            next(StoredSource(tmp_path / data_dir).follow(query, after=reader.bookmark, stop=stop))
    rebuild(tmp_path / "one")
    reader.read_all()
    assert reader.shown == ["wanted"]


@pytest.mark.parametrize(
    "bookmark",
    [
        Bookmark(0, 0, {}),
        Bookmark(1 << 62, (1 << 32) - 1, {1: 0, (1 << 62) - 1: (1 << 63) - 1}),
        Bookmark(7, 7, {number * number: number << 20 for number in range(1, 500)}),
    ],
)
def test_bookmarks_become_text_and_back(bookmark: Bookmark) -> None:
    text = text_of(bookmark, Query())
    assert bookmark_of(text, Query()) == bookmark
    for cut in range(0, len(text), 1 + len(text) // 40):
        with suppress(UnknownPlace):
            bookmark_of(text[:cut], Query())


@pytest.mark.parametrize(
    "text", ["", "A", "====", "é", "AQ==", "_" * 8193, "_" * 8000, "gICAgICAgICAgICAgAE", "AgAAAA"]
)
def test_other_texts_are_unknown(text: str) -> None:
    with pytest.raises(UnknownPlace):
        bookmark_of(text, Query())


def test_a_tail_of_too_many_files_has_no_bookmarks() -> None:
    assert text_of(Bookmark(1, 1, dict.fromkeys(range(bookmarks._MOST_REST + 1), 0)), Query()) == ""
