"""Looking at compressed segments shows what looking at plain ones does, also while they become the one or the other."""

from pathlib import Path

import pytest

from logferry.reading.query.follow import Follower
from logferry.reading.query.selection import Selection
from tests.support.compressing import CODECS, compress_all, damage, file_of, rows
from tests.support.looking import clock, found, line, looking, store_lines, three_hosts

ALL = [f"m{number}" for number in range(30)]


@pytest.mark.parametrize("codec", CODECS)
def test_a_search_finds_the_same(tmp_path: Path, codec: str) -> None:
    with three_hosts(tmp_path, segment_bytes=400) as store:
        with looking(tmp_path) as before:  # has its list of segments, and some of them open
            assert found(before) == ALL
            assert len(compress_all(store, tmp_path, codec)) >= 3
            assert found(before) == ALL
        with looking(tmp_path) as logs:
            assert found(logs) == ALL
            assert found(logs, reverse=True) == ALL[::-1]
            assert found(logs, limit=4) == ALL[-4:]
            assert found(logs, Selection.of_words(levels=["error"])) == ["m0", "m7", "m14", "m21", "m28"]
            assert logs.looked.unreadable == 0


def test_lines_come_once_while_segments_are_compressed(tmp_path: Path) -> None:
    shown: list[str] = []
    with three_hosts(tmp_path, lines=0, segment_bytes=200) as store, looking(tmp_path) as logs:
        follower = Follower(logs, Selection())
        for number in range(0, 24, 4):
            store_lines(store, "a", *(line(f"a{each}", clock(each)) for each in range(number, number + 4)))
            if number % 8:
                compress_all(store, tmp_path, "gzip")
            shown += [each.record.message for each in follower.look()]
    assert shown == [f"a{number}" for number in range(24)]


def test_a_damaged_member_is_noted_and_the_rest_is_shown(tmp_path: Path) -> None:
    with three_hosts(tmp_path, segment_bytes=400) as store:
        compress_all(store, tmp_path, "gzip")
        first = next(row for row in rows(tmp_path) if row.path.startswith("a/") and row.compression)
        damage(file_of(tmp_path, first), lambda content: content[:-9] + b"?" + content[-8:])
        with looking(tmp_path) as logs:
            shown = found(logs)
            assert set(shown) < set(ALL)
            assert {message for message in shown if int(message[1:]) % 3} == {m for m in ALL if int(m[1:]) % 3}
            assert logs.looked.unreadable == 1
            assert "is damaged" in logs.looked.problem
