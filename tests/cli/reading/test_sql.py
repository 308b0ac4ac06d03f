"""`logferry sql`: queries see what is committed, and nothing else."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.commands import EXIT_INCOMPLETE
from logferry.cli.dispatch import main
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.disk.segments import Piece
from logferry.reading.sql import Query, SqlError, files_of
from logferry.reading.stored import Log, Received
from logferry.server.storage.records import SegmentRow
from tests.support.looking import clock, line, looking, store_lines, three_hosts
from tests.support.stores import opened

pytest.importorskip("duckdb", reason="DuckDB is not installed: pip install 'logferry[sql]'")
pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'logferry[sql]'")

_MEMORY = 256 * 1024 * 1024


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Run a store of three hosts."""
    with three_hosts(tmp_path, lines=30):
        yield tmp_path


def answers(stored: DiskLogs, text: str) -> list[tuple[object, ...]]:
    query = Query(stored, memory_bytes=_MEMORY)
    try:
        return [row for batch in query.rows(text)[1] for row in batch]
    finally:
        query.close()


def sql(data_dir: Path, *words: str) -> int:
    return main(["sql", "--data-dir", str(data_dir), *words])


def test_a_query_sees_all_columns_of_all_lines(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_lines(store, "web ü", line("a", clock(0), "ERROR", user="bob"), line("b"))
        with looking(tmp_path) as stored:
            rows = answers(
                stored, "select host, path, level, timestamp, message, fields->>'$.user' from logs order by message"
            )
            assert rows == [
                ("web ü", "", "ERROR", clock(0), "a", "bob"),
                ("web ü", "", "INFO", None, "b", None),
            ]
            assert answers(stored, "select count(*) from logs where fields = '{}' or fields->>'$.user' = 'bob'") == [
                (2,)
            ]


def test_only_what_is_committed_is_seen_whatever_lies_behind_it(data_dir: Path) -> None:
    with looking(data_dir) as stored:
        with next((data_dir / "segments" / "a").rglob("*.ndjson")).open("ab") as segment:
            segment.write(line("not committed") + b'{"level": "half')
        assert answers(stored, "select count(*), count(level) from logs") == [(30, 30)]


def test_only_the_hosts_that_a_query_names_are_read(data_dir: Path) -> None:
    with looking(data_dir) as stored:
        for path in (data_dir / "segments" / "b").rglob("*.ndjson"):
            path.write_bytes(b"")
        assert answers(stored, "select count(*) from logs where host like 'a%' and path = ''") == [(10,)]
        assert stored.looked.unreadable == 0


def test_json_has_every_column_and_is_json(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sql(data_dir, "select 1 as x, 'nan'::double as x, 2 as x_1, -'inf'::double as y", "--output", "json") == 0
    printed = capsys.readouterr().out
    assert json.loads(printed, parse_constant=pytest.fail) == {"x": 1, "x_1": "nan", "x_1_1": 2, "y": "-inf"}


def test_a_segment_that_cannot_be_read_is_in_the_exit_code(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (data_dir / "segments" / "b").rglob("*.ndjson"):
        path.unlink()
    assert sql(data_dir, "select count(*), count(level) from logs") == EXIT_INCOMPLETE
    printed = capsys.readouterr()
    assert printed.out.endswith("\n20,20\n")
    assert "some segments could not be read, such as b/" in printed.err
    for path in (data_dir / "segments" / "a").rglob("*.ndjson"):
        path.write_bytes(path.read_bytes()[:100])  # one line, and a half
    assert sql(data_dir, "select count(*), count(level) from logs") == EXIT_INCOMPLETE
    assert capsys.readouterr().out.endswith("\n11,11\n")


def test_a_query_sees_when_lines_were_received(data_dir: Path) -> None:
    with looking(data_dir) as stored:
        ((first,),) = answers(stored, "select min(received_at) from logs")
        assert str(first).startswith("20")
        assert answers(stored, "select count(*) from logs where received_at < '2000-01-01'") == [(0,)]


@pytest.mark.parametrize(
    "text",
    [
        "select * from read_text('/etc/hostname')",
        "copy (select 1) to '/tmp/logferry-sql-test'",
        "copy (select 1) to 'stored://x'",
        "attach '/tmp/logferry-sql-test.db'",
        "install httpfs",
        "set enable_external_access = true",
        "set memory_limit = '1TB'",
        "select * from data_dir",
        "select * from stored",
        "select",
    ],
)
def test_a_query_reaches_nothing_else(data_dir: Path, text: str) -> None:
    with looking(data_dir) as stored, pytest.raises(SqlError):
        answers(stored, text)
    assert not Path("/tmp/logferry-sql-test").exists()


def test_results_are_printed_as_csv_json_and_a_table(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "select level, count(*) as lines from logs group by 1 order by 1"
    assert sql(data_dir, text) == 0
    assert capsys.readouterr().out == "level,lines\nERROR,5\nINFO,25\n"
    assert sql(data_dir, text, "--output", "json") == 0
    assert [json.loads(row) for row in capsys.readouterr().out.splitlines()] == [
        {"level": "ERROR", "lines": 5},
        {"level": "INFO", "lines": 25},
    ]
    assert sql(data_dir, text, "--output", "table") == 0
    assert capsys.readouterr().out == "level  lines\nERROR  5\nINFO   25\n"


def test_a_table_cannot_control_the_terminal_and_says_what_it_leaves_out(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sql(data_dir, "select chr(27) || '[2J' as \"a\x1b\", null as b", "--output", "table") == 0
    assert "\x1b" not in capsys.readouterr().out
    assert sql(data_dir, "select * from range(1001)", "--output", "table") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1001
    assert "only the first 1000 rows" in err


def test_a_query_that_fails_and_wrong_words_are_explained(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sql(data_dir, "select nothing from logs") == 1
    assert "nothing" in capsys.readouterr().err
    assert sql(data_dir, "--output", "xml", "--memory", "1") == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_without_the_extra_one_sentence_says_what_to_install(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert sql(data_dir, "select 1") == 1
    assert "pip install 'logferry[sql]'" in capsys.readouterr().err


def test_an_empty_store_has_an_empty_view(tmp_path: Path) -> None:
    with opened(tmp_path), looking(tmp_path) as stored:
        assert answers(stored, "select host, count(received_at) from logs group by 1") == []


def test_lines_that_were_received_apart_are_apart(tmp_path: Path) -> None:
    log = Log("key", "web-1", "/srv/app.log")
    marks = [(0, Received(1, 2)), (10, Received(2, 3)), (20, Received(3, 4))]
    row = SegmentRow(1, "web-1/app.log/2024-01-15-1.ndjson", 30)

    class Stored:
        def logs(self) -> list[Log]:
            return [log]

        def pieces(self, _: Log) -> list[Piece]:
            return [Piece(row, 0, 30, marks)]

    stored: Any = Stored()
    assert [(file.piece.start, file.piece.end, file.received) for file in files_of(stored)] == [
        (0, 10, 2), (10, 20, 3), (20, 30, 4),
    ]  # fmt: skip
